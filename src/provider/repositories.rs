//! The repositories of one build: the provider's from their mirrors, then the template's.

use super::keys::{FetchKey, of_template};
use super::mirror::{MirrorError, Mirrors, mirrored};
use super::{PackageSystem, Provider, ProviderRepository};
use crate::package::PackageFilter;
use crate::repo::{Repository, Signed};
use crate::template::model::{PackageRepository, Template};

/// A repository of the build cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// Its mirror.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// It has no key, so nothing of it could be verified.
    #[error("the repository {codename} ({url}) of the template has no key")]
    NoKey {
        /// Its codename.
        codename: String,
        /// Its URL.
        url: String,
    },
    /// A key could not be had, or is not the one that is pinned.
    #[error("the key {key} of the repository {codename}: {reason}")]
    Key {
        /// The repository's codename.
        codename: String,
        /// Where the key should be.
        key: String,
        /// The cause.
        reason: String,
    },
}

impl RepositoryError {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoKey { .. } => {
                Some("give it pkey: URL-or-path, or pkey: \"[trusted=yes]\" to take its packages unverified".to_owned())
            }
            Self::Key { reason, .. } if reason.contains("not pinned") => Some(
                "ask the vendor for the key's fingerprint and write it into a provider.yml of your own, \
                 see docs/providers.md"
                    .to_owned(),
            ),
            Self::Key { reason, .. } if reason.contains("on this host") => {
                Some("install the distribution's keyring package".to_owned())
            }
            Self::Mirror(_) | Self::Key { .. } => None,
        }
    }
}

/// The repositories of a build in their order: the provider's, then the template's, with ids
/// that are unique. `fetch_key` downloads the key at an `http:` or `https:` URL; it says in
/// words why it cannot.
///
/// # Errors
/// [`RepositoryError`] for the first repository that cannot be used: one that is left out
/// would make an image of other, perhaps older, packages.
pub fn repositories(
    provider: &Provider,
    mirrors: &Mirrors,
    template: &Template,
    fetch_key: FetchKey<'_>,
) -> Result<Vec<Repository>, RepositoryError> {
    let mut all: Vec<Repository> = Vec::new();
    for repository in &provider.repositories {
        // A mirror that somebody names counts before the vendor's list of them.
        let (base_url, mirror_list) = match (
            mirrors.resolve(provider, template, &repository.archive),
            &repository.mirror_list,
        ) {
            (Err(MirrorError::Unknown { .. }), Some(list)) => (String::new(), Some(list.clone())),
            (resolved, _) => {
                let (base_url, origin) = resolved?;
                tracing::debug!(repository = repository.id, %base_url, %origin, "mirror");
                (base_url, None)
            }
        };
        all.push(Repository {
            id: repository.id.clone(),
            base_url,
            mirror_list,
            signed: match provider.package_system {
                PackageSystem::Deb => Signed::Metadata,
                PackageSystem::Rpm => repository.signed,
            },
            suite: repository.suite.clone(),
            components: repository.components.clone(),
            keys: provider_keys(repository, fetch_key)?,
            trusted: false,
            priority: repository.priority,
            filter: PackageFilter {
                allow: Vec::new(),
                exclude: repository.exclude_packages.clone(),
            },
        });
    }
    for repository in &template.repositories {
        match mirrored(repository, provider) {
            // The same archive once more: it can only add components, and leave packages out.
            Some(same) => {
                for known in all.iter_mut().filter(|known| known.id == same.id) {
                    let more = repository.components.iter().filter(|c| !same.components.contains(c));
                    known.components.extend(more.cloned());
                    known.filter.exclude.extend(repository.filter.exclude.iter().cloned());
                }
            }
            None => {
                let id = unique_id(&repository.codename, &all);
                all.push(additional(provider, repository, id, fetch_key)?);
            }
        }
    }
    Ok(all)
}

fn provider_keys(repository: &ProviderRepository, fetch_key: FetchKey<'_>) -> Result<Vec<Vec<u8>>, RepositoryError> {
    let obtain = |key: &super::ProviderKey| {
        key.obtain(fetch_key).map_err(|(key, reason)| RepositoryError::Key {
            codename: repository.id.clone(),
            key,
            reason,
        })
    };
    repository.keys.iter().map(obtain).collect()
}

fn additional(
    provider: &Provider,
    repository: &PackageRepository,
    id: String,
    fetch_key: FetchKey<'_>,
) -> Result<Repository, RepositoryError> {
    if repository.keys.is_empty() && !repository.trusted {
        return Err(RepositoryError::NoKey {
            codename: repository.codename.clone(),
            url: repository.url.clone(),
        });
    }
    let mut keys = Vec::new();
    for key in &repository.keys {
        keys.push(of_template(key, fetch_key).map_err(|reason| RepositoryError::Key {
            codename: repository.codename.clone(),
            key: key.clone(),
            reason,
        })?);
    }
    let is_directory = repository.url.starts_with('/');
    Ok(Repository {
        id,
        base_url: if is_directory {
            format!("file://{}", repository.url)
        } else {
            repository.url.clone()
        },
        mirror_list: None,
        // As dnf does with a repository that somebody adds: its packages are signed.
        signed: match provider.package_system {
            PackageSystem::Deb => Signed::Metadata,
            PackageSystem::Rpm => Signed::Packages,
        },
        suite: repository.codename.clone(),
        components: repository.components.clone(),
        keys,
        trusted: repository.trusted,
        priority: repository.priority,
        filter: repository.filter.clone(),
    })
}

/// Several repositories may have one codename; lockfiles need to tell them apart.
fn unique_id(codename: &str, taken: &[Repository]) -> String {
    let is_free = |id: &str| taken.iter().all(|repository| repository.id != id);
    if is_free(codename) {
        return codename.to_owned();
    }
    let numbered = (2..).map(|n: u64| format!("{codename}-{n}"));
    numbered.into_iter().find(|id| is_free(id)).unwrap_or_default()
}
