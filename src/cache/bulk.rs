//! Brings all packages of a resolution into the cache: verifies those that it has, downloads the rest.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::verify::Glance;
use super::{CacheError, Fetching, How, Lookup, PackageCache};
use crate::cancel::{Cancel, Cancelled};
use crate::fetch::{Fetcher, Partial};
use crate::package::ResolvedPackage;
use crate::parallel;
use crate::progress::{Progress, Task, Unit};
use crate::sync::{Mutex, into_inner, lock};
use crate::work::Work;

/// A package and its URL.
#[derive(Debug, Clone)]
pub struct RemotePackage<'a> {
    /// The package.
    pub package: &'a ResolvedPackage,
    /// URL of its file: `http`, `https` or `file`.
    pub url: String,
}

/// The packages that a caller waits for: those at the front of a request.
pub struct First<'a> {
    /// Their number.
    pub count: usize,
    /// The callback for the moment when all of them are in the cache; called once.
    pub arrived: &'a (dyn Fn() + Sync),
    /// The flag that also ends the downloads of the others.
    pub stop: &'a Cancel,
}

impl<'a> First<'a> {
    /// Returns a request in which no package comes before the others; `stop` ends the downloads.
    pub fn none(stop: &'a Cancel) -> Self {
        Self {
            count: 0,
            arrived: &|| {},
            stop,
        }
    }
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
    /// Path of the verified file.
    pub path: PathBuf,
    /// The way by which it came there.
    pub how: How,
}

/// The result of [`PackageCache::obtain_all`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CacheReport {
    /// Packages that the cache had.
    pub reused: usize,
    /// Packages that the cache lacked.
    pub fetched: usize,
    /// Packages whose file in the cache was bad.
    pub refetched: usize,
    /// Bytes received.
    pub fetched_bytes: u64,
    /// Bytes read to verify cached packages.
    pub hashed_bytes: u64,
    /// Each package, in the order of the request.
    pub packages: Vec<CachedPackage>,
}

impl PackageCache {
    /// Brings every package of `wanted` into the cache, as many at a time
    /// as `fetcher` has workers. The first failure ends the other downloads.
    ///
    /// # Errors
    /// [`CacheError::Missing`] with all missing packages, when offline; [`CacheError::NoSpace`] before any download
    /// that would not fit; otherwise the first failure.
    pub fn obtain_all(
        &self,
        wanted: &[RemotePackage<'_>],
        fetcher: &Fetcher,
        work: Work<'_>,
    ) -> Result<CacheReport, CacheError> {
        self.obtain_in_order(wanted, &First::none(work.cancel), fetcher, work)
    }

    /// Does the same as [`Self::obtain_all`], but fetches the packages in `first` before the others.
    ///
    /// # Errors
    /// As [`Self::obtain_all`]; packages that arrived before a failure stay.
    pub fn obtain_in_order(
        &self,
        wanted: &[RemotePackage<'_>],
        first: &First<'_>,
        fetcher: &Fetcher,
        work: Work<'_>,
    ) -> Result<CacheReport, CacheError> {
        self.check_names(wanted)?;
        let hashed_before_bytes = self.hashed_bytes();
        let stop = [work.cancel, first.stop];
        let pool = Pool {
            fetcher,
            progress: work.progress,
            stop,
        };
        let found = self.verify_all_of(wanted, &pool)?;
        let outcome = self.fetch_missing(wanted, &found, first, &pool);
        // The verifications are kept also after a failure; if that fails, only time is lost.
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

    /// Refuses file names that lead elsewhere, and different packages with one name.
    fn check_names(&self, wanted: &[RemotePackage<'_>]) -> Result<(), CacheError> {
        let mut seen: HashMap<String, &ResolvedPackage> = HashMap::new();
        for item in wanted {
            let name = item.package.file_name();
            self.path_of(item.package)?;
            match seen.get(&name) {
                Some(other) if other.checksum != item.package.checksum => {
                    let tell = |package: &ResolvedPackage| format!("{} ({})", package.repository, package.checksum);
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

    /// Looks up every package; hashes in parallel those that the memo does not know.
    fn verify_all_of(&self, wanted: &[RemotePackage<'_>], pool: &Pool<'_>) -> Result<Vec<Lookup>, CacheError> {
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
        let task = pool.start("Verify cached packages", total_bytes);
        let lookups = pool.run(&doubtful, |(index, package), stop| {
            let lookup = self.lookup_until(package, stop)?;
            task.advance(package.size_bytes);
            Ok((*index, lookup))
        });
        drop(task);
        for (index, lookup) in lookups? {
            if let (Lookup::Bad(reason), Some(item)) = (&lookup, wanted.get(index)) {
                let name = item.package.file_name();
                pool.progress
                    .note(&format!("deleted {name} from the package cache: {reason}"));
            }
            set(&mut found, index, lookup);
        }
        Ok(found)
    }

    /// Downloads the missing packages; returns, by index, how each came and its received bytes.
    fn fetch_missing(
        &self,
        wanted: &[RemotePackage<'_>],
        found: &[Lookup],
        first: &First<'_>,
        pool: &Pool<'_>,
    ) -> Result<HashMap<usize, (How, u64)>, CacheError> {
        let mut missing = missing(wanted, found);
        let forbidden = missing.iter().filter(|item| !pool.fetcher.may_fetch(&item.wanted.url));
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
        // The largest first, so that none of them is left to one thread at the end.
        missing.sort_by_key(|item| (!is_first(item), Reverse(item.wanted.package.size_bytes)));
        let total_bytes = sum(missing.iter().map(|item| item.wanted.package.size_bytes));
        let task = pool.start("Download packages", total_bytes);
        let advance = |amount_bytes| task.advance(amount_bytes);
        let fetched = pool.run(&missing, |item, stop| {
            let RemotePackage { package, url } = item.wanted;
            let fetching = Fetching {
                fetcher: pool.fetcher,
                advance: &advance,
                stop,
            };
            let obtained = self.obtain_by(fetching, package, url)?;
            let how = match obtained.how {
                How::Fetched if item.was_bad => How::Refetched,
                how => how,
            };
            if is_first(item) && awaited.fetch_sub(1, Ordering::AcqRel) == 1 {
                (first.arrived)();
            }
            Ok((item.index, (how, obtained.received_bytes)))
        });
        drop(task);
        if let Err(CacheError::NoSpace { .. }) = fetched {
            self.discard_partials(&missing);
        }
        Ok(fetched?.into_iter().collect())
    }

    /// Deletes the partial downloads that a full disk stopped, to free their space.
    fn discard_partials(&self, missing: &[Missing<'_>]) {
        for item in missing {
            if let Ok(Some(partial)) = Partial::try_lock(&self.directory, item.wanted.package.checksum) {
                partial.discard();
            }
        }
    }
}

/// A package to download.
struct Missing<'a> {
    index: usize,
    wanted: &'a RemotePackage<'a>,
    was_bad: bool,
}

/// Adds sizes, which come from an index, without overflow.
fn sum(sizes_bytes: impl Iterator<Item = u64>) -> u64 {
    sizes_bytes.fold(0, u64::saturating_add)
}

/// Lists the packages of `wanted` that are not `found`, with their indexes.
fn missing<'a>(wanted: &'a [RemotePackage<'a>], found: &[Lookup]) -> Vec<Missing<'a>> {
    let looked_up = wanted.iter().zip(found).enumerate();
    let missing = looked_up.filter(|(_, (_, lookup))| !matches!(lookup, Lookup::Hit(_)));
    let missing = missing.map(|(index, (wanted, lookup))| Missing {
        index,
        wanted,
        was_bad: matches!(lookup, Lookup::Bad(_)),
    });
    missing.collect()
}

fn set(found: &mut [Lookup], index: usize, lookup: Lookup) {
    if let Some(place) = found.get_mut(index) {
        *place = lookup;
    }
}

/// Threads that share the work of one request.
struct Pool<'a> {
    fetcher: &'a Fetcher,
    progress: &'a dyn Progress,
    stop: [&'a Cancel; 2],
}

impl Pool<'_> {
    /// Begins a task of `total_bytes`.
    fn start(&self, label: &str, total_bytes: u64) -> Task<'_> {
        Task::start(self.progress, label, Unit::Bytes, Some(total_bytes))
    }

    /// Calls `work` for every item, on this thread and on as many others as the fetcher has workers. The first error sets a flag among
    /// those that `work` gets, and is returned.
    fn run<T: Sync, R: Send>(
        &self,
        items: &[T],
        work: impl Fn(&T, &[&Cancel]) -> Result<R, CacheError> + Sync,
    ) -> Result<Vec<R>, CacheError> {
        let failed = Cancel::default();
        let [cancel, other] = self.stop;
        let stop = [cancel, other, &failed];
        // A failure because of `failed` comes after the error that set it.
        let first = Mutex::new(None);
        let done = parallel::try_map(self.fetcher.workers(), items, |item| {
            let wanted = stop.iter().try_for_each(|flag| flag.check());
            let result = wanted.map_err(CacheError::from).and_then(|()| work(item, &stop));
            result.map_err(|error| {
                lock(&first).get_or_insert(error);
                failed.cancel();
            })
        });
        done.map_err(|()| into_inner(first).unwrap_or(Cancelled.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::cache::tests::package;
    use crate::fetch::testing::{Server, fetcher, fetcher_with};

    #[test]
    fn what_is_awaited_comes_first() {
        let (server, directory, fetcher) = (
            Server::start(),
            tempfile::tempdir().unwrap(),
            fetcher_with(Cancel::default(), |options| options.workers = 1),
        );
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
            .map(|(package, url)| RemotePackage {
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
            cache.obtain_in_order(&wanted, &first, &fetcher, Work::quiet(&Cancel::default()))
        };
        let look = || seen.lock().unwrap().push(there());
        order(2, &look).unwrap();
        assert_eq!(std::mem::take(&mut *seen.lock().unwrap()), [[true, true, false]]);
        // No awaited package is missing: once with another to fetch, once with none.
        order(2, &look).unwrap();
        fs::remove_file(cache.path_of(&packages[2].0).unwrap()).unwrap();
        order(2, &look).unwrap();
        assert_eq!(*seen.lock().unwrap(), [[true, true, true], [true, true, false]]);
        // The waiting caller has failed: the other packages are not wanted any more.
        fs::remove_file(cache.path_of(&packages[0].0).unwrap()).unwrap();
        fs::remove_file(cache.path_of(&packages[2].0).unwrap()).unwrap();
        let ended = order(2, &|| stop.cancel());
        assert!(matches!(ended, Err(CacheError::Cancelled(_))), "{ended:?}");
        assert_eq!(there(), [true, true, false]);
    }

    #[test]
    fn packages_that_cannot_be_had_never_arrive() {
        let (server, directory, fetcher) = (Server::start(), tempfile::tempdir().unwrap(), fetcher());
        let cache = PackageCache::open(directory.path(), "debian-debian13-x86_64").unwrap();
        let (there, absent) = (package("there", b"x"), package("absent", b"y"));
        let wanted = [(&there, server.page("/there", b"x")), (&absent, server.url("/absent"))];
        let wanted = wanted.map(|(package, url)| RemotePackage { package, url });
        let first = First {
            count: 2,
            arrived: &|| panic!("they have not arrived"),
            stop: &Cancel::default(),
        };
        let failed = cache.obtain_in_order(&wanted, &first, &fetcher, Work::quiet(&Cancel::default()));
        assert!(matches!(failed, Err(CacheError::Fetch { .. })), "{failed:?}");
    }
}
