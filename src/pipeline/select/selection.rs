//! From a lockfile, just made or the request's own, to the packages to install: the only way between them.

use std::collections::{BTreeMap, BTreeSet};

use crate::configure::ImageSources;
use crate::durable::{self, PathError};
use crate::fetch;
use crate::package::{Checksum, Resolution, ResolvedPackage, Sha256};
use crate::pipeline::context::Context;
use crate::pipeline::error::BuildError;
use crate::repo::Repository;
use crate::resolve::dot;
use crate::resolve::lockfile::{Lockfile, Newest, label};

/// The packages to install, and all that belongs to them.
pub struct Selection {
    /// The base: the same for all templates of the provider.
    pub base: Resolution,
    /// The whole image, the base included.
    pub image: Resolution,
    /// The packages that the template names; groups are replaced by their packages.
    pub named: Vec<String>,
    /// Where packages come from.
    pub repositories: Vec<Repository>,
    /// Where the image's own package manager gets packages from.
    pub sources: Box<dyn ImageSources>,
    /// Warnings about what differs from the template's wishes.
    pub warnings: Vec<String>,
    /// The lockfile of `image`.
    pub lockfile: Lockfile,
    /// The key under which the resolution is remembered, if it is.
    pub remembered: Option<Sha256>,
}

impl Selection {
    /// Makes the selection that `lockfile` describes, from `repositories`. The resolutions have no dependencies.
    pub fn of(
        context: &Context<'_>,
        repositories: Vec<Repository>,
        lockfile: Lockfile,
        warnings: Vec<String>,
    ) -> Result<Self, BuildError> {
        let provider = &context.loaded().provider;
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
            sources: context
                .system
                .sources(provider, &repositories, &lockfile.repositories)?,
            warnings,
            repositories,
            lockfile,
            remembered: None,
        })
    }

    /// Gives the lockfile of `image`, with the dates of its newest packages.
    pub fn lockfile_with(&self, newest: Newest) -> Lockfile {
        Lockfile {
            newest: Some(newest),
            ..self.lockfile.clone()
        }
    }

    /// Lists the packages of the base, then those of the image; one that is in both comes twice.
    pub fn all(&self) -> impl Iterator<Item = &ResolvedPackage> {
        self.base.packages.iter().chain(&self.image.packages)
    }

    /// Lists the packages that the base lacks or has in another version, in installation order.
    pub fn beyond_base(&self) -> Vec<ResolvedPackage> {
        let base: BTreeSet<_> = self.base.packages.iter().map(|package| package.checksum).collect();
        self.image
            .packages
            .iter()
            .filter(|package| !base.contains(&package.checksum))
            .cloned()
            .collect()
    }

    /// Lists the packages beyond the base: those to install before the initrd is made, and the others. Both are sorted
    /// by name, so that an order that depends on both does not change the first.
    pub fn in_steps(&self) -> (Vec<ResolvedPackage>, Vec<ResolvedPackage>) {
        let system: BTreeSet<&str> = self.lockfile.steps.system.iter().map(String::as_str).collect();
        let mut packages = self.beyond_base();
        packages.sort_by_key(label);
        packages
            .into_iter()
            .partition(|package| system.contains(label(package).as_str()))
    }

    /// Lists the names of the packages that the template asked for, without those that others need.
    pub fn requested_names(&self) -> Vec<String> {
        let manual: BTreeSet<&str> = self.lockfile.steps.manual.iter().map(String::as_str).collect();
        let packages = self.image.packages.iter();
        packages
            .filter(|package| manual.contains(label(package).as_str()))
            .map(|package| package.name.clone())
            .collect()
    }

    /// Gives the base URL of each repository, by its id.
    pub fn base_urls(&self) -> BTreeMap<String, String> {
        let repositories = self.repositories.iter();
        repositories
            .map(|repository| (repository.id.clone(), repository.base_url.clone()))
            .collect()
    }

    /// Gives the URL of `package`, or of the file that the template names for it.
    pub fn url(&self, package: &ResolvedPackage) -> String {
        let repository = self
            .repositories
            .iter()
            .find(|repository| repository.id == package.repository);
        let files = repository.and_then(|repository| repository.files.as_deref());
        let mut files = files.unwrap_or_default().iter();
        if let Some(file) = files.find(|file| Checksum::from(file.sha256) == package.checksum)
            && let Some(url) = fetch::file_url(&file.path)
        {
            return url;
        }
        let base = repository.map_or("", |repository| repository.base_url.as_str());
        format!("{base}/{}", package.path)
    }

    /// Writes the dependency graph into the package cache, and where the user wants it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_graph(&self, context: &Context<'_>) -> Result<(), PathError> {
        let image = &self.image;
        durable::write_public_file(context.workspace.dependency_graph(), dot::dot(image, None))?;
        let Some(path) = &context.request.dot_file else {
            return Ok(());
        };
        let named: Vec<&str> = self.named.iter().map(String::as_str).collect();
        let roots = context.request.system_packages_only.then_some(named.as_slice());
        durable::write_public_file(path, dot::dot(image, roots))
    }
}
