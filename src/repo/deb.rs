//! Debian repositories: `InRelease` (or `Release` and `Release.gpg`) → `Packages` → records.
//!
//! Invariant: a record comes from an index whose digest a verified Release file
//! lists, and that Release file is for the suite that was asked for and in date.
//! The only ways around are a repository that declares itself trusted (no
//! signature) and working without the network (out of date); both warn.

mod current;
pub mod date;
pub mod deb822;
mod error;
mod index;
mod load;
mod packages;
pub mod release;

pub use deb822::ParseError;
pub use error::{Problem, RepoError};
pub use index::is_wanted;
pub use load::{Deb, Head, LoadedIndex};

pub use super::{LoadOptions, ReleaseInfo};
pub use packages::parse_packages;
