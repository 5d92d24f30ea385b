//! Debian repositories: `InRelease` (or `Release` and `Release.gpg`) → `Packages` → records.
//!
//! Invariant: a record comes from an index whose digest a verified Release file lists, and that Release file is in date
//! and for the requested suite. The exceptions warn: a repository that is declared trusted (no signature), work without
//! the network (out of date), and what `Repository::checks` switches off.

mod current;
pub mod deb822;
mod error;
mod format;
mod index;
mod load;
mod packages;
pub mod release;

pub use deb822::ParseError;
pub use error::DebProblem;
pub use format::{Deb, LoadedIndex};
pub use index::is_wanted;
pub use packages::{Parsed, parse_packages};
