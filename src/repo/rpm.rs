//! RPM repositories: `repomd.xml` and `repomd.xml.asc` → `primary`, `filelists`, `group` → records, owners of files,
//! groups.
//!
//! createrepo_c(8) writes these files; the format has no specification but such programs.
//!
//! Invariant: a record comes from an index whose digest `repomd.xml` lists, and one of the repository's keys has signed
//! that file if the repository's policy says so. If the policy says that packages are signed instead, the records are
//! only claims, and the package cache checks the signature of each package. There are two exceptions: a repository that
//! declares itself trusted, and work without the network (out of date); both warn.

mod comps;
mod current;
mod error;
mod files;
mod format;
mod further;
mod load;
pub mod local;
mod mirrors;
mod primary;
pub mod repomd;
mod xml;

pub use comps::{Group, GroupPackage, GroupPackageKind, parse_comps};
pub use current::locate;
pub use error::RpmProblem;
pub use files::{FileOwners, parse_filelists};
pub use format::{LoadedIndex, Rpm, is_wanted};
pub use further::Further;
pub use mirrors::{parse_metalink, parse_mirror_list};
pub use primary::{Primary, lists_file, parse_primary};
pub use xml::XmlError;
