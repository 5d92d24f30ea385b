//! Where the image's own dnf gets packages from, besides the distribution's repositories: those come with a package.

use crate::configure::DnfRepository;
use crate::provider::Provider;
use crate::repo::Repository;
use crate::system::sources::{file_name, is_public};
use crate::verify::{Keyring, VerifyError};

/// Gives the template's repositories, as far as they are on a server that other machines reach too.
///
/// # Errors
/// If a key cannot be written in the form that dnf takes.
pub(super) fn of_image(provider: &Provider, repositories: &[Repository]) -> Result<Vec<DnfRepository>, VerifyError> {
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
