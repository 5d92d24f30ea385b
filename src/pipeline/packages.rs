//! From a selection to verified packages in the cache.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Instant;

use crate::cache::{CacheError, CacheReport, First, Lookup, PackageCache, RemotePackage, Signers};
use crate::cancel::{Cancel, Cancelled};
use crate::fetch::FetchError;
use crate::package::{Checksum, ResolvedPackage};
use crate::parallel;
use crate::pipeline::context::Context;
use crate::pipeline::error::BuildError;
use crate::pipeline::report::PackageCounts;
use crate::pipeline::select::selection::Selection;
use crate::repo::Repository;
use crate::secrets::Contents;
use crate::sync::{Mutex, lock};

/// Packages in the cache.
#[derive(Debug, Clone, Default)]
pub struct Cached {
    counts: PackageCounts,
    /// Where each package lies, by its digest.
    paths: BTreeMap<Checksum, PathBuf>,
}

impl Cached {
    /// Gives the packages of the base, which are in the cache.
    fn base(selection: &Selection, cache: &PackageCache) -> Result<Self, BuildError> {
        let packages = selection.base.packages.iter();
        let paths = packages.map(|package| Ok((package.checksum, cache.path_of(package)?)));
        Ok(Self {
            paths: paths.collect::<Result<_, CacheError>>()?,
            counts: PackageCounts::default(),
        })
    }

    /// Adds `wanted`, which lie where `report` says.
    fn add(&mut self, wanted: &[RemotePackage<'_>], report: &CacheReport) {
        let packages = wanted.iter().zip(&report.packages);
        self.paths
            .extend(packages.map(|(wanted, cached)| (wanted.package.checksum, cached.path.clone())));
        self.counts.reused += report.reused;
        self.counts.fetched += report.fetched;
        self.counts.refetched += report.refetched;
        self.counts.fetched_bytes += report.fetched_bytes;
    }

    /// Gives the file of each package, by the package's digest.
    pub fn paths(&self) -> &BTreeMap<Checksum, PathBuf> {
        &self.paths
    }

    /// Gives the file of `package`.
    ///
    /// # Errors
    /// [`BuildError::NotCached`] if it is none of these packages.
    pub fn path(&self, package: &ResolvedPackage) -> Result<&Path, BuildError> {
        let path = self.paths.get(&package.checksum);
        path.map(PathBuf::as_path)
            .ok_or_else(|| BuildError::NotCached(package.file_name()))
    }

    /// Gives `packages` with all that their installation needs to know from their files. As many threads read the files
    /// as the build may have.
    ///
    /// # Errors
    /// If a file is damaged, or is none of these packages.
    pub fn complete(
        &self,
        context: &Context<'_>,
        packages: &[ResolvedPackage],
    ) -> Result<Vec<ResolvedPackage>, BuildError> {
        let completed = parallel::map(context.work.threads, packages, |package| {
            context.work.cancel.check()?;
            Ok(context.system.complete(package, self.path(package)?)?)
        });
        completed.into_iter().collect()
    }

    /// Reads what `packages` bring and what their scripts say, where the image has no lists of that.
    ///
    /// # Errors
    /// If a file is damaged, or is none of these packages.
    pub fn contents(&self, context: &Context<'_>, packages: &[ResolvedPackage]) -> Result<Vec<Contents>, BuildError> {
        let read = parallel::map(context.work.threads, packages, |package| {
            Ok(context.system.contents(self.path(package)?)?)
        });
        read.into_iter().filter_map(Result::transpose).collect()
    }
}

/// Gives the signers that packages must have, by repository.
fn signers(context: &Context<'_>, repositories: &[Repository]) -> Result<Signers, BuildError> {
    let mut signers = Signers::new(context.request.selecting.now);
    for repository in repositories {
        if repository.signed.packages() && !repository.trusted {
            signers.require(&repository.id, &repository.keys)?;
        }
    }
    Ok(signers)
}

/// The packages of a selection, which come into the cache when something needs them.
pub struct Packages<'a> {
    context: &'a Context<'a>,
    selection: &'a Selection,
    cache: PackageCache,
    /// Those that were needed so far.
    cached: Mutex<Cached>,
}

impl<'a> Packages<'a> {
    /// Opens the cache. Nothing is looked up or fetched yet.
    ///
    /// # Errors
    /// If the cache or a repository's keys cannot be used.
    pub fn new(context: &'a Context<'a>, selection: &'a Selection) -> Result<Self, BuildError> {
        let selecting = &context.request.selecting;
        let cache = PackageCache::open(&selecting.cache_dir, &selecting.loaded.provider.id())?;
        Ok(Self {
            context,
            selection,
            cache: cache.with_signers(signers(context, &selection.repositories)?),
            cached: Mutex::default(),
        })
    }

    /// Brings those of `packages` that nothing has needed before into the cache, verified. Gives all that were needed.
    ///
    /// # Errors
    /// The failure of one of the downloads.
    pub fn obtain(&self, packages: &[ResolvedPackage]) -> Result<Cached, BuildError> {
        let mut cached = lock(&self.cached);
        let wanted: Vec<_> = self.wanted(
            packages
                .iter()
                .filter(|package| !cached.paths.contains_key(&package.checksum)),
        );
        if !wanted.is_empty() {
            let first = First::none(self.context.work.cancel);
            let report = fetch(self.context, &self.cache, &wanted, &first)?;
            cached.add(&wanted, &report);
        }
        Ok(cached.clone())
    }

    /// Begins to bring every package of the selection into the cache, verified, those of the base first.
    pub fn start<'scope>(&'a self, scope: &'scope Scope<'scope, 'a>) -> Arriving<'scope, 'a>
    where
        'a: 'scope,
    {
        let wanted: Arc<[_]> = self.wanted(self.selection.all()).into();
        let (arrived, base_arrived) = mpsc::channel();
        let stop = Cancel::default();
        let downloads = scope.spawn({
            let (wanted, stop) = (Arc::clone(&wanted), stop.clone());
            move || {
                let first = First {
                    count: self.selection.base.packages.len(),
                    arrived: &|| {
                        // If the build has failed meanwhile, no receiver is left.
                        let _ = arrived.send(());
                    },
                    stop: &stop,
                };
                fetch(self.context, &self.cache, &wanted, &first)
            }
        });
        Arriving {
            packages: self,
            wanted,
            base_arrived,
            stop,
            downloads: Some(downloads),
        }
    }

    /// Counts the packages by what happened to them.
    pub fn counts(&self) -> PackageCounts {
        let all: BTreeSet<Checksum> = self.selection.all().map(|package| package.checksum).collect();
        let cached = lock(&self.cached);
        PackageCounts {
            total: all.len(),
            unneeded: all.len().saturating_sub(cached.paths.len()),
            ..cached.counts.clone()
        }
    }

    /// Gives `packages` with their URLs, each once.
    fn wanted(&self, packages: impl Iterator<Item = &'a ResolvedPackage>) -> Vec<RemotePackage<'a>> {
        let mut seen = BTreeSet::new();
        let once = packages.filter(|package| seen.insert(package.checksum));
        once.map(|package| RemotePackage {
            package,
            url: self.selection.url(package),
        })
        .collect()
    }
}

/// Packages on their way into the cache, those of the base first.
pub struct Arriving<'scope, 'a> {
    packages: &'a Packages<'a>,
    wanted: Arc<[RemotePackage<'a>]>,
    base_arrived: mpsc::Receiver<()>,
    /// Ends the downloads.
    stop: Cancel,
    downloads: Option<ScopedJoinHandle<'scope, Result<CacheReport, BuildError>>>,
}

impl Arriving<'_, '_> {
    /// Waits for the packages of the base and gives only those; the others continue to arrive.
    ///
    /// # Errors
    /// The failure of one of the downloads.
    pub fn base(&mut self) -> Result<Cached, BuildError> {
        match self.base_arrived.recv() {
            Ok(()) => Cached::base(self.packages.selection, &self.packages.cache),
            // The thread has ended without them.
            Err(_) => {
                self.report()?;
                Err(BuildError::NotCached("a package of the base".to_owned()))
            }
        }
    }

    /// Waits for all packages.
    ///
    /// # Errors
    /// The failure of one of the downloads.
    pub fn finish(mut self) -> Result<Cached, BuildError> {
        let downloads = self.downloads.as_ref();
        let is_late = downloads.is_some_and(|downloads| !downloads.is_finished());
        let report = self.report()?;
        if is_late && report.fetched_bytes > 0 {
            self.packages.context.timeline.lap("Other packages");
        }
        let mut cached = lock(&self.packages.cached);
        cached.add(&self.wanted, &report);
        Ok(cached.clone())
    }

    fn report(&mut self) -> Result<CacheReport, BuildError> {
        match self.downloads.take().map(ScopedJoinHandle::join) {
            Some(Ok(report)) => report,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            // The caller that took it has its error.
            None => Err(BuildError::Cancelled(Cancelled)),
        }
    }
}

impl Drop for Arriving<'_, '_> {
    /// Ends the downloads, if the build fails before they are done.
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn fetch(
    context: &Context<'_>,
    cache: &PackageCache,
    wanted: &[RemotePackage<'_>],
    first: &First<'_>,
) -> Result<CacheReport, BuildError> {
    let begun = Instant::now();
    match cache.obtain_in_order(wanted, first, &context.fetcher, context.work) {
        Ok(report) => {
            if report.fetched_bytes > 0 {
                context.timeline.beside("download", begun);
            }
            Ok(report)
        }
        Err(CacheError::Fetch {
            source: FetchError::NotFound { .. },
            ..
        }) if context.request.lock.is_some() => Err(list_gone(context, cache, wanted)),
        Err(error) => Err(error.into()),
    }
}

/// Fetches the other packages after one of a lockfile was missing at its mirror, and lists all that are gone.
fn list_gone(context: &Context<'_>, cache: &PackageCache, wanted: &[RemotePackage<'_>]) -> BuildError {
    let mut gone: Vec<String> = Vec::new();
    for item in wanted {
        let known = cache.lookup(item.package);
        if matches!(known, Ok(Lookup::Hit(_))) {
            continue;
        }
        match cache.obtain(item.package, &item.url, &context.fetcher, context.work.progress) {
            Ok(_) => {}
            Err(CacheError::Fetch {
                source: FetchError::NotFound { .. },
                ..
            }) => gone.push(describe(item.package)),
            Err(error) => return error.into(),
        }
    }
    context
        .work
        .progress
        .note(&format!("{} packages of the lockfile are gone", gone.len()));
    BuildError::Gone(gone)
}

fn describe(package: &ResolvedPackage) -> String {
    format!(
        "{} {} ({}, from {})",
        package.name, package.version, package.architecture, package.repository
    )
}
