//! From repositories to records: verified, cached, several at once.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

use super::current::Current;
use super::error::{Problem, RepoError};
use super::index;
use crate::cancel::Cancel;
use crate::fetch::{FetchError, Reply, Transport, Validators};
use crate::package::{PackageRecord, Sha256};
use crate::progress::Progress;
use crate::repo::store::{Kind, Store};
use crate::repo::{LoadOptions, ReleaseInfo, Repository, load_each, parallel};
use crate::verify::Keyring;

/// What one repository offers.
#[derive(Debug, Clone)]
pub struct LoadedIndex {
    /// `Repository::id`.
    pub repository_id: String,
    /// The Release file that all of it hangs on.
    pub release: ReleaseInfo,
    /// The packages, in the order of components and indexes.
    pub records: Vec<PackageRecord>,
    /// Bytes that came over the network for it.
    pub fetched_bytes: u64,
    /// Nothing was downloaded, apart from asking whether the cache is current.
    pub from_cache: bool,
}

/// Loads several repositories at once; the result is in their order.
///
/// # Errors
/// [`RepoError`] of the first repository, in order, that cannot be loaded; what
/// `--offline` misses is collected from all of them.
pub fn load_all(
    repositories: &[Repository],
    options: &LoadOptions,
    transport: &dyn Transport,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Vec<LoadedIndex>, RepoError> {
    load_each(repositories, options, progress, cancel, |repository| {
        load(repository, options, transport, cancel)
    })
}

/// Loads one repository: its Release file is verified, its indexes are fetched
/// unless they are cached, checked against it and parsed.
///
/// # Errors
/// [`RepoError`], which names the repository and the URL.
pub fn load(
    repository: &Repository,
    options: &LoadOptions,
    transport: &dyn Transport,
    cancel: &Cancel,
) -> Result<LoadedIndex, RepoError> {
    Session::open(repository, options, transport, cancel)
        .and_then(|session| session.load())
        .map_err(|problem| problem.of(&repository.id))
}

/// The load of one repository.
pub(super) struct Session<'a> {
    pub(super) repository: &'a Repository,
    pub(super) options: &'a LoadOptions,
    pub(super) cancel: &'a Cancel,
    pub(super) keyring: Option<Keyring>,
    pub(super) store: Store,
    transport: &'a dyn Transport,
    fetched_bytes: AtomicU64,
}

impl<'a> Session<'a> {
    fn open(
        repository: &'a Repository,
        options: &'a LoadOptions,
        transport: &'a dyn Transport,
        cancel: &'a Cancel,
    ) -> Result<Self, Problem> {
        let keyring = match repository.keys.as_slice() {
            [] if repository.trusted => None,
            [] => return Err(Problem::NoKey),
            keys => Some(Keyring::from_certificates(keys).map_err(Problem::Keys)?),
        };
        let store = Store::open(&options.metadata_dir, repository, cancel)?;
        Ok(Self {
            repository,
            options,
            cancel,
            keyring,
            store,
            transport,
            fetched_bytes: AtomicU64::new(0),
        })
    }

    /// `path` below the Release file's directory as a URL.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}/dists/{}/{path}", self.repository.base_url, self.repository.suite)
    }

    /// [`Transport::get`], counted and cancellable.
    pub(super) fn get(&self, url: &str, limit_bytes: u64, known: Option<&Validators>) -> Result<Reply, FetchError> {
        self.cancel.check()?;
        let reply = self.transport.get(url, limit_bytes, known)?;
        if let Reply::Body { bytes, .. } = &reply {
            self.fetched_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        Ok(reply)
    }

    fn load(&self) -> Result<LoadedIndex, Problem> {
        if self.options.offline {
            let missing = || Problem::NotCached {
                urls: vec![self.url("InRelease")],
            };
            let current = self.cached()?.ok_or_else(missing)?;
            self.check_validity(&current)?;
            let records = self.all_records(&current)?;
            return Ok(self.loaded(current, records));
        }
        let cached = self.cached().unwrap_or_else(|problem| {
            tracing::warn!(repository = self.repository.id, %problem, "the cached index is not used");
            None
        });
        let attempt = |conditional| {
            let current = self.refreshed(cached.as_ref(), conditional)?;
            let records = self.all_records(&current)?;
            Ok((current, records))
        };
        let (current, records) = match attempt(true) {
            // The mirror was caught between its Release file and its indexes.
            Err(problem) if Problem::may_be_a_race(&problem) => {
                tracing::info!(repository = self.repository.id, %problem, "asking once more");
                attempt(false)?
            }
            done => done?,
        };
        self.keep(&current)?;
        Ok(self.loaded(current, records))
    }

    /// Makes `current` what the cache holds; its indexes are there already.
    fn keep(&self, current: &Current) -> Result<(), Problem> {
        if let Some(fresh) = &current.fresh {
            self.store
                .write(Kind::RELEASE, current.pointer.release, &fresh.release)?;
            if let (Some(signature), Some(digest)) = (&fresh.signature, current.pointer.signature) {
                self.store.write(Kind::SIGNATURE, digest, signature)?;
            }
            self.store.point(&current.pointer)?;
        }
        Ok(self
            .store
            .prune(&current.pointer, current.release.digests().map(Into::into))?)
    }

    /// The packages of all indexes that are wanted, in order.
    fn all_records(&self, current: &Current) -> Result<Vec<PackageRecord>, Problem> {
        let wanted = index::wanted(self, current)?;
        let results = parallel(self.options.workers, &wanted, |wanted| {
            self.records(&current.release, wanted)
        });
        let mut all = Vec::new();
        let mut missing = Vec::new();
        // An archive may list a package for `all` both in its own index and in each architecture's.
        let mut seen: HashSet<Sha256> = HashSet::new();
        for result in results {
            match result {
                Ok(records) if wanted.len() == 1 => all = records,
                Ok(records) => all.extend(
                    records
                        .into_iter()
                        .filter(|record| &*record.architecture != "all" || seen.insert(record.sha256)),
                ),
                Err(Problem::NotCached { urls }) => missing.extend(urls),
                Err(problem) => return Err(problem),
            }
        }
        if missing.is_empty() {
            Ok(all)
        } else {
            Err(Problem::NotCached { urls: missing })
        }
    }

    fn loaded(&self, current: Current, records: Vec<PackageRecord>) -> LoadedIndex {
        let fetched_bytes = self.fetched_bytes.load(Ordering::Relaxed);
        LoadedIndex {
            repository_id: self.repository.id.clone(),
            release: ReleaseInfo {
                date: current.release.date,
                suite: current.release.suite,
                codename: current.release.codename,
                sha256: current.sha256,
                signer: current.signer.map(|signer| signer.fingerprint),
            },
            records,
            fetched_bytes,
            from_cache: fetched_bytes == 0,
        }
    }
}

#[cfg(test)]
mod apt;
#[cfg(test)]
mod archive;
#[cfg(test)]
mod tests;
