//! The repositories of a build, with their keys.

use super::files;
use super::keys::Keys;
use crate::pipeline::context::Context;
use crate::pipeline::error::BuildError;
use crate::provider;
use crate::repo::Repository;
use crate::resolve::lockfile::Lockfile;

/// Gives the repositories of the provider and of the template, with their keys. With `lockfile`, package files that the
/// template names are obtained only if one of its packages is not in the cache.
///
/// # Errors
/// If a repository has no mirror, or a key or a package file cannot be fetched or read.
pub fn of(context: &Context<'_>, lockfile: Option<&Lockfile>) -> Result<Vec<Repository>, BuildError> {
    let selecting = &context.request.selecting;
    let loaded = &selecting.loaded;
    let keys = Keys {
        fetcher: &context.fetcher,
        directory: context.workspace.metadata().join("keys"),
        offline: selecting.offline,
    };
    let fetch_key = |url: &str| keys.get(url);
    let files = files::of(context, lockfile)?;
    Ok(provider::repositories(
        &loaded.provider,
        &selecting.mirrors,
        &loaded.template,
        &fetch_key,
        &files,
    )?)
}
