//! Repository metadata: a signed source becomes a verified index, an index becomes records.

pub mod deb;
pub mod sources;

/// Where an index and its packages come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// Unique id in the provider and template, such as `trixie-security`; appears in lockfiles.
    pub id: String,
    /// Base URL without a trailing slash (`http`, `https` or `file`).
    pub base_url: String,
    /// Suite directory below `dists/`.
    pub suite: String,
    /// Components, such as `main`.
    pub components: Vec<String>,
    /// Certificates (OpenPGP, armored or binary, one or more each) that may sign it.
    pub keys: Vec<Vec<u8>>,
    /// Unsigned metadata is accepted (`[trusted=yes]`).
    pub trusted: bool,
    /// Pin priority (apt_preferences(5)).
    pub priority: i32,
    /// Only these packages (names or globs) are taken; empty means all.
    pub allow_packages: Vec<String>,
}
