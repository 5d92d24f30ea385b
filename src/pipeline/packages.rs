//! From repositories to verified packages in the cache.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::cache::{CacheReport, PackageCache, Signers, Wanted};
use crate::configure::{AptSource, DnfRepository};
use crate::durable::{self, PathError};
use crate::package::{Resolution, ResolvedPackage, Sha256};
use crate::provider;
use crate::repo::deb::date;
use crate::repo::{ReleaseInfo, Repository};
use crate::resolve::lockfile::{LockedRepository, Lockfile};
use crate::resolve::{Request, dot};

use super::catalogue::Catalogue;
use super::keys::Keys;
use super::report::PackageCounts;
use super::{BuildError, Context, base, kernel, sources};

/// What the repositories offer.
pub(super) struct Metadata {
    repositories: Vec<Repository>,
    catalogue: Catalogue,
}

/// What will be installed.
pub(super) struct Selection {
    /// The base: the same for all templates of the provider.
    pub base: Resolution,
    /// Identifies what the base is made from.
    pub base_key: Sha256,
    /// The whole image, the base included.
    pub image: Resolution,
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
    /// Digest of the lockfile.
    pub digest: Sha256,
    /// No time in the image is later; seconds since 1970.
    pub epoch_seconds: u64,
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

    /// Names of the packages that were asked for, rather than needed by others.
    pub fn requested_names(&self) -> Vec<String> {
        let requested = self
            .image
            .requested
            .iter()
            .filter_map(|index| self.image.packages.get(*index));
        requested.map(|package| package.name.clone()).collect()
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
}

impl Cached {
    /// Where `package` lies.
    pub fn path(&self, package: &ResolvedPackage) -> Option<&Path> {
        self.paths.get(&package.sha256).map(PathBuf::as_path)
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

/// Fetches and verifies the indexes of all repositories.
pub(super) fn load_metadata(context: &Context<'_>) -> Result<Metadata, BuildError> {
    let request = context.request;
    let loaded = &request.loaded;
    let keys = Keys {
        fetcher: &context.fetcher,
        directory: context.workspace.metadata().join("keys"),
        offline: request.offline,
    };
    let fetch_key = |url: &str| keys.get(url);
    let mut repositories = provider::repositories(&loaded.provider, &request.mirrors, &loaded.template, &fetch_key)?;
    let metadata_dir = context.workspace.metadata();
    std::fs::create_dir_all(&metadata_dir).map_err(PathError::on("create", &metadata_dir))?;
    let catalogue = Catalogue::load(context, &mut repositories)?;
    for note in catalogue.notes() {
        context.progress.note(&note);
    }
    Ok(Metadata {
        repositories,
        catalogue,
    })
}

/// Resolves base and image, and writes the dependency graph.
pub(super) fn select(context: &Context<'_>, metadata: Metadata) -> Result<Selection, BuildError> {
    let Metadata {
        repositories,
        mut catalogue,
    } = metadata;
    let request = context.request;
    let template = &request.loaded.template;
    let provider = &request.loaded.provider;
    let own: BTreeSet<&str> = provider.repositories.iter().map(|own| own.id.as_str()).collect();
    // The provider's records come first: the base is resolved from them alone, so that all templates share it.
    let own_count = catalogue.gather(&own);
    let resolve = |wanted: &Request, count| catalogue.resolve(context, &repositories, wanted, count);

    let mut wanted = Request {
        arch: template.target.arch,
        packages: provider.base_packages.clone(),
        include_essential: true,
    };
    let base = resolve(&wanted, own_count)?;
    wanted.packages = base.packages.iter().map(|package| package.name.clone()).collect();
    let (kernel_packages, warning) = kernel::packages(&template.system.kernel, |name| catalogue.versions(name));
    let asked: Vec<String> = template
        .system
        .packages
        .iter()
        .chain(&kernel_packages)
        .cloned()
        .collect();
    wanted.packages.extend(asked.iter().cloned());
    let image = resolve(&wanted, usize::MAX)?;

    let lockfile = Lockfile {
        provider: provider.id(),
        repositories: catalogue.releases().into_iter().map(locked_repository).collect(),
        requested: asked,
        packages: image.packages.clone(),
    };
    let newest = catalogue
        .releases()
        .iter()
        .map(|(_, release)| release.date)
        .max()
        .unwrap_or(0);
    Ok(Selection {
        base_key: base::key(&provider.id(), &base),
        base,
        image,
        apt_sources: match &catalogue {
            Catalogue::Deb { indexes, .. } => sources::of_image(provider, &repositories, indexes)?,
            Catalogue::Rpm { .. } => Vec::new(),
        },
        dnf_repositories: match &catalogue {
            Catalogue::Deb { .. } => Vec::new(),
            Catalogue::Rpm { .. } => sources::of_rpm_image(provider, &repositories)?,
        },
        warnings: warning.into_iter().collect(),
        repositories,
        digest: lockfile.digest(),
        lockfile,
        epoch_seconds: request
            .source_date_epoch
            .unwrap_or_else(|| u64::try_from(newest).unwrap_or(0)),
    })
}

fn locked_repository((id, release): (&str, &ReleaseInfo)) -> LockedRepository {
    LockedRepository {
        id: id.to_owned(),
        suite: release.suite.clone(),
        date: date::show(release.date),
        digest: release.sha256.to_string(),
    }
}

/// Writes the dependency graph into the package cache, and where the user wants it.
pub(super) fn write_graph(context: &Context<'_>, image: &Resolution) -> Result<(), BuildError> {
    durable::write_file(context.workspace.dependency_graph(), dot::dot(image, None))?;
    let Some(path) = &context.request.dot_file else {
        return Ok(());
    };
    let asked: Vec<&str> = context
        .request
        .loaded
        .template
        .system
        .packages
        .iter()
        .map(String::as_str)
        .collect();
    let roots = context.request.system_packages_only.then_some(asked.as_slice());
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

/// Brings every package of the selection into the cache, verified.
pub(super) fn obtain(context: &Context<'_>, selection: &Selection) -> Result<Cached, BuildError> {
    let cache = PackageCache::open(&context.request.cache_dir, &context.request.loaded.provider.id())?
        .with_signers(signers(context, &selection.repositories)?);
    let mut seen = BTreeSet::new();
    let all = selection.image.packages.iter().chain(&selection.base.packages);
    let wanted: Vec<_> = all
        .filter(|package| seen.insert(package.sha256))
        .map(|package| Wanted {
            package,
            url: selection.url(package),
        })
        .collect();
    let report = cache.obtain_all(
        &wanted,
        &context.fetcher,
        context.request.workers,
        context.progress,
        context.cancel,
    )?;
    let paths = wanted
        .iter()
        .zip(&report.packages)
        .map(|(wanted, cached)| (wanted.package.sha256, cached.path.clone()));
    Ok(Cached {
        paths: paths.collect(),
        report,
    })
}
