//! Which packages: resolved from what the repositories offer, or remembered from when the same was resolved before.
//!
//! The signatures of all repositories are verified in every build. What their indexes say is a function of what was
//! verified, because the signed text lists their digests: so for a resolution that is remembered no index is read at all.

use serde::Serialize;

use crate::package::{Arch, PackageFilter, Sha256};
use crate::repo::deb::date;
use crate::repo::{ReleaseInfo, Repository};
use crate::resolve::lockfile::{LockedRepository, Lockfile};
use crate::resolve::memo::{Answer, Memo};
use crate::resolve::{self, Wanted};

use super::catalogue::Catalogue;
use super::metadata::Metadata;
use super::packages::Selection;
use super::{BuildError, Context, groups, kernel};

/// Counts up when [`resolve`] makes another answer of the same resolutions.
const VERSION: u32 = 1;

/// Verifies the repositories, and resolves base and image. Called once in a build.
pub(super) fn select(context: &Context<'_>) -> Result<Selection, BuildError> {
    let selection = known_or_resolved(context);
    context.shared.done();
    selection
}

fn known_or_resolved(context: &Context<'_>) -> Result<Selection, BuildError> {
    let metadata = Metadata::of(context)?;
    let memo = Memo::new(context.workspace.resolutions());
    let asked = Asked::of(context);
    let mut repositories = metadata.repositories().to_vec();
    let key = key(&asked, &repositories, &metadata.releases());
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
            let answer = resolve(context, &asked, &repositories, &catalogue)
                .map_err(|error| name_filters(error, &repositories))?;
            // What was loaded in the end may be newer than what was verified at first.
            let key = self::key(&asked, &repositories, &catalogue.releases());
            if let Err(error) = memo.put(key, &answer) {
                tracing::debug!(%error, "the resolution is not remembered");
            }
            answer
        }
    };
    let selection = Selection::of(context, repositories, answer.lockfile, answer.warnings)?;
    Ok(Selection {
        base: answer.base,
        image: answer.image,
        named: answer.named,
        ..selection
    })
}

/// All that a resolution depends on, besides what the repositories offer.
#[derive(Debug, Clone, Serialize)]
struct Asked<'a> {
    provider: String,
    arch: Arch,
    /// What the base starts from.
    base: &'a [String],
    /// What the provider's images have in common.
    common: &'a [String],
    packages: &'a [String],
    kernel_version: Option<&'a str>,
    kernel_packages: &'a [String],
    /// Ids of the provider's own repositories: the base comes from them alone.
    own: Vec<&'a str>,
}

impl<'a> Asked<'a> {
    fn of(context: &'a Context<'_>) -> Self {
        let loaded = &context.request.loaded;
        let (template, provider) = (&loaded.template, &loaded.provider);
        Self {
            provider: provider.id(),
            arch: template.target.arch,
            base: &provider.base_packages,
            common: &loaded.default_packages,
            packages: &template.system.packages,
            kernel_version: template.system.kernel.version.as_deref(),
            kernel_packages: &template.system.kernel.packages,
            own: provider.repositories.iter().map(|own| own.id.as_str()).collect(),
        }
    }
}

/// A digest over all inputs of a resolution. Where a repository was read from is none of them: its digest says what it is.
fn key(asked: &Asked<'_>, repositories: &[Repository], releases: &[(String, ReleaseInfo)]) -> Sha256 {
    #[derive(Serialize)]
    struct Offer<'a> {
        id: &'a str,
        suite: &'a str,
        components: &'a [String],
        keys: Vec<Sha256>,
        signed: String,
        trusted: bool,
        priority: i32,
        allow_packages: &'a [String],
        exclude_packages: &'a [String],
    }
    #[derive(Serialize)]
    struct Root<'a> {
        id: &'a str,
        date: i64,
        suite: &'a str,
        codename: &'a str,
        sha256: Sha256,
    }
    // Taken apart without `..`, so that nothing new is forgotten here.
    let offer = |repository: &'_ Repository| {
        let Repository {
            id,
            base_url: _,
            mirror_list: _,
            suite,
            components,
            keys,
            signed,
            trusted,
            priority,
            filter: PackageFilter { allow, exclude },
        } = repository;
        serde_json::json!(Offer {
            id,
            suite,
            components,
            keys: keys.iter().map(Sha256::of).collect(),
            signed: format!("{signed:?}"),
            trusted: *trusted,
            priority: *priority,
            allow_packages: allow,
            exclude_packages: exclude,
        })
    };
    let root = |(id, release): &(String, ReleaseInfo)| {
        let ReleaseInfo {
            date,
            suite,
            codename,
            sha256,
            signer: _,
        } = release;
        serde_json::json!(Root {
            id,
            date: *date,
            suite,
            codename,
            sha256: *sha256,
        })
    };
    let inputs = serde_json::json!({
        "program": env!("CARGO_PKG_VERSION"),
        "version": (VERSION, resolve::VERSION),
        "asked": asked,
        "repositories": repositories.iter().map(offer).collect::<Vec<_>>(),
        "releases": releases.iter().map(root).collect::<Vec<_>>(),
    });
    Sha256::of(inputs.to_string())
}

/// A request for these and for what is essential.
fn wanted(packages: &[String]) -> Wanted<'_> {
    Wanted {
        packages,
        include_essential: true,
    }
}

/// Resolves base and image from all records of `catalogue`.
fn resolve(
    context: &Context<'_>,
    asked: &Asked<'_>,
    repositories: &[Repository],
    catalogue: &Catalogue,
) -> Result<Answer, BuildError> {
    let source = (catalogue, repositories);
    let mut all = catalogue.resolver(asked.arch, false);
    let mut own = catalogue.has_others().then(|| catalogue.resolver(asked.arch, true));
    let base = own
        .as_mut()
        .unwrap_or(&mut all)
        .resolve(context, source, &wanted(asked.base))?;
    drop(own);
    let mut packages: Vec<String> = base.packages.iter().map(|package| package.name.clone()).collect();
    let of_base = packages.len();
    let (kernel_packages, warning) = kernel::packages(asked.kernel_version, asked.kernel_packages, |name| {
        catalogue.versions(name)
    });
    let requested: Vec<String> = asked.packages.iter().chain(&kernel_packages).cloned().collect();
    let named = catalogue.expand(context, repositories, asked.packages)?;
    packages.extend(named.packages.iter().chain(&kernel_packages).cloned());
    let image = all.resolve(context, source, &wanted(&packages))?;
    // What the images of a provider have in common, if nothing else were asked for.
    packages.truncate(of_base);
    packages.extend(kernel_packages);
    packages.extend(catalogue.expand(context, repositories, asked.common)?.packages);
    let common = all.resolve(context, source, &wanted(&packages))?;
    Ok(Answer {
        lockfile: Lockfile {
            provider: asked.provider.clone(),
            repositories: catalogue.releases().iter().map(locked_repository).collect(),
            requested,
            packages: image.packages.clone(),
            steps: groups::steps(&base, &image, &common),
        },
        base,
        image,
        named: named.packages,
        warnings: warning.into_iter().chain(absent(&named.absent)).collect(),
    })
}

/// What is missing may be there, but not to be taken: then the error names the fields that say so.
fn name_filters(error: BuildError, repositories: &[Repository]) -> BuildError {
    let describe = |repository: &Repository| {
        let filter = repository.filter.describe()?;
        Some(format!(
            "packages of repository {} are limited by {filter}",
            repository.id
        ))
    };
    let filters: Vec<_> = repositories.iter().filter_map(describe).collect();
    match error {
        BuildError::Resolve(error) if !filters.is_empty() => BuildError::ResolveFiltered { error, filters },
        error => error,
    }
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

fn locked_repository((id, release): &(String, ReleaseInfo)) -> LockedRepository {
    LockedRepository {
        id: id.clone(),
        suite: release.suite.clone(),
        codename: release.codename.clone(),
        date: date::show(release.date),
        digest: release.sha256.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::repo::{MirrorList, Signed};

    fn repository() -> Repository {
        Repository {
            id: "main".into(),
            base_url: "http://a.example/debian".into(),
            mirror_list: None,
            suite: "trixie".into(),
            components: vec!["main".into()],
            keys: vec![b"key".to_vec()],
            signed: Signed::Metadata,
            trusted: false,
            priority: 500,
            filter: PackageFilter::default(),
        }
    }

    fn release() -> ReleaseInfo {
        ReleaseInfo {
            date: 1,
            suite: "stable".into(),
            codename: "trixie".into(),
            sha256: Sha256::of("one"),
            signer: None,
        }
    }

    fn key_of<'a>(
        change: impl FnOnce(&mut Asked<'a>, &mut Vec<Repository>, &mut Vec<(String, ReleaseInfo)>),
    ) -> Sha256 {
        let mut asked = Asked {
            provider: "debian-debian13-x86_64".into(),
            arch: Arch::X86_64,
            base: &[],
            common: &[],
            packages: &[],
            kernel_version: None,
            kernel_packages: &[],
            own: vec!["main"],
        };
        let mut repositories = vec![repository()];
        let mut releases = vec![("main".to_owned(), release())];
        change(&mut asked, &mut repositories, &mut releases);
        key(&asked, &repositories, &releases)
    }

    #[test]
    fn every_input_changes_the_key() {
        let name = ["bash".to_owned()];
        let keys = [
            key_of(|_, _, _| {}),
            key_of(|asked, _, _| asked.provider = "debian-debian12-x86_64".into()),
            key_of(|asked, _, _| asked.arch = Arch::Aarch64),
            key_of(|asked, _, _| asked.base = &name),
            key_of(|asked, _, _| asked.common = &name),
            key_of(|asked, _, _| asked.packages = &name),
            key_of(|asked, _, _| asked.kernel_version = Some("6.12")),
            key_of(|asked, _, _| asked.kernel_packages = &name),
            key_of(|asked, _, _| asked.own = vec![]),
            key_of(|_, repositories, _| repositories[0].id = "other".into()),
            key_of(|_, repositories, _| repositories[0].suite = "forky".into()),
            key_of(|_, repositories, _| repositories[0].components.push("contrib".into())),
            key_of(|_, repositories, _| repositories[0].keys[0] = b"another".to_vec()),
            key_of(|_, repositories, _| repositories[0].keys.push(b"another".to_vec())),
            key_of(|_, repositories, _| repositories[0].signed = Signed::Packages),
            key_of(|_, repositories, _| repositories[0].signed = Signed::Both),
            key_of(|_, repositories, _| repositories[0].trusted = true),
            key_of(|_, repositories, _| repositories[0].priority = 501),
            key_of(|_, repositories, _| repositories[0].filter.allow.push("bash".into())),
            key_of(|_, repositories, _| repositories[0].filter.exclude.push("bash".into())),
            key_of(|_, repositories, _| repositories.push(repository())),
            key_of(|_, _, releases| releases[0].0 = "other".into()),
            key_of(|_, _, releases| releases[0].1.date = 2),
            key_of(|_, _, releases| releases[0].1.suite = "oldstable".into()),
            key_of(|_, _, releases| releases[0].1.codename = "bookworm".into()),
            key_of(|_, _, releases| releases[0].1.sha256 = Sha256::of("two")),
            key_of(|_, _, releases| releases.push(("other".into(), release()))),
        ];
        let distinct: BTreeSet<_> = keys.iter().map(Sha256::to_string).collect();
        assert_eq!(distinct.len(), keys.len());
    }

    #[test]
    fn where_a_repository_was_read_from_does_not() {
        let same = [
            key_of(|_, repositories, _| repositories[0].base_url = "http://b.example/debian".into()),
            key_of(|_, repositories, _| repositories[0].mirror_list = Some(MirrorList::Plain("http://l".into()))),
            key_of(|_, _, releases| releases[0].1.signer = Some("F00".into())),
        ];
        assert_eq!(same, [key_of(|_, _, _| {}); 3]);
    }
}
