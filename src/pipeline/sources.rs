//! Where the image's own package manager gets packages from: the provider's repositories and the
//! template's, as far as they are on a server that other machines reach too.

use crate::configure::{AptSource, DnfRepository};
use crate::package::PackageFilter;
use crate::provider::Provider;
use crate::repo::Repository;
use crate::resolve::lockfile::LockedRepository;
use crate::verify::{Keyring, VerifyError};

/// What apt does with packages unless told otherwise (apt_preferences(5)).
const USUAL_PRIORITY: i32 = 500;

/// The sources of an image.
///
/// # Errors
/// If a key cannot be written in the form that apt takes.
pub(super) fn of_image(
    provider: &Provider,
    repositories: &[Repository],
    locked: &[LockedRepository],
) -> Result<Vec<AptSource>, VerifyError> {
    let mut sources: Vec<AptSource> = Vec::new();
    for repository in repositories.iter().filter(|repository| is_public(&repository.base_url)) {
        let own = provider.repositories.iter().any(|own| own.id == repository.id);
        let same = |source: &&mut AptSource| {
            let plain = source.filter == repository.filter && source.filter == PackageFilter::default();
            own && source.own
                && plain
                && source.uri == repository.base_url
                && source.components == repository.components
        };
        if let Some(source) = sources.iter_mut().find(same) {
            source.suites.push(repository.suite.clone());
            continue;
        }
        let signed_by = provider.image_keyring.clone().filter(|_| own);
        let key = match &signed_by {
            None if !repository.keys.is_empty() => Some(Keyring::from_certificates(&repository.keys)?.to_bytes()?),
            _ => None,
        };
        sources.push(AptSource {
            name: file_name(repository),
            own,
            uri: repository.base_url.clone(),
            suites: vec![repository.suite.clone()],
            components: repository.components.clone(),
            signed_by,
            key,
            trusted: repository.trusted && repository.keys.is_empty(),
            priority: Some(repository.priority).filter(|priority| !own && *priority != USUAL_PRIORITY),
            filter: repository.filter.clone(),
            pin: pin(repository, repositories, locked),
        });
    }
    Ok(sources)
}

/// The template's repositories for an image of `.rpm` packages; the provider's come with a package.
///
/// # Errors
/// If a key cannot be written in the form that dnf takes.
pub(super) fn of_rpm_image(
    provider: &Provider,
    repositories: &[Repository],
) -> Result<Vec<DnfRepository>, VerifyError> {
    let own = |id: &str| provider.repositories.iter().any(|own| own.id == id);
    let added = repositories
        .iter()
        .filter(|repository| is_public(&repository.base_url) && !own(&repository.id));
    added
        .map(|repository| {
            Ok(DnfRepository {
                name: file_name(repository),
                url: repository.base_url.clone(),
                keys: match repository.keys.is_empty() {
                    true => None,
                    false => Some(Keyring::from_certificates(&repository.keys)?.to_armored()?),
                },
                filter: repository.filter.clone(),
            })
        })
        .collect()
}

/// The repository's id as a part of file names.
fn file_name(repository: &Repository) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    repository.id.replace(|c| !is_plain(c), "-")
}

/// How preferences tell the repository from others: by its host, or where that has several,
/// by what its Release file is called.
fn pin(repository: &Repository, all: &[Repository], locked: &[LockedRepository]) -> String {
    let own_host = host(&repository.base_url);
    let shared = all.iter().filter(|other| host(&other.base_url) == own_host).count() > 1;
    let release = locked.iter().find(|locked| locked.id == repository.id);
    match release.map(|locked| (locked.codename.as_str(), locked.suite.as_str())) {
        Some((codename, _)) if shared && !codename.is_empty() => format!("release n={codename}"),
        Some((_, suite)) if shared && !suite.is_empty() => format!("release a={suite}"),
        _ => format!("origin \"{own_host}\""),
    }
}

/// The host of a URL, without the port, as apt's `origin` has it.
fn host(url: &str) -> &str {
    let host = url.split("://").nth(1).and_then(|rest| rest.split('/').next());
    host.unwrap_or_default().split(':').next().unwrap_or_default()
}

/// Whether `url` means the same on another machine: neither a file nor a server on this one.
fn is_public(url: &str) -> bool {
    let host = url.split("://").nth(1).unwrap_or_default();
    url.starts_with("http") && !["localhost", "127.", "[::1]"].iter().any(|own| host.starts_with(own))
}
