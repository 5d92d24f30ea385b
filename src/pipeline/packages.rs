//! From repositories to verified packages in the cache.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Instant;

use crate::cache::{CacheError, CacheReport, First, PackageCache, Signers, Wanted};
use crate::cancel::Cancel;
use crate::configure::{AptSource, DnfRepository};
use crate::durable;
use crate::fetch::FetchError;
use crate::package::{Resolution, ResolvedPackage, Sha256};
use crate::provider;
use crate::repo::Repository;
use crate::resolve::dot;
use crate::resolve::lockfile::{Lockfile, label};

use super::dates::Dates;
use super::keys::Keys;
use super::report::PackageCounts;
use super::{BuildError, Context, locked};

/// What will be installed.
pub(super) struct Selection {
    /// The base: the same for all templates of the provider.
    pub base: Resolution,
    /// The whole image, the base included.
    pub image: Resolution,
    /// What the template names, with packages in the place of groups.
    pub named: Vec<String>,
    /// Where packages come from.
    pub repositories: Vec<Repository>,
    /// Where the image's own apt gets packages from.
    pub apt_sources: Vec<AptSource>,
    /// Where the image's own dnf gets packages from, besides the distribution's repositories.
    pub dnf_repositories: Vec<DnfRepository>,
    /// What is not as the template asks.
    pub warnings: Vec<String>,
    /// The lockfile of `image`.
    pub lockfile: Lockfile,
}

impl Selection {
    /// The packages that the base does not bring, or brings in another version, in installation order.
    pub fn beyond_base(&self) -> Vec<ResolvedPackage> {
        let base: BTreeSet<_> = self.base.packages.iter().map(|package| package.sha256).collect();
        self.image
            .packages
            .iter()
            .filter(|package| !base.contains(&package.sha256))
            .cloned()
            .collect()
    }

    /// Those of them that are installed before the initrd is made, and the others; each by name, so that an order that
    /// depends on both makes no difference to the first.
    pub fn in_steps(&self) -> (Vec<ResolvedPackage>, Vec<ResolvedPackage>) {
        let system: BTreeSet<&str> = self.lockfile.steps.system.iter().map(String::as_str).collect();
        let mut packages = self.beyond_base();
        packages.sort_by_key(label);
        packages
            .into_iter()
            .partition(|package| system.contains(label(package).as_str()))
    }

    /// Names of the packages that were asked for, rather than needed by others.
    pub fn requested_names(&self) -> Vec<String> {
        let manual: BTreeSet<&str> = self.lockfile.steps.manual.iter().map(String::as_str).collect();
        let packages = self.image.packages.iter();
        packages
            .filter(|package| manual.contains(label(package).as_str()))
            .map(|package| package.name.clone())
            .collect()
    }

    /// Base URL of each repository, by its id.
    pub fn base_urls(&self) -> BTreeMap<String, String> {
        let repositories = self.repositories.iter();
        repositories
            .map(|repository| (repository.id.clone(), repository.base_url.clone()))
            .collect()
    }

    fn url(&self, package: &ResolvedPackage) -> String {
        let repository = self
            .repositories
            .iter()
            .find(|repository| repository.id == package.repository);
        let base = repository.map_or("", |repository| repository.base_url.as_str());
        format!("{base}/{}", package.path)
    }
}

/// Packages in the cache.
pub(super) struct Cached {
    report: CacheReport,
    /// Where each package lies, by its digest.
    paths: BTreeMap<Sha256, PathBuf>,
    dates: Dates,
}

impl Cached {
    /// The packages of the base, which are in the cache.
    fn base(context: &Context<'_>, selection: &Selection, cache: &PackageCache) -> Result<Self, BuildError> {
        let packages = selection.base.packages.iter();
        let paths = packages.map(|package| Ok((package.sha256, cache.path_of(package)?)));
        let paths = paths.collect::<Result<_, CacheError>>()?;
        Ok(Self {
            dates: Dates::of(context.request, selection, &paths)?,
            paths,
            report: CacheReport::default(),
        })
    }

    /// All packages, as `report` says where they are.
    fn all(
        context: &Context<'_>,
        selection: &Selection,
        wanted: &[Wanted<'_>],
        report: CacheReport,
    ) -> Result<Self, BuildError> {
        let packages = wanted.iter().zip(&report.packages);
        let paths = packages.map(|(wanted, cached)| (wanted.package.sha256, cached.path.clone()));
        let paths = paths.collect();
        Ok(Self {
            dates: Dates::of(context.request, selection, &paths)?,
            paths,
            report,
        })
    }

    /// Where `package` lies.
    pub fn path(&self, package: &ResolvedPackage) -> Option<&Path> {
        self.paths.get(&package.sha256).map(PathBuf::as_path)
    }

    /// The dates of the packages.
    pub fn dates(&self) -> Dates {
        self.dates
    }

    pub fn counts(&self) -> PackageCounts {
        PackageCounts {
            total: self.report.packages.len(),
            reused: self.report.reused,
            fetched: self.report.fetched,
            refetched: self.report.refetched,
            fetched_bytes: self.report.fetched_bytes,
        }
    }
}

/// The repositories of the provider and of the template, with their keys.
pub(super) fn repositories(context: &Context<'_>) -> Result<Vec<Repository>, BuildError> {
    let request = context.request;
    let loaded = &request.loaded;
    let keys = Keys {
        fetcher: &context.fetcher,
        directory: context.workspace.metadata().join("keys"),
        offline: request.offline,
    };
    let fetch_key = |url: &str| keys.get(url);
    Ok(provider::repositories(
        &loaded.provider,
        &request.mirrors,
        &loaded.template,
        &fetch_key,
    )?)
}

/// Writes the dependency graph into the package cache, and where the user wants it.
pub(super) fn write_graph(context: &Context<'_>, selection: &Selection) -> Result<(), BuildError> {
    let image = &selection.image;
    durable::write_file(context.workspace.dependency_graph(), dot::dot(image, None))?;
    let Some(path) = &context.request.dot_file else {
        return Ok(());
    };
    let named: Vec<&str> = selection.named.iter().map(String::as_str).collect();
    let roots = context.request.system_packages_only.then_some(named.as_slice());
    durable::write_file(path, dot::dot(image, roots))?;
    Ok(())
}

/// Whose signature packages must have, by repository.
fn signers(context: &Context<'_>, repositories: &[Repository]) -> Result<Signers, BuildError> {
    let mut signers = Signers::new(context.request.now);
    for repository in repositories {
        if repository.signed.packages() && !repository.trusted {
            signers.require(&repository.id, &repository.keys)?;
        }
    }
    Ok(signers)
}

/// Brings every package of the selection into the cache, verified: those of the base first. As soon as they are there,
/// `meanwhile` gets them (and no others), and the rest comes while it works. If it fails, downloads end; if a download
/// fails, it is waited for: what it makes is good for the next build.
pub(super) fn obtain<T>(
    context: &Context<'_>,
    selection: &Selection,
    meanwhile: impl FnOnce(&Cached) -> Result<T, BuildError>,
) -> Result<(Cached, T), BuildError> {
    let cache = PackageCache::open(&context.request.cache_dir, &context.request.loaded.provider.id())?
        .with_signers(signers(context, &selection.repositories)?);
    let mut seen = BTreeSet::new();
    let all = selection.base.packages.iter().chain(&selection.image.packages);
    let wanted: Vec<_> = all
        .filter(|package| seen.insert(package.sha256))
        .map(|package| Wanted {
            package,
            url: selection.url(package),
        })
        .collect();
    let (arrived, base_arrived) = mpsc::channel();
    let failed = Cancel::default();
    std::thread::scope(|scope| {
        let (cache, wanted, failed) = (&cache, wanted.as_slice(), &failed);
        let downloads = scope.spawn(move || {
            let first = First {
                count: selection.base.packages.len(),
                arrived: &|| {
                    // Who waits for it outlives this thread.
                    let _ = arrived.send(());
                },
                stop: failed,
            };
            fetch(context, cache, wanted, &first)
        });
        let made = base_arrived.recv().ok().map(|()| {
            let made = Cached::base(context, selection, cache).and_then(|base| meanwhile(&base));
            if made.is_err() {
                failed.cancel();
            }
            made
        });
        let is_late = !downloads.is_finished();
        let report = downloads
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let made = made.transpose()?;
        let cached = Cached::all(context, selection, wanted, report?)?;
        if is_late && cached.report.fetched_bytes > 0 {
            context.timeline.lap("Other packages");
        }
        // Without them the report is an error.
        let made = made.ok_or_else(|| BuildError::NotCached("a package of the base".to_owned()))?;
        Ok((cached, made))
    })
}

fn fetch(
    context: &Context<'_>,
    cache: &PackageCache,
    wanted: &[Wanted<'_>],
    first: &First<'_>,
) -> Result<CacheReport, BuildError> {
    let (workers, cancel, begun) = (context.request.workers, context.cancel, Instant::now());
    match cache.obtain_in_order(wanted, first, &context.fetcher, workers, context.progress, cancel) {
        Ok(report) => {
            if report.fetched_bytes > 0 {
                context.timeline.beside("download", begun);
            }
            Ok(report)
        }
        Err(CacheError::Fetch {
            source: FetchError::NotFound { .. },
            ..
        }) if context.request.lock.is_some() => Err(locked::list_gone(context, cache, wanted)),
        Err(error) => Err(error.into()),
    }
}
