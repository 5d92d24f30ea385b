//! Several repositories of one format, verified and loaded at once.

use super::error::{Problem, RepoError, all_or_missing};
use super::session::{Format, Session};
use super::{LoadOptions, ReleaseInfo, Repository};
use crate::fetch::Transport;
use crate::parallel;
use crate::progress::Unit;
use crate::work::Work;

/// A repository whose root is verified, but whose indexes are not read yet. The digest in [`Head::release`] identifies
/// their content too, since the root lists their digests.
#[derive(Debug, Clone)]
pub struct Head<F: Format> {
    repository: Repository,
    root: F::Root,
    fetched_bytes: u64,
}

impl<F: Format> Head<F> {
    /// Returns the `Repository::id`.
    pub fn repository_id(&self) -> &str {
        &self.repository.id
    }

    /// Returns the description of the root for a lockfile.
    pub fn release(&self) -> ReleaseInfo {
        F::release(&self.root)
    }

    /// Returns the base URL of the root: the repository's, or that of the chosen mirror.
    pub fn base_url(&self) -> &str {
        F::base_url(&self.repository, &self.root)
    }

    /// Returns notes for the user, such as that modules are ignored.
    pub fn notes(&self) -> Vec<String> {
        F::notes(&self.repository, &self.root)
    }
}

/// The content of one repository.
#[derive(Debug, Clone)]
pub struct Index<F: Format> {
    /// `Repository::id`.
    pub repository_id: String,
    /// The base URL it was loaded from: the repository's, or that of the chosen mirror.
    pub base_url: String,
    /// The root of the metadata that lists all its indexes.
    pub release: ReleaseInfo,
    /// The packages, in the order of the indexes.
    pub records: Vec<F::Record>,
    /// The other indexes that oic can read, as far as the repository has them.
    pub further: F::Further,
    /// Notes for the user, such as that modules are ignored.
    pub notes: Vec<String>,
    /// Bytes downloaded for it.
    pub fetched_bytes: u64,
    /// Nothing was downloaded, apart from the request whether the cache is current.
    pub from_cache: bool,
}

impl<F: Format> Index<F> {
    /// Makes the index of `head` from `records` and their `root`, which may be newer than the head's.
    fn of(head: &Head<F>, (root, records): (F::Root, Vec<F::Record>), fetched_bytes: u64) -> Self {
        let fetched_bytes = head.fetched_bytes + fetched_bytes;
        Self {
            repository_id: head.repository.id.clone(),
            base_url: F::base_url(&head.repository, &root).to_owned(),
            release: F::release(&root),
            records,
            further: F::further(&root),
            notes: F::notes(&head.repository, &root),
            fetched_bytes,
            from_cache: fetched_bytes == 0,
        }
    }
}

/// The context of a load.
#[allow(missing_debug_implementations)] // a transport has none
pub struct Loader<'a> {
    /// The options for all repositories.
    pub options: LoadOptions,
    /// The transport to the mirrors.
    pub transport: &'a dyn Transport,
    /// Where it reports finished repositories, what ends it early, and the number of threads that parse an index.
    pub work: Work<'a>,
}

impl Loader<'_> {
    /// Verifies the metadata's roots of several repositories at once; the result is in their order.
    ///
    /// # Errors
    /// [`RepoError`] of the first repository, in order, that cannot be used; the files that `--offline` misses are
    /// collected from all of them.
    pub fn heads<F: Format>(&self, repositories: &[Repository]) -> Result<Vec<Head<F>>, RepoError> {
        self.each("Verify repositories", repositories, |repository| {
            self.with(repository, |session| {
                Ok(Head {
                    root: F::verify(session)?,
                    repository: repository.clone(),
                    fetched_bytes: session.fetched_bytes(),
                })
            })
        })
    }

    /// Loads the indexes of several heads at once; the result is in the order of the heads.
    ///
    /// # Errors
    /// Those of [`Self::heads`].
    pub fn load<F: Format>(&self, heads: &[Head<F>]) -> Result<Vec<Index<F>>, RepoError> {
        self.each("Load package indexes", heads, |head| {
            self.with(&head.repository, |session| {
                let loaded = F::load(session, &head.root)?;
                Ok(Index::of(head, loaded, session.fetched_bytes()))
            })
        })
    }

    /// Runs `work` in a session with `repository`, and adds the repository's id to its errors.
    pub(super) fn with<F: Format, T>(
        &self,
        repository: &Repository,
        work: impl FnOnce(&Session<'_, F>) -> Result<T, Problem>,
    ) -> Result<T, RepoError> {
        let done =
            Session::open(repository, &self.options, self.transport, self.work).and_then(|session| work(&session));
        done.map_err(|problem| problem.of(&repository.id))
    }

    /// Runs `work` for each of `items`, one per repository, several at once; the result is in their order.
    fn each<I: Sync, T: Send>(
        &self,
        label: &str,
        items: &[I],
        work: impl Fn(&I) -> Result<T, RepoError> + Sync,
    ) -> Result<Vec<T>, RepoError> {
        let task = self.work.start(label, Unit::Items, Some(items.len() as u64));
        let results = parallel::map(self.options.workers, items, |item| {
            let done = work(item);
            task.advance(1);
            done
        });
        drop(task);
        self.work.cancel.check()?;
        all_or_missing(results)
    }
}

#[cfg(test)]
impl Loader<'_> {
    /// Runs [`Self::heads`] and then [`Self::load`].
    pub(super) fn load_all<F: Format>(&self, repositories: &[Repository]) -> Result<Vec<Index<F>>, RepoError> {
        self.load(&self.heads::<F>(repositories)?)
    }
}
