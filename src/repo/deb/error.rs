//! Why a repository cannot be used, with what a user can do about it.

use super::date;
use super::deb822::ParseError;
use crate::cancel::Cancelled;
use crate::durable::{LockError, PathError};
use crate::fetch::FetchError;
use crate::repo::error::{self, RepoProblem};
use crate::verify::VerifyError;

/// Why an index could not be loaded.
pub type RepoError = error::RepoError<Problem>;

/// What is wrong with a repository.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Download failed.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// Neither `InRelease` nor `Release` exists.
    #[error("{url} does not exist, nor does Release beside it")]
    NoRelease {
        /// URL of the `InRelease` file.
        url: String,
    },
    /// It must be signed, and no key is pinned for it.
    #[error("no key is given that may sign it")]
    NoKey,
    /// The pinned keys cannot be read.
    #[error("its keys cannot be used: {0}")]
    Keys(VerifyError),
    /// The signature is not accepted.
    #[error("{url}: {source}")]
    Signature {
        /// URL of the signed file.
        url: String,
        /// What is wrong with the signature.
        source: VerifyError,
    },
    /// There is a `Release`, but nothing that signs it.
    #[error("{url} is not signed")]
    Unsigned {
        /// URL of the `Release` file.
        url: String,
    },
    /// A file does not have the form that it should have.
    #[error("{url}: {source}")]
    Malformed {
        /// URL of the file.
        url: String,
        /// Where and why.
        source: ParseError,
    },
    /// The Release file is for something else than what was asked for.
    #[error("{url} is for suite {suite:?} (codename {codename:?}), not for {wanted:?}")]
    WrongSuite {
        /// URL of the Release file.
        url: String,
        /// What was asked for.
        wanted: String,
        /// Its `Suite`.
        suite: String,
        /// Its `Codename`.
        codename: String,
    },
    /// `Valid-Until` is over.
    #[error(
        "{url} of {} has expired: its Valid-Until is {}, and it is {} now",
        date::show(*.date), date::show(*.valid_until), date::show(*.now)
    )]
    Expired {
        /// URL of the Release file.
        url: String,
        /// Its `Date`, seconds since 1970.
        date: i64,
        /// Its `Valid-Until`, seconds since 1970.
        valid_until: i64,
        /// The time it was compared with, seconds since 1970.
        now: i64,
    },
    /// `Date` lies in the future.
    #[error("{url} is of {}, and it is only {} now", date::show(*.date), date::show(*.now))]
    FromTheFuture {
        /// URL of the Release file.
        url: String,
        /// Its `Date`, seconds since 1970.
        date: i64,
        /// The time it was compared with, seconds since 1970.
        now: i64,
    },
    /// The Release file lists no index for a component and architecture.
    #[error(
        "{url} lists no packages of component {component:?} for {architecture} \
         (components: {components}; architectures: {architectures})"
    )]
    NoIndex {
        /// URL of the Release file.
        url: String,
        /// The component that was asked for.
        component: String,
        /// The architecture under its dpkg name.
        architecture: String,
        /// What components there are.
        components: String,
        /// What architectures there are.
        architectures: String,
    },
    /// The index that the Release file lists cannot be had.
    #[error("{url} is listed in the Release file, but the server does not have it")]
    IndexNotFound {
        /// URL of the index.
        url: String,
    },
    /// What came is not what the Release file lists.
    #[error("{url} is not what the Release file lists: {reason}")]
    Mismatch {
        /// URL of the index.
        url: String,
        /// How they differ.
        reason: String,
    },
    /// An index cannot be decompressed.
    #[error("{url} cannot be decompressed: {reason}")]
    Decompress {
        /// URL of the index.
        url: String,
        /// The cause.
        reason: String,
    },
    /// A size that no index has.
    #[error("{url} would have {size_bytes} bytes, more than the {limit_bytes} that are sensible")]
    TooLarge {
        /// URL of the index.
        url: String,
        /// Its size according to the Release file.
        size_bytes: u64,
        /// The limit in bytes.
        limit_bytes: u64,
    },
    /// Not in the cache, and the network must not be used.
    #[error("not in the cache: {}", .urls.join(", "))]
    NotCached {
        /// What is missing.
        urls: Vec<String>,
    },
    /// The cache could not be read or written.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The user asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl Problem {
    /// Whether a mirror that is being updated just now gives this; asking again helps then.
    pub(super) fn may_be_a_race(&self) -> bool {
        matches!(self, Self::Mismatch { .. } | Self::IndexNotFound { .. })
    }
}

impl From<LockError> for Problem {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Path(error) => Self::Path(error),
            LockError::Cancelled(error) => Self::Cancelled(error),
        }
    }
}

impl RepoProblem for Problem {
    fn of(self, repository: &str) -> RepoError {
        match self {
            Self::Cancelled(cancelled) | Self::Fetch(FetchError::Cancelled(cancelled)) => cancelled.into(),
            Self::NotCached { urls } => RepoError::not_cached(repository, urls),
            problem => RepoError::repository(repository, problem),
        }
    }

    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Fetch(FetchError::BadUrl { .. }) => "check the repository's URL",
            Self::Fetch(_) => {
                "check the network, choose another mirror with --mirror, or build from the cache with --offline"
            }
            Self::NoRelease { .. } => {
                "check the URL and the suite; a directory of packages needs a Release file (apt-ftparchive release)"
            }
            Self::NoKey => "give the repository's public key (`pkey`), or `[trusted=yes]` to use it unverified",
            Self::Keys(error) | Self::Signature { source: error, .. } => return error.hint(),
            Self::Unsigned { .. } => "use a mirror that has its signature, or `[trusted=yes]` to use it unverified",
            Self::WrongSuite { .. } => "correct the suite, or choose another mirror with --mirror",
            Self::Expired { .. } | Self::FromTheFuture { .. } => {
                "check the clock of this machine; if it is right, the mirror is out of date: choose another with --mirror"
            }
            Self::NoIndex { .. } => "correct the component or the architecture",
            Self::IndexNotFound { .. } | Self::Mismatch { .. } | Self::Decompress { .. } | Self::TooLarge { .. } => {
                "the mirror may be in the middle of an update: try again later, or choose another with --mirror"
            }
            Self::Path(error) if error.is_no_space() => "free some space, or choose another cache directory",
            Self::Malformed { .. } | Self::NotCached { .. } | Self::Path(_) | Self::Cancelled(_) => return None,
        };
        Some(text.to_owned())
    }
}
