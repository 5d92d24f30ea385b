//! Repository metadata: a signed source becomes a verified index, an index becomes records.

mod compress;
pub mod deb;
mod error;
mod load;
pub mod rpm;
mod session;
pub mod sources;
mod store;

use std::path::PathBuf;
use std::time::SystemTime;

pub use error::{RepoError, RepoProblem};
pub use load::{Format, Loader};

use crate::package::{Arch, PackageFilter, Sha256};

/// Where an index and its packages come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// Unique id in the provider and template, such as `trixie-security`; appears in lockfiles.
    pub id: String,
    /// Base URL without a trailing slash (`http`, `https` or `file`). With a `mirror_list` it is empty.
    pub base_url: String,
    /// A list of base URLs to choose from; only for repositories of `.rpm` packages.
    pub mirror_list: Option<MirrorList>,
    /// Suite directory below `dists/`; only for repositories of `.deb` packages.
    pub suite: String,
    /// Components, such as `main`; only for repositories of `.deb` packages.
    pub components: Vec<String>,
    /// Certificates (OpenPGP, armored or binary, one or more each) that may sign it.
    pub keys: Vec<Vec<u8>>,
    /// What must be signed with them; for repositories of `.deb` packages it is always the metadata.
    pub signed: Signed,
    /// Unsigned metadata is accepted (`[trusted=yes]`).
    pub trusted: bool,
    /// Pin priority (apt_preferences(5)); the greater is preferred.
    pub priority: i32,
    /// Which of its packages may be taken.
    pub filter: PackageFilter,
}

/// What the keys of a repository must have signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Signed {
    /// Its metadata, which has the digests of its packages.
    #[default]
    Metadata,
    /// Every package; the metadata is not signed.
    Packages,
    /// Both.
    Both,
}

impl Signed {
    /// Whether the metadata must be signed.
    pub fn metadata(self) -> bool {
        matches!(self, Self::Metadata | Self::Both)
    }

    /// Whether each package must be signed.
    pub fn packages(self) -> bool {
        matches!(self, Self::Packages | Self::Both)
    }
}

/// A file that lists where a repository can be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MirrorList {
    /// URL of a plain list of base URLs, one per line.
    Plain(String),
    /// URL of a metalink (RFC 5854, and the older metalink 3.0) for `repomd.xml`.
    Metalink(String),
}

impl MirrorList {
    /// Where the list is.
    pub fn url(&self) -> &str {
        match self {
            Self::Plain(url) | Self::Metalink(url) => url,
        }
    }
}

/// What holds for all repositories of a load.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// The architecture whose packages are wanted; those for `all` or `noarch` come along.
    pub arch: Arch,
    /// Where verified indexes are kept (`pkgCache/{provider}/metadata`); created if absent.
    pub metadata_dir: PathBuf,
    /// The time at which signatures, keys and `Valid-Until` must hold.
    pub now: SystemTime,
    /// Use only what is cached.
    pub offline: bool,
    /// How many downloads go on at once, per level; at least 1 is used.
    pub workers: usize,
    /// How many threads parse a large index.
    pub jobs: usize,
}

impl LoadOptions {
    /// `now` in seconds since 1970; 0 for times before.
    pub(super) fn now_seconds(&self) -> i64 {
        let since = self.now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    }
}

/// The root of a repository's metadata, as a lockfile or a report names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseInfo {
    /// When it was made, seconds since 1970.
    pub date: i64,
    /// `Suite` of a Release file; empty if absent.
    pub suite: String,
    /// `Codename` of a Release file; empty if absent.
    pub codename: String,
    /// Digest of the signed text.
    pub sha256: Sha256,
    /// Fingerprint of the pinned certificate that signed it; `None` if it needs no signature.
    pub signer: Option<String>,
}
