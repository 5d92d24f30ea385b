//! From repositories to verified packages in the cache.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::cache::{CacheError, CacheReport, PackageCache, Signers, Wanted};
use crate::configure::{AptSource, DnfRepository};
use crate::durable::{self, PathError};
use crate::fetch::FetchError;
use crate::package::{Resolution, ResolvedPackage, Sha256};
use crate::provider;
use crate::repo::deb::date;
use crate::repo::{ReleaseInfo, Repository};
use crate::resolve::lockfile::{LockedRepository, Lockfile, label};
use crate::resolve::{Request, dot};

use super::catalogue::Catalogue;
use super::keys::Keys;
use super::report::PackageCounts;
use super::{BuildError, Context, groups, kernel, locked};

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
    /// Digest of the lockfile.
    pub digest: Sha256,
    /// No time in the image is later; seconds since 1970.
    pub epoch_seconds: u64,
    /// What packages' scripts take for the current time, in seconds since 1970: the date of the provider's oldest
    /// repository. It stays the same for as long as possible, and so does what they write.
    pub package_epoch_seconds: u64,
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

/// Fetches and verifies the indexes of all repositories.
pub(super) fn load_metadata(context: &Context<'_>) -> Result<Metadata, BuildError> {
    let mut repositories = repositories(context)?;
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
    let of_base = wanted.packages.len();
    let expand = |asked: &[String]| catalogue.expand(context, &repositories, asked.to_vec());
    let named = expand(&template.system.packages)?;
    wanted
        .packages
        .extend(named.packages.iter().chain(&kernel_packages).cloned());
    let image = resolve(&wanted, usize::MAX)?;
    // What the images of a provider have in common, if nothing else were asked for.
    wanted.packages.truncate(of_base);
    wanted.packages.extend(kernel_packages);
    wanted
        .packages
        .extend(expand(&request.loaded.default_packages)?.packages);
    let common = resolve(&wanted, usize::MAX)?;

    let lockfile = Lockfile {
        provider: provider.id(),
        repositories: catalogue.releases().into_iter().map(locked_repository).collect(),
        requested: asked,
        packages: image.packages.clone(),
        steps: groups::steps(&base, &image, &common),
    };
    let warnings = warning.into_iter().chain(absent(&named.absent)).collect();
    let selection = Selection::of(context, repositories, lockfile, warnings)?;
    Ok(Selection {
        base,
        image,
        named: named.packages,
        ..selection
    })
}

/// That groups have packages which no repository has.
fn absent(absent: &[(String, String)]) -> Option<String> {
    let listed: Vec<_> = absent.iter().map(|(name, id)| format!("{name} (of @{id})")).collect();
    (!listed.is_empty()).then(|| {
        format!(
            "packages of groups that no repository has are left out: {}",
            listed.join(", ")
        )
    })
}

fn locked_repository((id, release): (&str, &ReleaseInfo)) -> LockedRepository {
    LockedRepository {
        id: id.to_owned(),
        suite: release.suite.clone(),
        codename: release.codename.clone(),
        date: date::show(release.date),
        digest: release.sha256.to_string(),
    }
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
    let obtained = cache.obtain_all(
        &wanted,
        &context.fetcher,
        context.request.workers,
        context.progress,
        context.cancel,
    );
    let report = match obtained {
        Err(CacheError::Fetch {
            source: FetchError::NotFound { .. },
            ..
        }) if context.request.lock.is_some() => return Err(locked::list_gone(context, &cache, &wanted)),
        obtained => obtained?,
    };
    let paths = wanted
        .iter()
        .zip(&report.packages)
        .map(|(wanted, cached)| (wanted.package.sha256, cached.path.clone()));
    Ok(Cached {
        paths: paths.collect(),
        report,
    })
}
