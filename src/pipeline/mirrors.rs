//! Repositories that only a list of mirrors leads to, for who has a lockfile and so loads no index: where their packages
//! can be fetched.

use std::path::Path;

use crate::fetch::Transport;
use crate::package::ResolvedPackage;
use crate::repo::Repository;
use crate::repo::rpm::{RepoError, locate};

/// Gives each of `repositories` that has a list of mirrors instead of a base URL that of a mirror which answers, if one of
/// its `packages` is not in `cache`, the directory of the package cache. Without such a package no list is asked for.
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
