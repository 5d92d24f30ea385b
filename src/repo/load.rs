//! Several repositories of one format, verified and loaded at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::error::{RepoError, RepoProblem, all_or_missing};
use super::session::Session;
use super::{LoadOptions, Repository};
use crate::cancel::Cancel;
use crate::durable::LockError;
use crate::fetch::Transport;
use crate::progress::{Progress, Unit};
use crate::verify::Keyring;

/// How repositories of one format are loaded.
pub trait Format: Sized {
    /// The root of a repository's metadata, verified as far as the repository's policy asks for it; none of its indexes was
    /// looked at yet.
    type Head: Send + Sync;
    /// What is loaded below that root.
    type Index: Send;
    /// What can be wrong with a repository.
    type Problem: RepoProblem + From<LockError> + Send;

    /// What must have signed the repository's metadata or packages; `None` if it is trusted without.
    fn keyring(repository: &Repository) -> Result<Option<Keyring>, Self::Problem>;

    /// Verifies the root of the metadata, the mirror's unless offline.
    fn verify(session: &Session<'_, Self>) -> Result<Self::Head, Self::Problem>;

    /// Loads the packages: their indexes are fetched unless they are cached, held against the root and parsed.
    fn load(session: &Session<'_, Self>, head: &Self::Head) -> Result<Self::Index, Self::Problem>;

    /// What the root is of.
    fn repository(head: &Self::Head) -> &Repository;
}

/// What repositories are loaded with.
#[allow(missing_debug_implementations)] // a transport has none
pub struct Loader<'a> {
    /// What holds for all repositories.
    pub options: LoadOptions,
    /// How mirrors are reached.
    pub transport: &'a dyn Transport,
    /// Is told how many repositories are done.
    pub progress: &'a dyn Progress,
    /// Ends it early.
    pub cancel: &'a Cancel,
}

impl Loader<'_> {
    /// Verifies the metadata's roots of several repositories at once; the result is in their order.
    ///
    /// # Errors
    /// [`RepoError`] of the first repository, in order, that cannot be used; what
    /// `--offline` misses is collected from all of them.
    pub fn heads<F: Format>(&self, repositories: &[Repository]) -> Result<Vec<F::Head>, RepoError<F::Problem>> {
        self.each("Verify repositories", repositories, |repository| {
            self.with(repository, F::verify)
        })
    }

    /// Loads what several heads have below them, at once; the result is in the order of the heads.
    ///
    /// # Errors
    /// As [`Self::heads`].
    pub fn load<F: Format>(&self, heads: &[F::Head]) -> Result<Vec<F::Index>, RepoError<F::Problem>> {
        self.each("Load package indexes", heads, |head| {
            self.with(F::repository(head), |session| F::load(session, head))
        })
    }

    /// [`Self::heads`], and then [`Self::load`].
    ///
    /// # Errors
    /// As these.
    pub fn load_all<F: Format>(&self, repositories: &[Repository]) -> Result<Vec<F::Index>, RepoError<F::Problem>> {
        self.load::<F>(&self.heads::<F>(repositories)?)
    }

    /// Does `work` in a session with `repository`, and names that if something is wrong with it.
    pub(super) fn with<F: Format, T>(
        &self,
        repository: &Repository,
        work: impl FnOnce(&Session<'_, F>) -> Result<T, F::Problem>,
    ) -> Result<T, RepoError<F::Problem>> {
        let done = Session::open(repository, self).and_then(|session| work(&session));
        done.map_err(|problem| problem.of(&repository.id))
    }

    /// Does `work` for each of `items`, one a repository, several at once; the result is in their order.
    fn each<I: Sync, T: Send, P: RepoProblem + Send>(
        &self,
        label: &str,
        items: &[I],
        work: impl Fn(&I) -> Result<T, RepoError<P>> + Sync,
    ) -> Result<Vec<T>, RepoError<P>> {
        let task = self.progress.start(label, Unit::Items, Some(items.len() as u64));
        let results = parallel(self.options.workers, items, |item| {
            let done = work(item);
            self.progress.advance(task, 1);
            done
        });
        self.progress.finish(task);
        self.cancel.check()?;
        all_or_missing(results)
    }
}

/// Does `work` on each item, at most `workers` at once; the results are in the items' order.
pub(super) fn parallel<T: Sync, R: Send>(workers: usize, items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, R)>> = Mutex::new(Vec::with_capacity(items.len()));
    let take = || {
        while let Some((at, item)) = {
            let at = next.fetch_add(1, Ordering::Relaxed);
            items.get(at).map(|item| (at, item))
        } {
            let result = work(item);
            done.lock().unwrap_or_else(PoisonError::into_inner).push((at, result));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..workers.min(items.len()) {
            scope.spawn(take);
        }
        take();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}
