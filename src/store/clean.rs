//! Removing whole parts of the store.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::durable::{self, PathError, TEMPORARY_PREFIX, sweep_temporaries};
use crate::fetch::Partial;
use crate::package::Sha256;
use crate::workspace::{TarballPlace, Workspace};

use super::inventory::{Provider, is_temporary, providers, tarballs};
use super::measure::{Size, list, look_at, measure};
use super::usage::{Removal, check_unmounted, check_unused};
use super::{Store, StoreError};

/// What is to be removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scope {
    /// Package caches with their repository metadata.
    pub packages: bool,
    /// Bases: snapshots, what was unpacked of them, step layers, mount points; also what the work directory has of
    /// tarballs that came from elsewhere.
    pub workspace: bool,
    /// Images and all else that builds left.
    pub images: bool,
}

/// One part of one provider.
#[derive(Debug, Clone, Serialize)]
pub struct Part {
    /// Provider id; `null` for what belongs to a tarball that came from elsewhere.
    pub provider: Option<String>,
    /// `packages`, `workspace`, `images` or `tarball`.
    pub scope: &'static str,
    /// Where it lies.
    #[serde(serialize_with = "super::lossy")]
    pub path: PathBuf,
    /// What it takes.
    #[serde(flatten)]
    pub size: Size,
}

/// What was removed, or would be.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Cleaned {
    /// The parts, by provider.
    pub parts: Vec<Part>,
    /// Downloads that somebody is writing; they stay.
    #[serde(serialize_with = "super::lossy_list")]
    pub kept: Vec<PathBuf>,
}

/// Removes the parts that `scope` names, of all providers or of `only`. With `dry_run` it only
/// tells what it would remove.
///
/// # Errors
/// [`StoreError::InUse`] and [`StoreError::Mounted`] before anything is removed; otherwise what
/// removing reports.
pub fn clean(store: &Store, scope: Scope, only: Option<&str>, dry_run: bool) -> Result<Cleaned, StoreError> {
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
        match part.scope {
            PACKAGES => check_unmounted(&part.path)?,
            _ => check_unused(part.owner(), &part.path)?,
        }
    }
    if scope.workspace && only.is_none() {
        sweep_temporaries(&TarballPlace::directory_in(&store.work_dir))?;
    }
    for part in &cleaned.parts {
        tracing::info!(path = %part.path.display(), "removing what is in this directory");
        let kept = match part.scope {
            PACKAGES => empty_package_cache(&part.path)?,
            TARBALL => {
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

const PACKAGES: &str = "packages";
const WORKSPACE: &str = "workspace";
const IMAGES: &str = "images";
const TARBALL: &str = "tarball";

impl Part {
    /// Whose it is, for messages.
    fn owner(&self) -> &str {
        self.provider.as_deref().unwrap_or(TARBALL)
    }
}

impl Cleaned {
    fn concerns(&self, provider: &str) -> bool {
        self.parts.iter().any(|part| part.provider.as_deref() == Some(provider))
    }
}

/// What `scope` names of `provider`, where there is something.
fn parts(provider: &Provider, scope: Scope) -> Result<Vec<Part>, StoreError> {
    let mut parts = Vec::new();
    for (scope, path) in paths(&provider.workspace, scope) {
        // The part itself stays if it is a symbolic link or some other thing.
        let Some(metadata) = look_at(&path)? else { continue };
        if !metadata.is_dir() {
            return Err(StoreError::NotADirectory { path });
        }
        if list(&path)?.is_empty() {
            continue;
        }
        parts.push(Part {
            provider: Some(provider.id.clone()),
            scope,
            size: measure(&path)?,
            path,
        });
    }
    Ok(parts)
}

/// What there is of tarballs that came from elsewhere, but for writable layers over them.
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
                scope: TARBALL,
                size: measure(&path)?,
                path,
            });
        }
    }
    Ok(all)
}

fn paths(workspace: &Workspace, scope: Scope) -> Vec<(&'static str, PathBuf)> {
    let mut paths = Vec::new();
    if scope.packages {
        paths.push((PACKAGES, workspace.package_cache().to_owned()));
    }
    if scope.workspace {
        paths.push((WORKSPACE, workspace.chrootenv()));
        paths.push((WORKSPACE, workspace.chrootbuild()));
    }
    if scope.images {
        paths.push((IMAGES, workspace.image_builds()));
    }
    paths
}

/// Removes what is in `directory`, but not the directory: it may be a mount point or have an owner.
pub(super) fn empty(directory: &Path) -> Result<(), PathError> {
    for path in list(directory)? {
        remove(&path)?;
    }
    Ok(())
}

/// As [`empty`], but downloads that somebody is writing stay; gives these.
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

/// The digest that an unfinished download is named after.
fn download_digest(path: &Path) -> Option<Sha256> {
    let name = path.file_name()?.to_str()?;
    name.strip_prefix(TEMPORARY_PREFIX)?.strip_prefix("part-")?.parse().ok()
}

/// Removes a tree within its mount. Its name becomes a temporary one first, so that what a killed
/// removal leaves is never taken for something whole.
pub(super) fn remove(path: &Path) -> Result<(), PathError> {
    if is_temporary(path) || !path.is_dir() {
        return durable::remove_tree(path);
    }
    let mut name = std::ffi::OsString::from(format!("{TEMPORARY_PREFIX}removed-"));
    name.push(path.file_name().unwrap_or_default());
    let aside = path.with_file_name(name);
    durable::remove_tree(&aside)?;
    match std::fs::rename(path, &aside) {
        Ok(()) => durable::remove_tree(&aside),
        // A mount point cannot be renamed; removing it says why.
        Err(_) => durable::remove_tree(path),
    }
}
