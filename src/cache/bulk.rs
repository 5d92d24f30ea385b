//! All packages of a resolution at once: verify what is there, download the rest.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::{path::PathBuf, thread};

use super::verify::Glance;
use super::{CacheError, How, Lookup, PackageCache};
use crate::cancel::{Cancel, Cancelled};
use crate::fetch::{Fetcher, Partial};
use crate::package::ResolvedPackage;
use crate::progress::{Progress, Unit};

/// A package and where it can be downloaded.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// The package.
    pub package: &'a ResolvedPackage,
    /// URL of its file: `http`, `https` or `file`.
    pub url: String,
}

/// Packages that somebody waits for: those that come first in a request.
pub struct First<'a> {
    /// How many they are.
    pub count: usize,
    /// Called once, as soon as all of them are in the cache.
    pub arrived: &'a (dyn Fn() + Sync),
    /// Ends the downloads of the others, too.
    pub stop: &'a Cancel,
}

impl fmt::Debug for First<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("First")
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

/// One package of a [`CacheReport`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedPackage {
    /// Where the verified file lies.
    pub path: PathBuf,
    /// How it came there.
    pub how: How,
}

/// What [`PackageCache::obtain_all`] did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CacheReport {
    /// Packages that were in the cache.
    pub reused: usize,
    /// Packages that were not.
    pub fetched: usize,
    /// Packages that were, but bad.
    pub refetched: usize,
    /// Bytes that were received.
    pub fetched_bytes: u64,
    /// Bytes that were read to verify cached packages.
    pub hashed_bytes: u64,
    /// Each package, in the order of the request.
    pub packages: Vec<CachedPackage>,
}

impl PackageCache {
    /// Brings every package of `wanted` into the cache, `workers` (at least one)
    /// at a time. The first failure ends the other downloads.
    ///
    /// # Errors
    /// [`CacheError::Missing`] with everything that is missing, when offline;
    /// [`CacheError::NoSpace`] before anything is downloaded that would not fit;
    /// otherwise the first failure.
    pub fn obtain_all(
        &self,
        wanted: &[Wanted<'_>],
        fetcher: &Fetcher,
        workers: usize,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<CacheReport, CacheError> {
        let nobody = First {
            count: 0,
            arrived: &|| {},
            stop: cancel,
        };
        self.obtain_in_order(wanted, &nobody, fetcher, workers, progress, cancel)
    }

    /// As [`Self::obtain_all`], but packages that somebody waits for are fetched before the others.
    ///
    /// # Errors
    /// As there; packages that arrived before a failure stay.
    pub fn obtain_in_order(
        &self,
        wanted: &[Wanted<'_>],
        first: &First<'_>,
        fetcher: &Fetcher,
        workers: usize,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<CacheReport, CacheError> {
        self.check_names(wanted)?;
        let hashed_before_bytes = self.hashed_bytes();
        let stop = [cancel, first.stop];
        let pool = Pool { workers, stop };
        let found = self.verify_all_of(wanted, &pool, progress)?;
        let outcome = self.fetch_missing(wanted, &found, first, fetcher, &pool, progress);
        // What was verified stays known, also after a failure; without it, only time is lost.
        if let Err(error) = self.flush() {
            tracing::debug!(%error, "the memo of verified packages was not saved");
        }
        let fetched = outcome?;
        let names = wanted.iter().map(|item| item.package.file_name());
        if let Err(error) = super::usage::note(self.directory(), names) {
            tracing::debug!(%error, "the use of the packages was not noted");
        }
        let mut report = CacheReport {
            hashed_bytes: self.hashed_bytes().saturating_sub(hashed_before_bytes),
            ..CacheReport::default()
        };
        for (index, item) in wanted.iter().enumerate() {
            let (how, received_bytes) = fetched.get(&index).copied().unwrap_or((How::Reused, 0));
            match how {
                How::Reused => report.reused += 1,
                How::Fetched => report.fetched += 1,
                How::Refetched => report.refetched += 1,
            }
            report.fetched_bytes = report.fetched_bytes.saturating_add(received_bytes);
            let path = self.path_of(item.package)?;
            report.packages.push(CachedPackage { path, how });
        }
        Ok(report)
    }

    /// Refuses file names that lead elsewhere, and different packages of one name.
    fn check_names(&self, wanted: &[Wanted<'_>]) -> Result<(), CacheError> {
        let mut seen: HashMap<String, &ResolvedPackage> = HashMap::new();
        for item in wanted {
            let name = item.package.file_name();
            self.path_of(item.package)?;
            match seen.get(&name) {
                Some(other) if other.sha256 != item.package.sha256 => {
                    let tell = |package: &ResolvedPackage| format!("{} ({})", package.repository, package.sha256);
                    let (first, second) = (tell(other), tell(item.package));
                    return Err(CacheError::Conflict { name, first, second });
                }
                _ => {
                    seen.insert(name, item.package);
                }
            }
        }
        Ok(())
    }

    /// Looks every package up, hashing in parallel those that the memo does not know.
    fn verify_all_of(
        &self,
        wanted: &[Wanted<'_>],
        pool: &Pool<'_>,
        progress: &dyn Progress,
    ) -> Result<Vec<Lookup>, CacheError> {
        let mut found = vec![Lookup::Miss; wanted.len()];
        let mut doubtful = Vec::new();
        for (index, item) in wanted.iter().enumerate() {
            let path = self.path_of(item.package)?;
            match self.glance(item.package, &path)? {
                Glance::Absent => {}
                Glance::Good(_) => set(&mut found, index, Lookup::Hit(path)),
                Glance::Bad { .. } | Glance::Unverified { .. } => doubtful.push((index, item.package)),
            }
        }
        if doubtful.is_empty() {
            return Ok(found);
        }
        doubtful.sort_by_key(|(_, package)| Reverse(package.size_bytes));
        let total_bytes = sum(doubtful.iter().map(|(_, package)| package.size_bytes));
        let task = progress.start("Verify cached packages", Unit::Bytes, Some(total_bytes));
        let lookups = pool.run(&doubtful, |(index, package), stop| {
            let lookup = self.lookup_until(package, stop)?;
            progress.advance(task, package.size_bytes);
            Ok((*index, lookup))
        });
        progress.finish(task);
        for (index, lookup) in lookups? {
            if let (Lookup::Bad(reason), Some(item)) = (&lookup, wanted.get(index)) {
                let name = item.package.file_name();
                progress.note(&format!("deleted {name} from the package cache: {reason}"));
            }
            set(&mut found, index, lookup);
        }
        Ok(found)
    }

    /// Downloads what is not there; the result says by index how, and how many bytes came.
    fn fetch_missing(
        &self,
        wanted: &[Wanted<'_>],
        found: &[Lookup],
        first: &First<'_>,
        fetcher: &Fetcher,
        pool: &Pool<'_>,
        progress: &dyn Progress,
    ) -> Result<HashMap<usize, (How, u64)>, CacheError> {
        let mut missing: Vec<Missing<'_>> = wanted
            .iter()
            .zip(found)
            .enumerate()
            .filter(|(_, (_, lookup))| !matches!(lookup, Lookup::Hit(_)))
            .map(|(index, (wanted, lookup))| Missing {
                index,
                wanted,
                was_bad: matches!(lookup, Lookup::Bad(_)),
            })
            .collect();
        let forbidden = missing.iter().filter(|item| !fetcher.may_fetch(&item.wanted.url));
        let packages: Vec<_> = forbidden.map(|item| item.wanted.package.into()).collect();
        if !packages.is_empty() {
            return Err(CacheError::Missing { packages });
        }
        let is_first = |item: &Missing<'_>| item.index < first.count;
        let awaited = AtomicUsize::new(missing.iter().filter(|item| is_first(item)).count());
        if missing.is_empty() {
            (first.arrived)();
            return Ok(HashMap::new());
        }
        self.check_space(sum(missing.iter().map(|item| self.missing_bytes(item.wanted.package))))?;
        if awaited.load(Ordering::Relaxed) == 0 {
            (first.arrived)();
        }
        // The largest first, so that none of them is left alone at the end.
        missing.sort_by_key(|item| (!is_first(item), Reverse(item.wanted.package.size_bytes)));
        let total_bytes = sum(missing.iter().map(|item| item.wanted.package.size_bytes));
        let task = progress.start("Download packages", Unit::Bytes, Some(total_bytes));
        let advance = |amount_bytes| progress.advance(task, amount_bytes);
        let fetched = pool.run(&missing, |item, stop| {
            let Wanted { package, url } = item.wanted;
            let obtained = self.obtain_until(package, url, fetcher, &advance, stop)?;
            let how = match obtained.how {
                How::Fetched if item.was_bad => How::Refetched,
                how => how,
            };
            if is_first(item) && awaited.fetch_sub(1, Ordering::AcqRel) == 1 {
                (first.arrived)();
            }
            Ok((item.index, (how, obtained.received_bytes)))
        });
        progress.finish(task);
        if let Err(CacheError::NoSpace { .. }) = fetched {
            self.discard_partials(&missing);
        }
        Ok(fetched?.into_iter().collect())
    }

    /// Gives back the space of downloads that were stopped because there is none.
    fn discard_partials(&self, missing: &[Missing<'_>]) {
        for item in missing {
            if let Ok(Some(partial)) = Partial::try_lock(&self.directory, item.wanted.package.sha256) {
                partial.discard();
            }
        }
    }
}

/// A package that is to be downloaded.
struct Missing<'a> {
    index: usize,
    wanted: &'a Wanted<'a>,
    was_bad: bool,
}

/// The sizes come from an index: their sum must not overflow.
fn sum(sizes_bytes: impl Iterator<Item = u64>) -> u64 {
    sizes_bytes.fold(0, u64::saturating_add)
}

fn set(found: &mut [Lookup], index: usize, lookup: Lookup) {
    if let Some(place) = found.get_mut(index) {
        *place = lookup;
    }
}

/// Threads that share work.
struct Pool<'a> {
    workers: usize,
    stop: [&'a Cancel; 2],
}

impl Pool<'_> {
    /// Calls `work` for every item, on this thread and up to `workers - 1` others.
    /// The first error sets a flag among those that `work` gets, and is returned.
    fn run<T: Sync, R: Send>(
        &self,
        items: &[T],
        work: impl Fn(&T, &[&Cancel]) -> Result<R, CacheError> + Sync,
    ) -> Result<Vec<R>, CacheError> {
        let failed = Cancel::default();
        let next = AtomicUsize::new(0);
        let results = Mutex::new((Vec::with_capacity(items.len()), None));
        let serve = || {
            while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                let [cancel, other] = self.stop;
                let stop = [cancel, other, &failed];
                let result = match stop.iter().any(|flag| flag.is_cancelled()) {
                    true => Err(Cancelled.into()),
                    false => work(item, &stop),
                };
                let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                match result {
                    Ok(result) => results.0.push(result),
                    Err(error) => {
                        failed.cancel();
                        results.1.get_or_insert(error);
                        return;
                    }
                }
            }
        };
        thread::scope(|scope| {
            for _ in 1..self.workers.min(items.len()) {
                // With fewer threads than asked for, it only takes longer.
                let _ = thread::Builder::new()
                    .name("oic-cache".to_owned())
                    .spawn_scoped(scope, serve);
            }
            serve();
        });
        match results.into_inner().unwrap_or_else(PoisonError::into_inner) {
            (results, None) => Ok(results),
            (_, Some(error)) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::cache::tests::package;
    use crate::fetch::testing::{Server, fetcher};
    use crate::progress::Silent;

    #[test]
    fn what_somebody_waits_for_comes_first() {
        let (server, directory, fetcher) = (Server::start(), tempfile::tempdir().unwrap(), fetcher());
        let cache = PackageCache::open(directory.path(), "debian-debian13-x86_64").unwrap();
        let packages = [("small", 10), ("middle", 1_000), ("large", 100_000)].map(|(name, size)| {
            let content = vec![b'x'; size];
            (
                package(name, &content),
                server.page(&format!("/{name}"), content.clone()),
            )
        });
        let wanted: Vec<_> = packages
            .iter()
            .map(|(package, url)| Wanted {
                package,
                url: url.clone(),
            })
            .collect();
        let there = || -> Vec<bool> {
            let paths = packages.iter().map(|(package, _)| cache.path_of(package).unwrap());
            paths.map(|path| path.exists()).collect()
        };
        let seen = Mutex::new(Vec::new());
        let stop = Cancel::default();
        let order = |count, arrived: &(dyn Fn() + Sync)| {
            let first = First {
                count,
                arrived,
                stop: &stop,
            };
            cache.obtain_in_order(&wanted, &first, &fetcher, 1, &Silent, &Cancel::default())
        };
        let look = || seen.lock().unwrap().push(there());
        order(2, &look).unwrap();
        assert_eq!(std::mem::take(&mut *seen.lock().unwrap()), [[true, true, false]]);
        // There is nothing to wait for, once with something left to fetch, once with nothing.
        order(2, &look).unwrap();
        fs::remove_file(cache.path_of(&packages[2].0).unwrap()).unwrap();
        order(2, &look).unwrap();
        assert_eq!(*seen.lock().unwrap(), [[true, true, true], [true, true, false]]);
        // Who waited has failed: the others are not wanted any more.
        fs::remove_file(cache.path_of(&packages[0].0).unwrap()).unwrap();
        fs::remove_file(cache.path_of(&packages[2].0).unwrap()).unwrap();
        let ended = order(2, &|| stop.cancel());
        assert!(matches!(ended, Err(CacheError::Cancelled(_))), "{ended:?}");
        assert_eq!(there(), [true, true, false]);
    }

    #[test]
    fn nobody_is_told_of_packages_that_cannot_be_had() {
        let (server, directory, fetcher) = (Server::start(), tempfile::tempdir().unwrap(), fetcher());
        let cache = PackageCache::open(directory.path(), "debian-debian13-x86_64").unwrap();
        let (there, absent) = (package("there", b"x"), package("absent", b"y"));
        let wanted = [(&there, server.page("/there", b"x")), (&absent, server.url("/absent"))];
        let wanted = wanted.map(|(package, url)| Wanted { package, url });
        let first = First {
            count: 2,
            arrived: &|| panic!("they have not arrived"),
            stop: &Cancel::default(),
        };
        let failed = cache.obtain_in_order(&wanted, &first, &fetcher, 4, &Silent, &Cancel::default());
        assert!(matches!(failed, Err(CacheError::Fetch { .. })), "{failed:?}");
    }
}
