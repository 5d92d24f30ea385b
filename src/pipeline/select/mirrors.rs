//! Finds a base URL for mirror-list repositories when a lockfile makes loading their index unnecessary.

use std::path::Path;

use crate::fetch::Transport;
use crate::package::ResolvedPackage;
use crate::repo::rpm::locate;
use crate::repo::{RepoError, Repository};

/// Gives each of `repositories` that has a list of mirrors and no base URL the base URL of a mirror that answers, if
/// one of its `packages` is not in `cache`, the directory of the package cache. Otherwise it asks for no list.
///
/// # Errors
/// [`RepoError`] of the first repository, in order, that cannot be found.
pub fn locate_missing(
    repositories: &mut [Repository],
    packages: &[ResolvedPackage],
    cache: &Path,
    transport: &dyn Transport,
) -> Result<(), RepoError> {
    for repository in repositories {
        let Some(list) = repository
            .mirror_list
            .as_ref()
            .filter(|_| repository.base_url.is_empty())
        else {
            continue;
        };
        let mut own = packages.iter().filter(|package| package.repository == repository.id);
        if own.any(|package| !cache.join(package.file_name()).exists()) {
            repository.base_url = locate(&repository.id, list, transport)?;
        }
    }
    Ok(())
}
