//! Where the image's own apt gets packages from: the provider's repositories and the template's, as far as they are on
//! a server that other machines reach too.

use crate::configure::AptSource;
use crate::package::PackageFilter;
use crate::provider::Provider;
use crate::repo::Repository;
use crate::resolve::lockfile::LockedRepository;
use crate::system::sources::{file_name, is_public};
use crate::verify::{Keyring, VerifyError};

/// The priority that apt gives packages by default (apt_preferences(5)).
const USUAL_PRIORITY: i32 = 500;

/// Gives the sources of an image.
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
                && source.expired != repository.checks.valid_until
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
            expired: !repository.checks.valid_until,
        });
    }
    Ok(sources)
}

/// Gives the pin by which preferences tell the repository from others: its host, or where that has several, the names
/// in its Release file.
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

/// Gives the host of a URL, without the port, as apt's `origin` has it.
fn host(url: &str) -> &str {
    let host = url.split("://").nth(1).and_then(|rest| rest.split('/').next());
    host.unwrap_or_default().split(':').next().unwrap_or_default()
}
