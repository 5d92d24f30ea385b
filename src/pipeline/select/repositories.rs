//! The repositories of a build, with their keys.

use super::keys::Keys;
use crate::pipeline::context::Context;
use crate::pipeline::error::BuildError;
use crate::provider;
use crate::repo::Repository;

/// Gives the repositories of the provider and of the template, with their keys.
///
/// # Errors
/// If a repository has no mirror, or a key cannot be fetched or read.
pub fn of(context: &Context<'_>) -> Result<Vec<Repository>, BuildError> {
    let selecting = &context.request.selecting;
    let loaded = &selecting.loaded;
    let keys = Keys {
        fetcher: &context.fetcher,
        directory: context.workspace.metadata().join("keys"),
        offline: selecting.offline,
    };
    let fetch_key = |url: &str| keys.get(url);
    Ok(provider::repositories(
        &loaded.provider,
        &selecting.mirrors,
        &loaded.template,
        &fetch_key,
    )?)
}
