//! The repositories of one build: the provider's from their mirrors, then the template's.

use super::keys::{FetchKey, KeyProblem, of_template};
use super::mirror::{MirrorError, Mirrors, mirrored};
use super::{Provider, ProviderRepository};
use crate::hint::{Hint, Means};
use crate::model::{PackageRepository, Template};
use crate::package::PackageFilter;
use crate::repo::{Checks, PackageFile, Repository};

/// The base URL of a repository of files: a package of it that is not among them is nowhere.
const NOWHERE: &str = "file://";

/// The error for a repository of the build that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// The mirror is unknown or unusable.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// The repository has no key, so none of its data could be verified.
    #[error("the repository {codename} ({url}) of the template has no key")]
    NoKey {
        /// Its codename.
        codename: String,
        /// Its URL.
        url: String,
    },
    /// A key cannot be obtained, or is not the pinned one.
    #[error("the key {key} of the repository {codename}: {problem}")]
    Key {
        /// The repository's codename.
        codename: String,
        /// The location of the key.
        key: String,
        /// The cause.
        problem: KeyProblem,
    },
}

impl RepositoryError {
    /// Returns a hint on the next step of the user, if anything helps.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::Mirror(error) => error.hint(),
            Self::NoKey { .. } => {
                Some("give it pkey: URL-or-path, or pkey: \"[trusted=yes]\" to take its packages unverified".into())
            }
            Self::Key { problem, .. } => match problem {
                KeyProblem::NotPinned { sent } => {
                    let text = "ask the vendor for the key's fingerprint; trust it if it is that one, or pin it in a \
                                provider.yml of your own, see docs/providers.md";
                    // Of several, the user has to choose.
                    let one = sent.clone().filter(|sent| !sent.contains(','));
                    Some(Hint::new(text).by(Means::TrustKey).with(one))
                }
                KeyProblem::NotOnHost => Some("install the distribution's keyring package".into()),
                KeyProblem::Unusable(_) => None,
            },
        }
    }
}

/// Returns the repositories of a build in their order: the provider's, then the template's, with unique ids.
/// `fetch_key` downloads the key at an `http:` or `https:` URL, or says in words why it cannot. `files` are the package
/// files that each of the template's names, in their order; missing ones are none.
///
/// # Errors
/// [`RepositoryError`] for the first repository that cannot be used: an image built without it would have other,
/// perhaps older, packages.
pub fn repositories(
    provider: &Provider,
    mirrors: &Mirrors,
    template: &Template,
    fetch_key: FetchKey<'_>,
    files: &[Vec<PackageFile>],
) -> Result<Vec<Repository>, RepositoryError> {
    let of_provider = provider.repositories.iter();
    let of_provider = of_provider.map(|repository| vendors(provider, mirrors, template, (repository, fetch_key)));
    let mut all = of_provider.collect::<Result<Vec<_>, _>>()?;
    for (index, repository) in template.repositories.iter().enumerate() {
        match mirrored(repository, provider) {
            // The same archive again: it can add components, exclude packages, and say that the archive is an old one.
            Some(same) => {
                for known in all.iter_mut().filter(|known| known.id == same.id) {
                    let more = repository.components.iter().filter(|c| !same.components.contains(c));
                    known.components.extend(more.cloned());
                    known.filter.exclude.extend(repository.filter.exclude.iter().cloned());
                    known.checks.valid_until &= repository.check_valid_until;
                }
            }
            None => {
                let added = additional(provider, repository, fetch_key)?;
                // Files beside a directory are a repository of their own: no index has them.
                let named = (!repository.packages.is_empty()).then(|| Repository {
                    base_url: NOWHERE.to_owned(),
                    files: Some(files.get(index).cloned().unwrap_or_default()),
                    ..added.clone()
                });
                let served = (!repository.url.is_empty()).then_some(added);
                for repository in served.into_iter().chain(named) {
                    let id = unique_id(&repository.id, &all);
                    all.push(Repository { id, ..repository });
                }
            }
        }
    }
    Ok(all)
}

/// Returns one repository of the provider at its mirror, with its keys.
fn vendors(
    provider: &Provider,
    mirrors: &Mirrors,
    template: &Template,
    (repository, fetch_key): (&ProviderRepository, FetchKey<'_>),
) -> Result<Repository, RepositoryError> {
    // A mirror that the user names outranks the vendor's list.
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
    Ok(Repository {
        id: repository.id.clone(),
        base_url,
        mirror_list,
        signed: repository.signed,
        suite: repository.suite.clone(),
        components: repository.components.clone(),
        keys: provider_keys(repository, fetch_key)?,
        trusted: false,
        priority: repository.priority,
        filter: PackageFilter {
            allow: Vec::new(),
            exclude: repository.exclude_packages.clone(),
        },
        checks: Checks::default(),
        files: None,
    })
}

/// Returns what keeps repositories of the provider from being used and shows before anything is downloaded: mirrors that
/// are unknown, keys that are not there.
pub fn known_problems(provider: &Provider, mirrors: &Mirrors, template: &Template) -> Vec<RepositoryError> {
    let mut problems = Vec::new();
    for repository in &provider.repositories {
        if repository.mirror_list.is_none()
            && let Err(error) = mirrors.resolve(provider, template, &repository.archive)
        {
            problems.push(error.into());
        }
        let keys = repository.keys.iter().filter_map(super::ProviderKey::problem);
        problems.extend(keys.map(|(key, problem)| RepositoryError::Key {
            codename: repository.id.clone(),
            key,
            problem,
        }));
    }
    problems
}

fn provider_keys(repository: &ProviderRepository, fetch_key: FetchKey<'_>) -> Result<Vec<Vec<u8>>, RepositoryError> {
    let obtain = |key: &super::ProviderKey| {
        key.obtain(fetch_key).map_err(|(key, problem)| RepositoryError::Key {
            codename: repository.id.clone(),
            key,
            problem,
        })
    };
    repository.keys.iter().map(obtain).collect()
}

/// Makes a repository of the template's, with an id that others may have.
fn additional(
    provider: &Provider,
    repository: &PackageRepository,
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
            problem: KeyProblem::Unusable(reason),
        })?);
    }
    let is_directory = repository.url.starts_with('/');
    let is_flat = repository.codename.ends_with('/');
    Ok(Repository {
        id: name(repository).to_owned(),
        base_url: if is_directory {
            format!("file://{}", repository.url)
        } else {
            repository.url.clone()
        },
        mirror_list: None,
        signed: provider.packages.added,
        suite: repository.codename.clone(),
        components: if is_flat {
            Vec::new()
        } else {
            repository.components.clone()
        },
        keys,
        trusted: repository.trusted,
        priority: repository.priority,
        filter: repository.filter.clone(),
        checks: Checks {
            // Vendors serve one archive under several names. Its key signs nothing of the provider's.
            suite: false,
            valid_until: repository.check_valid_until,
        },
        files: None,
    })
}

/// Returns the name of the template's repository in messages: its suite, or for a flat one the end of its URL.
fn name(repository: &PackageRepository) -> &str {
    match repository.codename.trim_start_matches("./").trim_end_matches('/') {
        "" => repository
            .url
            .rsplit(['/', '@'])
            .find(|part| !part.is_empty())
            .unwrap_or("flat"),
        _ => &repository.codename,
    }
}

/// Returns an id that no other repository has: several may have one codename, and lockfiles tell them apart by id.
fn unique_id(codename: &str, taken: &[Repository]) -> String {
    let is_free = |id: &str| taken.iter().all(|repository| repository.id != id);
    if is_free(codename) {
        return codename.to_owned();
    }
    let numbered = (2..).map(|n: u64| format!("{codename}-{n}"));
    numbered.into_iter().find(|id| is_free(id)).unwrap_or_default()
}
