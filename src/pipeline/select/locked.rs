//! The selection of the request's lockfile.

use std::collections::BTreeSet;

use super::selection::Selection;
use super::{mirrors, repositories};
use crate::pipeline::context::Context;
use crate::pipeline::error::BuildError;
use crate::resolve::lockfile::Lockfile;

/// Makes the selection of the request's lockfile. No index is read.
pub fn select(context: &Context<'_>, lockfile: &Lockfile) -> Result<Selection, BuildError> {
    let provider = context.loaded().provider.id();
    if lockfile.provider != provider {
        return Err(BuildError::ForeignLock {
            wanted: provider,
            found: lockfile.provider.clone(),
        });
    }
    let mut repositories = repositories::of(context, Some(lockfile))?;
    let known: BTreeSet<&str> = repositories.iter().map(|repository| repository.id.as_str()).collect();
    if let Some(unknown) = lockfile
        .repositories
        .iter()
        .find(|locked| !known.contains(locked.id.as_str()))
    {
        return Err(BuildError::UnknownRepository(unknown.id.clone()));
    }
    // Offline, the download reports what is missing.
    if !context.request.selecting.offline {
        let cache = context.workspace.package_cache();
        mirrors::locate_missing(&mut repositories, &lockfile.packages, cache, &context.fetcher)?;
    }
    Selection::of(
        context,
        repositories,
        lockfile.clone(),
        asked_otherwise(context, lockfile),
    )
}

/// Describes, in words, what the template asks for and the lockfile was not made for.
fn asked_otherwise(context: &Context<'_>, lockfile: &Lockfile) -> Vec<String> {
    let system = &context.loaded().template.system;
    let plain = |asked: &String| asked.split('=').next().unwrap_or(asked).to_owned();
    let locked: BTreeSet<String> = lockfile.requested.iter().map(plain).collect();
    let asked = system.packages.iter().chain(&system.kernel.packages).map(plain);
    let missing: BTreeSet<String> = asked.filter(|name| !locked.contains(name)).collect();
    if missing.is_empty() {
        return Vec::new();
    }
    let missing: Vec<String> = missing.into_iter().collect();
    vec![format!(
        "the template asks for packages that the lockfile was made without: {}; make the lockfile anew",
        missing.join(", ")
    )]
}
