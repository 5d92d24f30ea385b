//! From repositories to verified packages in the cache.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::cache::{CacheReport, PackageCache, Wanted};
use crate::configure::AptSource;
use crate::durable::{self, PathError};
use crate::fetch::{Reply, Transport as _};
use crate::package::{PackageRecord, Resolution, ResolvedPackage, Sha256};
use crate::provider::{self, Provider};
use crate::repo::Repository;
use crate::repo::deb::{self, LoadOptions, LoadedIndex};
use crate::resolve::lockfile::{LockedRepository, Lockfile};
use crate::resolve::{self, Request, dot};
use crate::template::model::Template;

use super::report::PackageCounts;
use super::{BuildError, Context, base};

/// A key file is a few kilobytes; a certificate with many signatures some hundred.
const KEY_LIMIT_BYTES: u64 = 1 << 20;

/// What the repositories offer.
pub(super) struct Metadata {
    repositories: Vec<Repository>,
    indexes: Vec<LoadedIndex>,
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

    /// What the image's own apt gets packages from: the provider's repositories, where they
    /// are on a server that others can reach too.
    pub fn apt_sources(&self, provider: &Provider) -> Vec<AptSource> {
        let Some(keyring) = &provider.image_keyring else {
            return Vec::new();
        };
        let is_own = |repository: &&Repository| provider.repositories.iter().any(|own| own.id == repository.id);
        let mut sources: Vec<AptSource> = Vec::new();
        for repository in self
            .repositories
            .iter()
            .filter(is_own)
            .filter(|repository| is_public(&repository.base_url))
        {
            let same = |source: &&mut AptSource| {
                source.uri == repository.base_url && source.components == repository.components
            };
            match sources.iter_mut().find(same) {
                Some(source) => source.suites.push(repository.suite.clone()),
                None => sources.push(AptSource {
                    uri: repository.base_url.clone(),
                    suites: vec![repository.suite.clone()],
                    components: repository.components.clone(),
                    signed_by: Some(keyring.clone()),
                }),
            }
        }
        sources
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

/// Whether `url` means the same on another machine: neither a file nor a server on this one.
fn is_public(url: &str) -> bool {
    let host = url.split("://").nth(1).unwrap_or_default();
    url.starts_with("http") && !["localhost", "127.", "[::1]"].iter().any(|own| host.starts_with(own))
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
    let fetch_key = |url: &str| match context.fetcher.get(url, KEY_LIMIT_BYTES, None) {
        Ok(Reply::Body { bytes, .. }) => Ok(bytes),
        Ok(Reply::NotModified) => Err("the server says that it is unchanged, but it was never fetched".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    let repositories = provider::repositories(&loaded.provider, &request.mirrors, &loaded.template, &fetch_key)?;
    let metadata_dir = context.workspace.metadata();
    std::fs::create_dir_all(&metadata_dir).map_err(PathError::on("create", &metadata_dir))?;
    let options = LoadOptions {
        arch: loaded.template.target.arch,
        metadata_dir,
        now: request.now,
        offline: request.offline,
        workers: request.workers,
    };
    let indexes = deb::load_all(
        &repositories,
        &options,
        &context.fetcher,
        context.progress,
        context.cancel,
    )?;
    Ok(Metadata { repositories, indexes })
}

/// Resolves base and image, and writes the dependency graph.
pub(super) fn select(context: &Context<'_>, metadata: Metadata) -> Result<Selection, BuildError> {
    let Metadata {
        repositories,
        mut indexes,
    } = metadata;
    let request = context.request;
    let template = &request.loaded.template;
    let own: BTreeSet<&str> = request
        .loaded
        .provider
        .repositories
        .iter()
        .map(|own| own.id.as_str())
        .collect();
    // The provider's records come first: the base is resolved from them alone, so that all templates share it.
    let (own, added): (Vec<_>, Vec<_>) = indexes
        .iter_mut()
        .partition(|index| own.contains(index.repository_id.as_str()));
    let mut records: Vec<PackageRecord> = Vec::new();
    records.extend(own.into_iter().flat_map(|index| std::mem::take(&mut index.records)));
    let own_count = records.len();
    records.extend(added.into_iter().flat_map(|index| std::mem::take(&mut index.records)));

    let mut wanted = Request {
        arch: template.target.arch,
        packages: request.loaded.provider.base_packages.clone(),
        include_essential: true,
    };
    let base = resolve::deb::resolve(&wanted, records.get(..own_count).unwrap_or(&records))?;
    wanted.packages = base.packages.iter().map(|package| package.name.clone()).collect();
    wanted.packages.extend(asked_for(template));
    let image = resolve::deb::resolve(&wanted, &records)?;

    let lockfile = Lockfile {
        provider: request.loaded.provider.id(),
        repositories: indexes.iter().map(locked_repository).collect(),
        requested: asked_for(template),
        packages: image.packages.clone(),
    };
    let newest = indexes.iter().map(|index| index.release.date).max().unwrap_or(0);
    Ok(Selection {
        base_key: base::key(&request.loaded.provider.id(), &base),
        base,
        image,
        repositories,
        digest: lockfile.digest(),
        lockfile,
        epoch_seconds: request
            .source_date_epoch
            .unwrap_or_else(|| u64::try_from(newest).unwrap_or(0)),
    })
}

/// What the template asks for by name.
fn asked_for(template: &Template) -> Vec<String> {
    template
        .system
        .packages
        .iter()
        .chain(&template.system.kernel.packages)
        .cloned()
        .collect()
}

fn locked_repository(index: &LoadedIndex) -> LockedRepository {
    LockedRepository {
        id: index.repository_id.clone(),
        suite: index.release.suite.clone(),
        date: deb::date::show(index.release.date),
        digest: index.release.sha256.to_string(),
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

/// Brings every package of the selection into the cache, verified.
pub(super) fn obtain(context: &Context<'_>, selection: &Selection) -> Result<Cached, BuildError> {
    let cache = PackageCache::open(&context.request.cache_dir, &context.request.loaded.provider.id())?;
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
