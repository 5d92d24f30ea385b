//! RPM repositories: `repomd.xml` and `repomd.xml.asc` → `primary`, `filelists` → records.
//!
//! The files are those that createrepo_c(8) writes; there is no specification but the programs.
//!
//! Invariant: a record comes from an index whose digest `repomd.xml` lists, and that file is signed by
//! one of the repository's keys if the repository's policy says so. Where it says that packages are
//! signed instead, the records are only claims, and the package cache holds each package against its
//! signature. The only ways around are a repository that declares itself trusted, and working without
//! the network (out of date); both warn.

mod current;
mod error;
mod files;
mod load;
pub mod local;
mod mirrors;
mod primary;
pub mod repomd;
mod xml;

pub use error::{Problem, RepoError};
pub use files::{FileOwners, owners, parse_filelists};
pub use load::{Head, LoadedIndex, heads, load, load_all};
pub use mirrors::{parse_metalink, parse_mirror_list};
pub use primary::{lists_file, parse_primary};
pub use xml::XmlError;

use crate::package::{Arch, RpmRecord};
use crate::repo::{Repository, glob};

/// Whether a package concerns the architecture and is one that the repository may provide.
pub fn is_wanted(record: &RpmRecord, repository: &Repository, arch: Arch) -> bool {
    let allow = &repository.allow_packages;
    (&*record.arch == arch.rpm() || &*record.arch == "noarch")
        && (allow.is_empty() || allow.iter().any(|entry| glob::allows(entry, &record.name)))
}
