//! What a package file says of itself, for the index that apt reads during an installation.
//!
//! Always from the file, never from a repository's index: an index may state another priority, apt's order depends on it,
//! and a lockfile must give the same image when the index is gone.

use std::path::Path;

use crate::archive::deb::Deb;
use crate::package::ResolvedPackage;

use super::packages::Cached;
use super::{BuildError, Context};

/// The control file of the package at `path`, one paragraph.
pub(super) fn control(path: &Path) -> Result<String, BuildError> {
    let bad = |reason: &str| BuildError::LocalPackage {
        path: path.to_owned(),
        reason: reason.to_owned(),
    };
    let control = Deb::open(path)?
        .control_file("control")?
        .ok_or_else(|| bad("has no control file"))?;
    let control = String::from_utf8(control).map_err(|_| bad("has a control file that is not UTF-8"))?;
    let control = control.trim();
    if control.lines().any(|line| line.trim().is_empty()) {
        return Err(bad("has a control file of several paragraphs"));
    }
    Ok(control.to_owned())
}

/// `packages` with the stanzas that their files give, read by as many threads as the build may have.
pub(super) fn complete(
    context: &Context<'_>,
    packages: &[ResolvedPackage],
    cached: &Cached,
) -> Result<Vec<ResolvedPackage>, BuildError> {
    let complete = |package: &ResolvedPackage| {
        context.cancel.check()?;
        let path = cached.path(package);
        let control = control(path.ok_or_else(|| BuildError::NotCached(package.file_name()))?)?;
        let mut package = package.clone();
        package.stanza = format!("{control}\nSize: {}\nSHA256: {}\n", package.size_bytes, package.sha256);
        Ok::<_, BuildError>(package)
    };
    let share = packages.len().div_ceil(context.request.jobs.max(1)).max(1);
    let parts: Vec<Result<Vec<ResolvedPackage>, BuildError>> = std::thread::scope(|scope| {
        let threads: Vec<_> = packages
            .chunks(share)
            .map(|part| scope.spawn(move || part.iter().map(complete).collect()))
            .collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined
            .map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let mut all = Vec::with_capacity(packages.len());
    for part in parts {
        all.extend(part?);
    }
    Ok(all)
}
