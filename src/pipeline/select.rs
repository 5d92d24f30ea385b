//! Which packages: resolved from what the repositories offer, or remembered from an earlier resolution of the same.
//!
//! Every build verifies the signatures of all repositories. The signed texts list the digests of the indexes, so the
//! contents of the indexes follow from what was verified: for a remembered resolution no index is read at all.

mod files;
mod install_steps;
mod kernel;
mod key;
mod keys;
pub mod locked;
mod metadata;
pub mod mirrors;
mod recommending;
mod repositories;
pub mod selection;
mod yielded;

use crate::date;
use crate::package::Sha256;
use crate::repo::{ReleaseInfo, Repository};
use crate::resolve::lockfile::{LockedRepository, Lockfile, Newest};
use crate::resolve::memo::{Answer, Memo};
use crate::resolve::{ResolveError, Wanted, recommended};
use crate::system::{Catalogue, Source, SystemError};

use crate::pipeline::context::Context;
use crate::pipeline::error::BuildError;
use crate::pipeline::shared::Metadata;
use crate::template::Loaded;
use key::Asked;
use selection::Selection;
use yielded::Yielded;

/// Verifies the repositories, and resolves base and image. Called once in a build.
pub fn select(context: &Context<'_>) -> Result<Selection, BuildError> {
    let selection = known_or_resolved(context);
    context.shared.done();
    selection
}

fn known_or_resolved(context: &Context<'_>) -> Result<Selection, BuildError> {
    let metadata = Metadata::of(context)?;
    let memo = Memo::new(context.workspace.resolutions());
    let asked = Asked::of(context);
    let mut repositories = metadata.repositories.clone();
    let key = key::key(&asked, &repositories, &metadata.releases());
    let mut remembered = key;
    let known = memo.get(key).filter(|_| !context.request.from_scratch);
    let answer = match known {
        Some(answer) => {
            context.timeline.lap("Repository metadata");
            tracing::debug!(%key, "the resolution is remembered");
            answer
        }
        None => {
            let catalogue = metadata.catalogue(context)?;
            catalogue.place(&mut repositories);
            context.timeline.lap("Repository metadata");
            let loader = context.loader();
            let source = Source {
                loader: &loader,
                repositories: &repositories,
            };
            let answer = resolve(&asked, source, &*catalogue);
            let answer = answer.map_err(|error| explain(error, &repositories, context.loaded()))?;
            // What was loaded in the end may be newer than what was verified at first.
            remembered = key::key(&asked, &repositories, &catalogue.releases());
            put(&memo, remembered, &answer);
            answer
        }
    };
    let selection = Selection::of(context, repositories, answer.lockfile, answer.warnings)?;
    Ok(Selection {
        base: answer.base,
        image: answer.image,
        named: answer.named,
        remembered: Some(remembered),
        ..selection
    })
}

/// Remembers an answer; if that fails, only time is lost.
fn put(memo: &Memo, key: Sha256, answer: &Answer) {
    if let Err(error) = memo.put(key, answer) {
        tracing::debug!(%error, "the resolution is not remembered");
    }
}

/// Remembers the dates of the newest packages with the resolution, so that the next build knows the keys of all layers
/// before it needs a package.
pub fn remember(context: &Context<'_>, selection: &Selection, newest: Newest) {
    let Some(key) = selection.remembered.filter(|_| selection.lockfile.newest.is_none()) else {
        return;
    };
    let memo = Memo::new(context.workspace.resolutions());
    if let Some(mut answer) = memo.get(key) {
        answer.lockfile.newest = Some(newest);
        put(&memo, key, &answer);
    }
}

/// Makes a request for `packages` and for what is essential; `recommending` are those whose recommendations are wanted.
fn wanted<'a>(packages: &'a [String], recommending: &'a [String]) -> Wanted<'a> {
    Wanted {
        packages,
        recommending,
        include_essential: true,
    }
}

/// Resolves base and image from all records of `catalogue`.
fn resolve(asked: &Asked<'_>, source: Source<'_>, catalogue: &dyn Catalogue) -> Result<Answer, SystemError> {
    let mut all = catalogue.resolver(source, false, asked.removed);
    // The base is the same for all templates of the provider.
    let is_apart = catalogue.has_others() || !asked.removed.is_empty() || !asked.foreign.is_empty();
    let mut own = is_apart.then(|| catalogue.resolver(source, true, &[]));
    let base = own.as_mut().unwrap_or(&mut all).resolve(&wanted(asked.base, &[]))?;
    drop(own);
    let is_base = |name: &&String| base.packages.iter().any(|package| package.name == **name);
    if let Some(name) = asked.removed.iter().find(is_base) {
        return Err(ResolveError::OfBase { name: name.clone() }.into());
    }
    let mut packages: Vec<String> = base.packages.iter().map(|package| package.name.clone()).collect();
    let of_base = packages.len();
    let (kernel_packages, warning) = kernel::packages(asked.kernel_version, asked.kernel_packages, |name| {
        catalogue.versions(name)
    });
    let mut named = catalogue.expand(source, asked.packages)?;
    // Of a group, all others are there.
    named.packages.retain(|name| !asked.removed.contains(name));
    let of_image = named.packages.iter().chain(&kernel_packages);
    let (recommending, others) = recommending::divide(asked, &packages, of_image);
    packages.extend(recommending.iter().cloned().chain(others));
    let mut yielded = Yielded::default();
    let image = yielded.resolve(&mut *all, &mut packages, &recommending, asked)?;
    // The packages that the images of a provider share, if the template asked for nothing else.
    packages.truncate(of_base);
    let mut common = catalogue.expand(source, asked.common)?.packages;
    common.retain(|name| !asked.removed.contains(name));
    for packages in [&mut common, &mut named.packages] {
        yielded.remove_from(packages);
    }
    let mut requested: Vec<String> = asked.packages.to_vec();
    yielded.remove_from(&mut requested);
    requested.extend(kernel_packages.iter().cloned());
    packages.extend(kernel_packages.into_iter().chain(common));
    let common = all.resolve(&wanted(&packages, &[]))?;
    Ok(Answer {
        lockfile: Lockfile {
            provider: asked.provider.clone(),
            repositories: catalogue.releases().iter().map(locked_repository).collect(),
            requested,
            packages: image.packages.clone(),
            steps: install_steps::steps(&base, &image, &common),
            recommended: recommended(&base, &image),
            newest: None,
        },
        base,
        image,
        named: named.packages,
        warnings: warning
            .into_iter()
            .chain(absent(&named.absent))
            .chain(yielded.warnings)
            .collect(),
    })
}

/// Adds to an error what asks for the packages, and the fields that limit repositories: missing packages may exist but
/// be excluded.
fn explain(error: SystemError, repositories: &[Repository], loaded: &Loaded) -> BuildError {
    let SystemError::Resolve(error) = error else {
        return error.into();
    };
    let describe = |repository: &Repository| {
        let filter = repository.filter.describe()?;
        Some(format!(
            "packages of repository {} are limited by {filter}",
            repository.id
        ))
    };
    let asker = |name: &str| Some(format!("{name} is asked for in {}", loaded.asked_by(name)?));
    let asked_for: Vec<String> = error.asked_for().into_iter().map(str::to_owned).collect();
    let text = error.to_string();
    let is_told = |name: &&String| {
        let is_end = |c: char| !c.is_ascii_alphanumeric() && !matches!(c, '+' | '-' | '.');
        text.split(is_end).any(|word| word == **name)
    };
    let removed = loaded.template.system.removed_packages.iter().filter(is_told);
    let left_out = removed.filter_map(|name| Some(format!("{name} is left out in {}", loaded.left_out_by(name)?)));
    BuildError::Resolve {
        filters: repositories.iter().filter_map(describe).collect(),
        askers: asked_for
            .iter()
            .filter_map(|name| asker(name))
            .chain(left_out)
            .collect(),
        inherited: asked_for.into_iter().filter(|name| loaded.is_inherited(name)).collect(),
        error: Box::new(error),
    }
}

/// Describes the packages of groups that no repository has; `None` if every repository has them all.
fn absent(absent: &[(String, String)]) -> Option<String> {
    let listed: Vec<_> = absent.iter().map(|(name, id)| format!("{name} (of @{id})")).collect();
    (!listed.is_empty()).then(|| {
        format!(
            "packages of groups that no repository has are left out: {}",
            listed.join(", ")
        )
    })
}

fn locked_repository((id, release): &(String, ReleaseInfo)) -> LockedRepository {
    LockedRepository {
        id: id.clone(),
        suite: release.suite.clone(),
        codename: release.codename.clone(),
        date: date::show(release.date),
        digest: release.sha256.to_string(),
    }
}
