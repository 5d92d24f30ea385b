//! The names of the format, and the filter over its packages.

use crate::package::{Arch, RpmRecord};
use crate::repo::{self, Repository};

/// RPM repositories.
#[derive(Debug, Clone, Copy)]
pub struct Rpm;

/// The load of one repository.
pub type Session<'a> = repo::Session<'a, Rpm>;

/// The packages of one repository.
pub type LoadedIndex = repo::Index<Rpm>;

/// Returns whether a package is for the architecture and its repository may provide it.
pub fn is_wanted(record: &RpmRecord, repository: &Repository, arch: Arch) -> bool {
    (&*record.arch == arch.rpm() || &*record.arch == "noarch")
        && repository.filter.takes(&record.name, || record.longer_names())
}
