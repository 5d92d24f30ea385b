//! Why an RPM repository cannot be used, with what a user can do about it.

use super::xml::XmlError;
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
    /// The list of mirrors names none that can be used.
    #[error("{url} names no mirror that can be reached over http or https")]
    NoMirror {
        /// URL of the list.
        url: String,
    },
    /// `repomd.xml` is not one of those that the metalink knows.
    #[error("{url} is not the file that the metalink describes: the mirror is out of date, or something changed it")]
    NotOfMetalink {
        /// URL of `repomd.xml`.
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
    /// There is nothing that signs the metadata.
    #[error("{url} is not signed: there is no {url}.asc")]
    Unsigned {
        /// URL of `repomd.xml`.
        url: String,
    },
    /// A file does not have the form that it should have.
    #[error("{url}: {source}")]
    Malformed {
        /// URL of the file.
        url: String,
        /// Where and why.
        source: XmlError,
    },
    /// `repomd.xml` does not list an index that is needed.
    #[error("{url} lists no {kind} index")]
    NoIndex {
        /// URL of `repomd.xml`.
        url: String,
        /// `primary` or `filelists`.
        kind: &'static str,
    },
    /// `repomd.xml` has no digest of an index that proves anything.
    #[error(
        "{url} lists the {kind} index with a digest by {algorithm:?} only: accepted are sha224, sha256, sha384 and sha512, \
         for others can be forged or are not known"
    )]
    WeakDigest {
        /// URL of `repomd.xml`.
        url: String,
        /// `primary`.
        kind: &'static str,
        /// The algorithm as it is called there (`sha` is SHA-1).
        algorithm: String,
    },
    /// The index has a form that is not known.
    #[error("{url} is compressed in a way that is not known (known are .gz, .xz, .zst, .bz2)")]
    UnknownForm {
        /// URL of the index.
        url: String,
    },
    /// The index that `repomd.xml` lists cannot be had.
    #[error("{url} is listed in repomd.xml, but the server does not have it")]
    IndexNotFound {
        /// URL of the index.
        url: String,
    },
    /// What came is not what `repomd.xml` lists.
    #[error("{url} is not what repomd.xml lists: {reason}")]
    Mismatch {
        /// URL of the index.
        url: String,
        /// How they differ.
        reason: String,
    },
    /// An index is larger than is accepted.
    #[error("{url} has {size_bytes} bytes; more than {limit_bytes} are not accepted")]
    TooLarge {
        /// URL of the index.
        url: String,
        /// Its size in bytes.
        size_bytes: u64,
        /// The limit in bytes.
        limit_bytes: u64,
    },
    /// Offline, and not in the cache.
    #[error("not in the cache")]
    NotCached {
        /// What is missing.
        urls: Vec<String>,
    },
    /// The cache cannot be used.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The user asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl From<LockError> for Problem {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Path(error) => Self::Path(error),
            LockError::Cancelled(error) => Self::Cancelled(error),
        }
    }
}

impl Problem {
    /// Whether a mirror that is being updated just now gives this; asking again helps then.
    pub(super) fn may_be_a_race(&self) -> bool {
        matches!(self, Self::Mismatch { .. } | Self::IndexNotFound { .. })
    }

    /// Whether another mirror may do better.
    pub(super) fn is_of_the_mirror(&self) -> bool {
        !matches!(
            self,
            Self::Cancelled(_)
                | Self::Fetch(FetchError::Cancelled(_) | FetchError::Offline { .. })
                | Self::Path(_)
                | Self::NoKey
                | Self::Keys(_)
        )
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
            Self::Fetch(FetchError::NotFound { .. }) => {
                "check the repository's URL: repodata/repomd.xml must lie below it (createrepo_c makes it)"
            }
            Self::Fetch(_) | Self::NoMirror { .. } => {
                "check the network, choose another mirror with --mirror, or build from the cache with --offline"
            }
            Self::NoKey => "give the repository's public key (`pkey`), or `[trusted=yes]` to use it unverified",
            Self::Keys(error) | Self::Signature { source: error, .. } => return error.hint(),
            Self::Unsigned { .. } => {
                "use a mirror that has its signature; if only its packages are signed, say so in the provider's data \
                 (`signed: packages`)"
            }
            Self::NoIndex { .. } | Self::WeakDigest { .. } => {
                "ask whoever makes the repository to use createrepo_c with its usual checksums"
            }
            Self::NotOfMetalink { .. } | Self::IndexNotFound { .. } | Self::Mismatch { .. } | Self::TooLarge { .. } => {
                "the mirror may be in the middle of an update: try again later, or choose another with --mirror"
            }
            Self::Path(error) if error.is_no_space() => "free some space, or choose another cache directory",
            Self::Malformed { .. }
            | Self::UnknownForm { .. }
            | Self::NotCached { .. }
            | Self::Path(_)
            | Self::Cancelled(_) => return None,
        };
        Some(text.to_owned())
    }
}
