//! From a lockfile to what is to be installed: the only way there is, whether it was just resolved or handed in.

use std::collections::BTreeSet;

use crate::cache::{CacheError, Lookup, PackageCache, Wanted};
use crate::fetch::FetchError;
use crate::package::{Resolution, ResolvedPackage};
use crate::provider::PackageSystem;
use crate::repo::Repository;
use crate::resolve::lockfile::Lockfile;

use super::packages::Selection;
use super::{BuildError, Context, mirrors, packages, sources};

impl Selection {
    /// What `lockfile` says, from `repositories`. The resolutions have no dependencies.
    pub(super) fn of(
        context: &Context<'_>,
        repositories: Vec<Repository>,
        lockfile: Lockfile,
        warnings: Vec<String>,
    ) -> Result<Self, BuildError> {
        let request = context.request;
        let provider = &request.loaded.provider;
        let base = Resolution {
            packages: lockfile.base().ok_or(BuildError::LockWithoutBase)?,
            ..Resolution::default()
        };
        Ok(Self {
            base,
            image: Resolution {
                packages: lockfile.packages.clone(),
                ..Resolution::default()
            },
            named: lockfile.requested.clone(),
            apt_sources: match provider.package_system {
                PackageSystem::Deb => sources::of_image(provider, &repositories, &lockfile.repositories)?,
                PackageSystem::Rpm => Vec::new(),
            },
            dnf_repositories: match provider.package_system {
                PackageSystem::Deb => Vec::new(),
                PackageSystem::Rpm => sources::of_rpm_image(provider, &repositories)?,
            },
            warnings,
            repositories,
            lockfile,
        })
    }
}

/// The selection of a lockfile that was handed in. No index is read.
pub(super) fn select(context: &Context<'_>, lockfile: &Lockfile) -> Result<Selection, BuildError> {
    let provider = context.request.loaded.provider.id();
    if lockfile.provider != provider {
        return Err(BuildError::ForeignLock {
            wanted: provider,
            found: lockfile.provider.clone(),
        });
    }
    let mut repositories = packages::repositories(context)?;
    let known: BTreeSet<&str> = repositories.iter().map(|repository| repository.id.as_str()).collect();
    if let Some(unknown) = lockfile
        .repositories
        .iter()
        .find(|locked| !known.contains(locked.id.as_str()))
    {
        return Err(BuildError::UnknownRepository(unknown.id.clone()));
    }
    // Offline, what is missing is told when it is looked for.
    if !context.request.offline {
        let cache = context.workspace.package_cache();
        mirrors::locate_missing(&mut repositories, &lockfile.packages, cache, &context.fetcher)?;
    }
    Selection::of(
        context,
        repositories,
        lockfile.clone(),
        asked_otherwise(context, lockfile),
    )
}

/// What the template asks for and the lockfile was not made for, in words.
fn asked_otherwise(context: &Context<'_>, lockfile: &Lockfile) -> Vec<String> {
    let system = &context.request.loaded.template.system;
    let plain = |asked: &String| asked.split('=').next().unwrap_or(asked).to_owned();
    let locked: BTreeSet<String> = lockfile.requested.iter().map(plain).collect();
    let asked = system.packages.iter().chain(&system.kernel.packages).map(plain);
    let missing: BTreeSet<String> = asked.filter(|name| !locked.contains(name)).collect();
    if missing.is_empty() {
        return Vec::new();
    }
    let missing: Vec<String> = missing.into_iter().collect();
    vec![format!(
        "the template asks for packages that the lockfile was made without: {}; write it anew with --update-lock",
        missing.join(", ")
    )]
}

/// After a package of a lockfile was not found at its mirror: fetches the others, and lists all that are gone.
pub(super) fn list_gone(context: &Context<'_>, cache: &PackageCache, wanted: &[Wanted<'_>]) -> BuildError {
    let mut gone: Vec<String> = Vec::new();
    for item in wanted {
        let known = cache.lookup(item.package);
        if matches!(known, Ok(Lookup::Hit(_))) {
            continue;
        }
        match cache.obtain(item.package, &item.url, &context.fetcher, context.progress) {
            Ok(_) => {}
            Err(CacheError::Fetch {
                source: FetchError::NotFound { .. },
                ..
            }) => gone.push(describe(item.package)),
            Err(error) => return error.into(),
        }
    }
    context
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
