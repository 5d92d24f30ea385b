//! RPM repositories: `repomd.xml` and `repomd.xml.asc` → `primary`, `filelists`, `group` → records, owners of files, groups.
//!
//! The files are those that createrepo_c(8) writes; there is no specification but the programs.
//!
//! Invariant: a record comes from an index whose digest `repomd.xml` lists, and that file is signed by
//! one of the repository's keys if the repository's policy says so. Where it says that packages are
//! signed instead, the records are only claims, and the package cache holds each package against its
//! signature. The only ways around are a repository that declares itself trusted, and working without
//! the network (out of date); both warn.

mod comps;
mod current;
mod error;
mod files;
mod further;
mod load;
pub mod local;
mod mirrors;
mod primary;
pub mod repomd;
mod xml;

pub use comps::{Group, GroupPackage, GroupPackageKind, parse_comps};
pub use current::locate;
pub use error::{Problem, RepoError};
pub use files::{FileOwners, parse_filelists};
pub use further::Further;
pub use load::{Head, LoadedIndex, Rpm};
pub use mirrors::{parse_metalink, parse_mirror_list};
pub use primary::{lists_file, parse_primary};
pub use xml::XmlError;

use crate::package::{Arch, RpmRecord};
use crate::repo::Repository;

/// Whether a package concerns the architecture and is one that the repository may provide.
pub fn is_wanted(record: &RpmRecord, repository: &Repository, arch: Arch) -> bool {
    (&*record.arch == arch.rpm() || &*record.arch == "noarch")
        && repository.filter.takes(&record.name, || record.longer_names())
}
