//! Removal of whole parts of the store.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cancel::Cancel;
use crate::durable::{self, PathError, TEMPORARY_PREFIX};
use crate::fetch::Partial;
use crate::package::Checksum;

use super::inventory::{Provider, providers, tarballs};
use super::measure::{Size, list, look_at, measure};
use super::places::{Share, is_temporary, removed, shares};
use super::sweep;
use super::usage::{Removal, check_unmounted, check_unused};
use super::{Store, StoreError};

/// The parts to be removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scope {
    /// Package caches with their repository metadata.
    pub packages: bool,
    /// Bases: snapshots, their unpacked members, step layers, mount points; also the files in the work directory that
    /// belong to foreign tarballs.
    pub workspace: bool,
    /// Images and all other results of builds.
    pub images: bool,
}

/// One part of one provider.
#[derive(Debug, Clone, Serialize)]
pub struct Part {
    /// Provider id; `null` for a foreign tarball.
    pub provider: Option<String>,
    /// The share of the store that it is a part of.
    #[serde(rename = "scope")]
    pub share: Share,
    /// Its path.
    #[serde(serialize_with = "super::lossy")]
    pub path: PathBuf,
    /// Its size.
    #[serde(flatten)]
    pub size: Size,
}

/// The parts that were removed, or would be.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Cleaned {
    /// The parts, by provider.
    pub parts: Vec<Part>,
    /// Downloads that another process is writing; they stay.
    #[serde(serialize_with = "super::lossy_list")]
    pub kept: Vec<PathBuf>,
}

/// Removes the parts that `scope` names, of all providers or of `only`. With `dry_run` it removes nothing and returns
/// what it would remove. When `cancel` is set, it stops before the next part.
///
/// # Errors
/// [`StoreError::Cancelled`]; [`StoreError::InUse`] and [`StoreError::Mounted`] before anything is removed; otherwise the error of the removal.
pub fn clean(
    store: &Store,
    scope: Scope,
    only: Option<&str>,
    dry_run: bool,
    cancel: &Cancel,
) -> Result<Cleaned, StoreError> {
    let providers = providers(store, only)?;
    let mut cleaned = Cleaned::default();
    for provider in &providers {
        cleaned.parts.extend(parts(provider, scope)?);
    }
    if scope.workspace && only.is_none() {
        cleaned.parts.extend(tarball_parts(store)?);
    }
    if dry_run {
        return Ok(cleaned);
    }
    // All locks and checks come before the first removal.
    let mut locks = Vec::new();
    for provider in providers.iter().filter(|provider| cleaned.concerns(&provider.id)) {
        locks.push(Removal::claim(provider)?);
    }
    for part in &cleaned.parts {
        check_unmounted(&part.path)?;
    }
    for part in cleaned.parts.iter().filter(|part| part.share != Share::Packages) {
        check_unused(part.owner(), &part.path)?;
    }
    for lock in &locks {
        lock.sweep();
    }
    if scope.workspace && only.is_none() {
        sweep::tarballs(&store.work_dir);
    }
    for part in &cleaned.parts {
        cancel.check()?;
        tracing::info!(path = %part.path.display(), "removing what is in this directory");
        let kept = match part.share {
            Share::Packages => empty_package_cache(&part.path)?,
            Share::Tarball => {
                remove(&part.path)?;
                Vec::new()
            }
            _ => {
                empty(&part.path)?;
                Vec::new()
            }
        };
        cleaned.kept.extend(kept);
    }
    Ok(cleaned)
}

impl Scope {
    /// Says whether the scope names `share`.
    fn names(self, share: Share) -> bool {
        match share {
            Share::Packages => self.packages,
            Share::Workspace | Share::Tarball => self.workspace,
            Share::Images => self.images,
        }
    }
}

impl Part {
    /// Returns its owner, for messages: the provider, or the word `tarball`.
    fn owner(&self) -> &str {
        self.provider.as_deref().unwrap_or(Share::Tarball.name())
    }
}

impl Cleaned {
    fn concerns(&self, provider: &str) -> bool {
        self.parts.iter().any(|part| part.provider.as_deref() == Some(provider))
    }
}

/// Returns the parts of `provider` that `scope` names and that are not empty.
fn parts(provider: &Provider, scope: Scope) -> Result<Vec<Part>, StoreError> {
    let mut parts = Vec::new();
    for (share, path) in shares(&provider.workspace)? {
        if !scope.names(share) {
            continue;
        }
        // A part that is a symbolic link or another kind of file stays.
        let Some(metadata) = look_at(&path)? else { continue };
        if !metadata.is_dir() {
            return Err(StoreError::NotADirectory { path });
        }
        if list(&path)?.is_empty() {
            continue;
        }
        parts.push(Part {
            provider: Some(provider.id.clone()),
            share,
            size: measure(&path)?,
            path,
        });
    }
    Ok(parts)
}

/// Returns the files of foreign tarballs, except writable layers over them.
fn tarball_parts(store: &Store) -> Result<Vec<Part>, StoreError> {
    let mut all = Vec::new();
    for tarball in tarballs(store)? {
        let paths = match tarball.has_mounts()? {
            true => tarball.parts()?,
            false => vec![tarball.place.directory().to_owned()],
        };
        for path in paths {
            all.push(Part {
                provider: None,
                share: Share::Tarball,
                size: measure(&path)?,
                path,
            });
        }
    }
    Ok(all)
}

/// Removes the contents of `directory`, but not the directory: it may be a mount point or have an owner.
pub(super) fn empty(directory: &Path) -> Result<(), PathError> {
    for path in list(directory)? {
        remove(&path)?;
    }
    Ok(())
}

/// Empties `directory` as [`empty`] does, but keeps downloads that another process is writing; returns these.
fn empty_package_cache(directory: &Path) -> Result<Vec<PathBuf>, PathError> {
    let mut kept = Vec::new();
    for path in list(directory)? {
        match download_digest(&path) {
            None => remove(&path)?,
            Some(digest) => match Partial::try_lock(directory, digest)? {
                Some(partial) => partial.discard(),
                None => kept.push(path),
            },
        }
    }
    Ok(kept)
}

/// Returns the digest in the name of an unfinished download; `None` for any other file.
fn download_digest(path: &Path) -> Option<Checksum> {
    let name = path.file_name()?.to_str()?;
    name.strip_prefix(TEMPORARY_PREFIX)?.strip_prefix("part-")?.parse().ok()
}

/// Removes a tree within its mount. The tree gets a temporary name first, so that the rest that a killed removal leaves
/// is never taken for a whole tree.
pub(super) fn remove(path: &Path) -> Result<(), PathError> {
    if is_temporary(path) || !path.is_dir() {
        return durable::remove_tree(path);
    }
    let aside = path.with_file_name(removed(path.file_name().unwrap_or_default()));
    durable::remove_tree(&aside)?;
    match std::fs::rename(path, &aside) {
        Ok(()) => durable::remove_tree(&aside),
        // A mount point cannot be renamed; its removal returns the cause.
        Err(_) => durable::remove_tree(path),
    }
}
