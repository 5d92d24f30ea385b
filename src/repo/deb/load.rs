//! Loads repositories into records: verified, cached, several at once.

use std::collections::HashSet;

use super::current::Current;
use super::format::{Deb, Session};
use super::index;
use crate::package::{Checksum, PackageRecord};
use crate::parallel;
use crate::repo::store::Kind;
use crate::repo::{Format, Problem, ReleaseInfo, Repository};
use crate::verify::Keyring;

impl Format for Deb {
    type Root = Current;
    type Record = PackageRecord;
    type Further = ();

    fn keyring(repository: &Repository) -> Result<Option<Keyring>, Problem> {
        Ok(match repository.keys.as_slice() {
            [] if repository.trusted => None,
            [] => return Err(Problem::NoKey),
            keys => Some(Keyring::from_certificates(keys).map_err(Problem::Keys)?),
        })
    }

    fn verify(session: &Session<'_>) -> Result<Current, Problem> {
        match session.options.offline {
            true => session.cached_only(),
            false => session.newest(),
        }
    }

    fn load(session: &Session<'_>, root: &Current) -> Result<(Current, Vec<PackageRecord>), Problem> {
        let (current, records) = match session.all_records(root) {
            // The mirror changed between its Release file and its indexes.
            Err(problem) if problem.may_be_a_race() => {
                tracing::info!(repository = session.repository.id, %problem, "asking once more");
                let current = session.refreshed(session.cached().ok().flatten().as_ref(), false)?;
                let records = session.all_records(&current)?;
                (current, records)
            }
            records => (root.clone(), records?),
        };
        if !session.options.offline {
            session.keep(&current)?;
        }
        Ok((current, records))
    }

    fn release(root: &Current) -> ReleaseInfo {
        root.info()
    }

    fn notes(_repository: &Repository, root: &Current) -> Vec<String> {
        root.notes.clone()
    }
}

impl Session<'_> {
    fn cached_only(&self) -> Result<Current, Problem> {
        let missing = || Problem::NotCached {
            urls: vec![self.url("InRelease")],
        };
        let current = self.checked(self.cached()?.ok_or_else(missing)?)?;
        self.check_cached(&current.release, &current.pointer.url)?;
        Ok(current)
    }

    fn newest(&self) -> Result<Current, Problem> {
        let cached = self.cached().unwrap_or_else(|problem| {
            tracing::warn!(repository = self.repository.id, %problem, "the cached index is not used");
            None
        });
        let mut current = self.refreshed(cached.as_ref(), true)?;
        // The text is the cached one, only from another place or signed anew: its indexes are cached already.
        if cached.is_some_and(|cached| cached.sha256 == current.sha256) {
            self.keep(&current)?;
            current.fresh = None;
        }
        Ok(current)
    }

    /// Makes `current` the cached Release file; its indexes are cached already.
    fn keep(&self, current: &Current) -> Result<(), Problem> {
        if let Some(fresh) = &current.fresh {
            self.store
                .write(Kind::RELEASE, current.pointer.release, &fresh.release)?;
            if let (Some(signature), Some(digest)) = (&fresh.signature, current.pointer.signature) {
                self.store.write(Kind::SIGNATURE, digest, signature)?;
            }
            self.store.point(&current.pointer)?;
        }
        Ok(self.store.prune(&current.pointer, current.release.digests().cloned())?)
    }

    /// Returns the packages of all wanted indexes, in order.
    fn all_records(&self, current: &Current) -> Result<Vec<PackageRecord>, Problem> {
        let wanted = index::wanted(self, &current.release, &current.pointer.url)?;
        let results = parallel::map(self.options.workers, &wanted, |wanted| {
            self.records(&current.release, wanted)
        });
        let mut all = Vec::new();
        let mut missing = Vec::new();
        // An archive may list a package for `all` both in its own index and in each architecture's.
        let mut seen: HashSet<Checksum> = HashSet::new();
        for result in results {
            match result {
                Ok(records) if wanted.len() == 1 => all = records,
                Ok(records) => all.extend(
                    records
                        .into_iter()
                        .filter(|record| &*record.architecture != "all" || seen.insert(record.checksum)),
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
