//! The reasons why indexes could not be loaded, whatever their format, with hints for the user.

use std::error::Error;

use crate::cancel::Cancelled;
use crate::durable::{LockError, PathError};
use crate::fetch::FetchError;
use crate::hint::{Hint, Means};
use crate::verify::VerifyError;

/// A problem that only repositories of one format can have.
pub trait FormatProblem: Error + Send + Sync + 'static {
    /// Returns a hint on the next step of the user, if anything helps.
    fn hint(&self) -> Option<Hint>;
}

/// A problem of a repository.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Download failed.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The repository must be signed, and no key is pinned for it.
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
        /// The reason why the signature is not accepted.
        source: VerifyError,
    },
    /// The root of the metadata has no signature.
    #[error("{url} is not signed: there is no {signature} beside it")]
    Unsigned {
        /// URL of the root.
        url: String,
        /// File name of the signature that is missing.
        signature: &'static str,
        /// Advice for the user.
        hint: &'static str,
    },
    /// A file does not have the form that it should have.
    #[error("{url}: {source}")]
    Malformed {
        /// URL of the file.
        url: String,
        /// Place and cause.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The server does not have an index that the root of the metadata lists.
    #[error("{url} is listed in {root}, but the server does not have it")]
    IndexNotFound {
        /// URL of the index.
        url: String,
        /// The name of the root.
        root: &'static str,
    },
    /// The downloaded bytes are not those that the root of the metadata lists.
    #[error("{url} is not what {root} lists: {reason}")]
    Mismatch {
        /// URL of the index.
        url: String,
        /// The name of the root.
        root: &'static str,
        /// The difference.
        reason: String,
    },
    /// The stated size of an index is beyond any real index.
    #[error("{url} has {size_bytes} bytes; more than {limit_bytes} are not accepted")]
    TooLarge {
        /// URL of the index.
        url: String,
        /// Its size in bytes, as stated by the root of the metadata.
        size_bytes: u64,
        /// The limit in bytes.
        limit_bytes: u64,
    },
    /// The network must not be used, and files are missing from the cache.
    #[error("not in the cache: {}", .urls.join(", "))]
    NotCached {
        /// URLs of the missing files.
        urls: Vec<String>,
    },
    /// The cache cannot be read or written.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The cache cannot be locked.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The user asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// A problem that only repositories of this format can have.
    #[error("{0}")]
    Format(Box<dyn FormatProblem>),
}

impl<P: FormatProblem> From<P> for Problem {
    fn from(problem: P) -> Self {
        Self::Format(Box::new(problem))
    }
}

impl Problem {
    /// Makes the problem that the file at `url` is malformed, because of `source`.
    pub fn malformed(url: &str, source: impl Error + Send + Sync + 'static) -> Self {
        Self::Malformed {
            url: url.to_owned(),
            source: Box::new(source),
        }
    }

    /// Returns whether a mirror in the middle of an update may be the cause; a second request helps then.
    pub(super) fn may_be_a_race(&self) -> bool {
        matches!(self, Self::Mismatch { .. } | Self::IndexNotFound { .. })
    }

    /// Returns whether another mirror may do better.
    pub(super) fn is_of_the_mirror(&self) -> bool {
        !matches!(
            self,
            Self::Cancelled(_)
                | Self::Fetch(FetchError::Cancelled(_) | FetchError::Offline { .. })
                | Self::Path(_)
                | Self::Lock(_)
                | Self::NoKey
                | Self::Keys(_)
        )
    }

    /// Adds the id of the repository to its problem; a stop by the user and a file missing from the cache become errors
    /// of their own.
    pub(super) fn of(self, repository: &str) -> RepoError {
        match self {
            Self::Cancelled(cancelled)
            | Self::Lock(LockError::Cancelled(cancelled))
            | Self::Fetch(FetchError::Cancelled(cancelled)) => cancelled.into(),
            Self::NotCached { urls } => {
                let missing = urls.into_iter().map(|url| format!("{url} (repository {repository})"));
                RepoError::NotCached {
                    missing: missing.collect(),
                }
            }
            problem => RepoError::Repository {
                repository: repository.to_owned(),
                problem: Box::new(problem),
            },
        }
    }

    /// Returns a hint on the next step of the user, if anything helps.
    pub fn hint(&self) -> Option<Hint> {
        let text = match self {
            Self::Fetch(FetchError::BadUrl { .. }) => "check the repository's URL",
            // Neither a refusal nor a bad certificate is the network's fault.
            Self::Fetch(
                error @ (FetchError::Certificate { .. }
                | FetchError::Status {
                    status: 401 | 403 | 407,
                    ..
                }),
            ) => {
                return error.hint();
            }
            Self::Fetch(_) => {
                let text = "check the network, choose another mirror, or build from the cache";
                return Some(Hint::new(text).by(Means::Mirror).by(Means::Offline));
            }
            Self::NoKey => "give the repository's public key (`pkey`), or `[trusted=yes]` to use it unverified",
            Self::Keys(error) | Self::Signature { source: error, .. } => return error.hint(),
            Self::Unsigned { hint, .. } => hint,
            Self::IndexNotFound { .. } | Self::Mismatch { .. } | Self::TooLarge { .. } => {
                return Some(may_be_updating());
            }
            Self::Format(problem) => return problem.hint(),
            Self::Malformed { .. } | Self::NotCached { .. } | Self::Path(_) | Self::Lock(_) | Self::Cancelled(_) => {
                return None;
            }
        };
        Some(text.into())
    }
}

/// Returns the hint for problems that an update of the mirror may cause.
pub(super) fn may_be_updating() -> Hint {
    Hint::new("the mirror may be in the middle of an update: try again later, or choose another one").by(Means::Mirror)
}

/// The reason why an index could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum RepoError {
    /// Something is wrong with one repository.
    #[error("repository {repository}: {problem}")]
    Repository {
        /// `Repository::id`.
        repository: String,
        /// The problem.
        #[source]
        problem: Box<Problem>,
    },
    /// The network must not be used, and files are missing from the cache.
    #[error("downloads are not allowed (offline), and these are not in the cache:{}", list(.missing))]
    NotCached {
        /// URLs of the missing files, with the repository's id.
        missing: Vec<String>,
    },
    /// The user asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl RepoError {
    /// Returns a hint on the next step of the user, if anything helps.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::Repository { problem, .. } => problem.hint(),
            Self::NotCached { .. } => {
                Some(Hint::new("build once with downloads, the same mirror path and repositories").by(Means::Online))
            }
            Self::Cancelled(_) => None,
        }
    }
}

fn list(lines: &[String]) -> String {
    lines.iter().map(|line| format!("\n  {line}")).collect()
}

/// Returns all results, or the first error; the files missing from the cache are collected from all of them.
pub(super) fn all_or_missing<T>(results: Vec<Result<T, RepoError>>) -> Result<Vec<T>, RepoError> {
    let mut missing = Vec::new();
    let mut all = Vec::with_capacity(results.len());
    for result in results {
        match result {
            Ok(one) => all.push(one),
            Err(RepoError::NotCached { missing: more }) => missing.extend(more),
            Err(error) => return Err(error),
        }
    }
    match missing.is_empty() {
        true => Ok(all),
        false => Err(RepoError::NotCached { missing }),
    }
}

#[cfg(test)]
impl Problem {
    /// Gives what only repositories of one format can have wrong.
    pub(super) fn own<P: FormatProblem>(&self) -> Option<&P> {
        let Self::Format(own) = self else { return None };
        (&**own as &(dyn Error + 'static)).downcast_ref()
    }
}
