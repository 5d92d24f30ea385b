//! Repository metadata: oic turns a signed source into a verified index, and an index into records.

pub mod deb;
mod error;
mod load;
pub mod rpm;
mod session;
pub mod sources;
mod store;

use std::path::PathBuf;
use std::time::SystemTime;

pub use error::{FormatProblem, Problem, RepoError};
pub use load::{Head, Index, Loader};
pub use session::{Format, Session};
pub use store::{POINTER, is_pointer};

use crate::package::{Arch, ForeignArch, PackageFilter, Sha256, Targets};

/// The source of an index and its packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// Unique id in the provider and template, such as `trixie-security`; appears in lockfiles.
    pub id: String,
    /// Base URL without a trailing slash (`http`, `https` or `file`). With a `mirror_list` it is empty.
    pub base_url: String,
    /// A list of base URLs to choose from, instead of `base_url`; only for repositories of `.rpm` packages.
    pub mirror_list: Option<MirrorList>,
    /// Suite directory below `dists/`; only for repositories of `.deb` packages.
    pub suite: String,
    /// Components, such as `main`; only for repositories of `.deb` packages.
    pub components: Vec<String>,
    /// Certificates (OpenPGP, armored or binary, one or more each) that may sign it.
    pub keys: Vec<Vec<u8>>,
    /// The data that they must have signed; for repositories of `.deb` packages it is always the metadata.
    pub signed: Signed,
    /// Unsigned metadata is accepted (`[trusted=yes]`).
    pub trusted: bool,
    /// Pin priority (apt_preferences(5)); the greater is preferred.
    pub priority: i32,
    /// The filter over its packages.
    pub filter: PackageFilter,
    /// The properties of its metadata that must hold.
    pub checks: Checks,
    /// The package files that it consists of, if a template names them one by one; it then has no metadata and no URL.
    pub files: Option<Vec<PackageFile>>,
}

/// A package file on this host that a template names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Where it came from, for messages.
    pub origin: String,
    /// Its digest.
    pub sha256: Sha256,
    /// Its length in bytes.
    pub size_bytes: u64,
}

impl Repository {
    /// Returns whether it has no `dists/`: a suite that ends with a slash is a directory below the base URL, with the
    /// indexes of all packages in it (sources.list(5), "exact path").
    pub fn is_flat(&self) -> bool {
        self.suite.ends_with('/')
    }
}

/// The properties of a repository's signed metadata that end a load where they do not hold. Where one is switched off,
/// there is a note instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checks {
    /// The metadata names the requested suite.
    pub suite: bool,
    /// The time in `Valid-Until` has not passed.
    pub valid_until: bool,
}

impl Default for Checks {
    fn default() -> Self {
        Self {
            suite: true,
            valid_until: true,
        }
    }
}

/// The data that the keys of a repository must have signed.
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

crate::words::words!(Signed {
    (Self::Metadata): "metadata",
    (Self::Packages): "packages",
    (Self::Both): "both",
});

impl Signed {
    /// Returns whether the metadata must be signed.
    pub fn metadata(self) -> bool {
        matches!(self, Self::Metadata | Self::Both)
    }

    /// Returns whether each package must be signed.
    pub fn packages(self) -> bool {
        matches!(self, Self::Packages | Self::Both)
    }
}

/// A file that lists the mirrors of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MirrorList {
    /// URL of a plain list of base URLs, one per line.
    Plain(String),
    /// URL of a metalink (RFC 5854, and the older metalink 3.0) for `repomd.xml`.
    Metalink(String),
}

impl MirrorList {
    /// Returns the URL of the list.
    pub fn url(&self) -> &str {
        match self {
            Self::Plain(url) | Self::Metalink(url) => url,
        }
    }
}

/// The options of a load, for all its repositories.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// The wanted architecture; packages for `all` or `noarch` are included.
    pub arch: Arch,
    /// Further architectures whose packages are wanted; only of repositories of `.deb` packages.
    pub foreign: Vec<ForeignArch>,
    /// Directory of verified indexes (`pkgCache/{provider}/metadata`); created if absent.
    pub metadata_dir: PathBuf,
    /// The time at which signatures, keys and `Valid-Until` must hold.
    pub now: SystemTime,
    /// No downloads; only cached files are used.
    pub offline: bool,
    /// Number of repositories, and of indexes of each, that are downloaded at once; at least 1 is used.
    pub workers: usize,
}

impl LoadOptions {
    /// Returns the wanted architectures.
    pub fn targets(&self) -> Targets<'_> {
        Targets {
            native: self.arch,
            foreign: &self.foreign,
        }
    }

    /// Returns `now` in seconds since 1970; 0 for times before.
    pub(super) fn now_seconds(&self) -> i64 {
        let since = self.now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    }
}

/// The root of a repository's metadata, as a lockfile or a report describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseInfo {
    /// Time of its creation, in seconds since 1970.
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
