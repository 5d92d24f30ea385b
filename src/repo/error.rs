//! Why indexes could not be loaded, whatever their format.

use std::error::Error;

use crate::cancel::Cancelled;

/// What is wrong with one repository, in the words of its format.
pub trait RepoProblem: Error + Sized {
    /// What the user can do next, if anything helps.
    fn hint(&self) -> Option<String>;

    /// Names the repository that has the problem; what is not its fault becomes an error of its own.
    fn of(self, repository: &str) -> RepoError<Self>;
}

/// Why an index could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum RepoError<P: RepoProblem> {
    /// Something is wrong with one repository.
    #[error("repository {repository}: {problem}")]
    Repository {
        /// `Repository::id`.
        repository: String,
        /// What is wrong.
        problem: Box<P>,
    },
    /// The network must not be used, and the cache does not have everything.
    #[error("--offline, and these are not in the cache:{}", list(.missing))]
    NotCached {
        /// URLs of what is missing, with the repository's id.
        missing: Vec<String>,
    },
    /// The user asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl<P: RepoProblem> RepoError<P> {
    /// That `problem` is one of `repository`.
    pub(super) fn repository(repository: &str, problem: P) -> Self {
        Self::Repository {
            repository: repository.to_owned(),
            problem: Box::new(problem),
        }
    }

    /// That the cache lacks what is at `urls` of `repository`.
    pub(super) fn not_cached(repository: &str, urls: Vec<String>) -> Self {
        let missing = urls.into_iter().map(|url| format!("{url} (repository {repository})"));
        Self::NotCached {
            missing: missing.collect(),
        }
    }

    /// What the user can do next, if anything helps.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Repository { problem, .. } => problem.hint(),
            Self::NotCached { .. } => {
                Some("build once without --offline, with the same mirror path and repositories".to_owned())
            }
            Self::Cancelled(_) => None,
        }
    }
}

fn list(lines: &[String]) -> String {
    lines.iter().map(|line| format!("\n  {line}")).collect()
}

/// All results, or the first error; what is not cached is collected from all of them.
pub(super) fn all_or_missing<T, P: RepoProblem>(results: Vec<Result<T, RepoError<P>>>) -> Result<Vec<T>, RepoError<P>> {
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
