//! Removal of what killed processes left, in every room of the store (`places`).
//!
//! Most rooms belong to a provider: the caller holds its locks exclusively, so that no build is at work there. Mounts
//! hold no such lock while they last, and no lock covers the rooms above the providers: there a leftover that a process
//! has open, or that was changed a moment ago, stays.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::durable::{self, FileLock, PathError};
use crate::fetch;
use crate::layer::LayerStore;
use crate::mount::holders;
use crate::workspace::{ImageBuild, TarballPlace, Workspace};

use super::measure::{list, look_at};
use super::places::{Room, What, each_room, entries, is_removed, tops};

/// Age up to which a leftover outside of any lock may be one that is just being made.
const FRESH: Duration = Duration::from_secs(5);

/// What is swept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// All leftovers of no use.
    Useless,
    /// Also what the next build could use, the upper that a killed build had put aside, and the rest of that build.
    All,
}

/// Sweeps all rooms of the provider of `workspace`, whose locks the caller holds exclusively. A leftover that cannot be
/// removed stays, with a warning.
pub(super) fn provider(workspace: &Workspace, extent: Extent) {
    for (room, path) in tops(workspace) {
        let swept = each_room(room, path, &mut |room, path| sweep(room, path, extent));
        warn(path, swept);
    }
}

/// Sweeps the rooms above the provider of `workspace`, and those of foreign tarballs.
pub(super) fn above(workspace: &Workspace) {
    let caches = workspace.package_cache().parent();
    let work = workspace.provider().parent();
    for (room, path) in [
        (Room::Cache, caches.and_then(Path::parent)),
        (Room::Caches, caches),
        (Room::Work, work),
    ] {
        let Some(path) = path else { continue };
        warn(path, sweep(room, path, Extent::All));
    }
    if let Some(work) = work {
        tarballs(work);
    }
}

/// Sweeps the rooms of the foreign tarballs of `work_dir`.
pub(super) fn tarballs(work_dir: &Path) {
    let path = TarballPlace::directory_in(work_dir);
    let swept = each_room(Room::Tarballs, &path, &mut |room, path| sweep(room, path, Extent::All));
    warn(&path, swept);
}

/// Sweeps the place of one foreign tarball.
pub fn tarball(place: &TarballPlace) {
    let path = place.directory();
    let swept = each_room(Room::Tarball, path, &mut |room, path| sweep(room, path, Extent::All));
    warn(path, swept);
}

/// Sweeps `directory`, that for temporary files.
pub fn temporary(directory: &Path) {
    warn(directory, sweep(Room::Temporary, directory, Extent::All));
}

/// Sweeps `directory`, that of the writable layers of a base, whose lock the caller holds.
///
/// # Errors
/// If a leftover cannot be removed.
pub fn mounts(directory: &Path) -> Result<(), PathError> {
    each_leftover(Room::Mounts, directory, |path| match is_mounted(path) {
        true => Ok(()),
        false => durable::remove_tree(path),
    })
}

fn warn(path: &Path, swept: Result<(), PathError>) {
    if let Err(error) = swept {
        tracing::warn!("a leftover in {} stays: {error}", path.display());
    }
}

/// Sweeps the directory `path`, which is a `room`.
fn sweep(room: Room, path: &Path, extent: Extent) -> Result<(), PathError> {
    match room {
        Room::PackageCache if !path.exists() => Ok(()),
        Room::PackageCache => {
            fetch::sweep(path)?;
            each_leftover(room, path, |path| match fetch::is_download(path) {
                true => Ok(()),
                false => durable::remove_tree(path),
            })
        }
        Room::Layers => LayerStore::new(path.to_owned()).sweep(),
        Room::ImageBuilds => each_leftover(room, path, |path| match extent {
            Extent::Useless if ImageBuild::is_previous(path) => Ok(()),
            _ => durable::remove_tree(path),
        }),
        Room::Mounts if has_leftover(room, path)? => match FileLock::try_exclusive(path.join(".lock"))? {
            Some(_lock) => mounts(path),
            None => Ok(()),
        },
        Room::ImageBuild => image_build(&ImageBuild::at(path.to_owned()), extent),
        Room::Metadata | Room::Repository | Room::Resolutions | Room::Layer => {
            each_leftover(room, path, durable::remove_tree)
        }
        _ => each_leftover(room, path, |path| match is_used(path)? {
            true => Ok(()),
            false => durable::remove_tree(path),
        }),
    }
}

/// Sweeps the directory of an image build. The work directory of a killed build stays as long as its upper: it tells
/// that the upper is unfinished.
fn image_build(build: &ImageBuild, extent: Extent) -> Result<(), PathError> {
    let is_unfinished = build.work().exists();
    if is_unfinished && extent == Extent::All {
        // As a failed build does itself: half an image is of no use.
        let mut paths = list(build.directory())?;
        paths.retain(|path| *path != build.log());
        return paths.iter().try_for_each(|path| durable::remove_tree(path));
    }
    each_leftover(Room::ImageBuild, build.directory(), |path| match path == build.work() {
        true => Ok(()),
        false => durable::remove_tree(path),
    })
}

/// Calls `remove` for each leftover in the directory `path`, which is a `room`; returns the last error.
fn each_leftover(
    room: Room,
    path: &Path,
    mut remove: impl FnMut(&Path) -> Result<(), PathError>,
) -> Result<(), PathError> {
    let mut result = Ok(());
    for place in entries(room, path)? {
        if matches!(place.what, What::Leftover) {
            result = remove(&place.path).and(result);
        }
    }
    result
}

fn has_leftover(room: Room, path: &Path) -> Result<bool, PathError> {
    let places = entries(room, path)?;
    Ok(places.iter().any(|place| matches!(place.what, What::Leftover)))
}

/// Says whether a process of this host has something of the leftover `path` open, or has just made it. That of another
/// user counts as used.
fn is_used(path: &Path) -> Result<bool, PathError> {
    let Some(metadata) = look_at(path)?.filter(|_| !is_removed(path)) else {
        return Ok(false);
    };
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Ok(true);
    }
    let age = metadata
        .modified()
        .ok()
        .and_then(|time| SystemTime::now().duration_since(time).ok());
    if age.is_some_and(|age| age < FRESH) {
        return Ok(true);
    }
    Ok(path
        .canonicalize()
        .is_ok_and(|real| !holders::holders(&real).is_empty()))
}

/// Says whether a server holds the lock of the scratch layer in `directory`.
fn is_mounted(directory: &Path) -> bool {
    let lock = directory.join("work.lock");
    lock.exists() && !matches!(FileLock::try_exclusive(&lock), Ok(Some(_)))
}
