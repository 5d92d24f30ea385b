//! From repositories to records: verified, cached, several at once.

use std::collections::HashSet;

use super::current::Current;
use super::error::Problem;
use super::index;
use crate::package::{PackageRecord, Sha256};
use crate::repo::load::parallel;
use crate::repo::session;
use crate::repo::store::Kind;
use crate::repo::{Format, ReleaseInfo, Repository};
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

/// A repository whose Release file was verified; none of its indexes was looked at yet. The digest of
/// [`Head::release`] says what they hold: the Release file lists their digests.
#[derive(Debug, Clone)]
pub struct Head {
    repository: Repository,
    current: Current,
    fetched_bytes: u64,
}

impl Head {
    /// `Repository::id`.
    pub fn repository_id(&self) -> &str {
        &self.repository.id
    }

    /// The Release file.
    pub fn release(&self) -> ReleaseInfo {
        self.current.info()
    }
}

/// Debian repositories.
#[derive(Debug)]
pub enum Deb {}

impl Format for Deb {
    type Head = Head;
    type Index = LoadedIndex;
    type Problem = Problem;

    fn keyring(repository: &Repository) -> Result<Option<Keyring>, Problem> {
        Ok(match repository.keys.as_slice() {
            [] if repository.trusted => None,
            [] => return Err(Problem::NoKey),
            keys => Some(Keyring::from_certificates(keys).map_err(Problem::Keys)?),
        })
    }

    fn verify(session: &Session<'_>) -> Result<Head, Problem> {
        let current = match session.options.offline {
            true => session.cached_only()?,
            false => session.newest()?,
        };
        Ok(Head {
            repository: session.repository.clone(),
            fetched_bytes: session.fetched_bytes(),
            current,
        })
    }

    fn load(session: &Session<'_>, head: &Head) -> Result<LoadedIndex, Problem> {
        let loaded = match session.all_records(&head.current) {
            // The mirror was caught between its Release file and its indexes.
            Err(problem) if problem.may_be_a_race() => {
                tracing::info!(repository = session.repository.id, %problem, "asking once more");
                let current = session.refreshed(session.cached().ok().flatten().as_ref(), false)?;
                let records = session.all_records(&current)?;
                (current, records)
            }
            records => (head.current.clone(), records?),
        };
        let (current, records) = loaded;
        if !session.options.offline {
            session.keep(&current)?;
        }
        let fetched_bytes = head.fetched_bytes + session.fetched_bytes();
        Ok(LoadedIndex {
            repository_id: session.repository.id.clone(),
            release: current.info(),
            records,
            fetched_bytes,
            from_cache: fetched_bytes == 0,
        })
    }

    fn repository(head: &Head) -> &Repository {
        &head.repository
    }
}

/// The load of one repository.
pub(super) type Session<'a> = session::Session<'a, Deb>;

impl Session<'_> {
    /// `path` below the Release file's directory as a URL.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}/dists/{}/{path}", self.repository.base_url, self.repository.suite)
    }

    fn cached_only(&self) -> Result<Current, Problem> {
        let missing = || Problem::NotCached {
            urls: vec![self.url("InRelease")],
        };
        let current = self.cached()?.ok_or_else(missing)?;
        self.check_validity(&current)?;
        self.check_cached(&current)?;
        Ok(current)
    }

    fn newest(&self) -> Result<Current, Problem> {
        let cached = self.cached().unwrap_or_else(|problem| {
            tracing::warn!(repository = self.repository.id, %problem, "the cached index is not used");
            None
        });
        let mut current = self.refreshed(cached.as_ref(), true)?;
        // The text that is cached, but from another place or signed anew: its indexes are as much there as before.
        if cached.is_some_and(|cached| cached.sha256 == current.sha256) {
            self.keep(&current)?;
            current.fresh = None;
        }
        Ok(current)
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
}

#[cfg(test)]
mod apt;
#[cfg(test)]
mod archive;
#[cfg(test)]
mod tests;
