//! The inventory of the store: providers, their packages and their images.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::cache;
use crate::durable::PathError;
use crate::workspace::{ImageBuild, LOCKFILE_SUFFIX, TarballPlace, Workspace};

use super::measure::{Size, list, look_at, measure};
use super::places::{Kind, Room, has_writable_layer, of_kind};
use super::{Store, StoreError, is_provider_id};

/// A provider with files in the store.
#[derive(Debug, Clone)]
pub struct Provider {
    /// Its id.
    pub id: String,
    /// Its directories.
    pub workspace: Workspace,
}

/// A file in a package cache.
#[derive(Debug, Clone)]
pub struct Package {
    /// Its path.
    pub path: PathBuf,
    /// Its size.
    pub size: Size,
    /// The time of its last use by a build as recorded, or of its download if that is later.
    pub last_used: SystemTime,
}

impl Package {
    /// Returns its file name; lossy only for names that oic never makes.
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// The directory of an image build.
#[derive(Debug, Clone)]
pub struct Image {
    /// `systemConfig.name`.
    pub name: String,
    /// Its files.
    pub build: ImageBuild,
    /// Their size.
    pub size: Size,
    /// The part of it that is the upper.
    pub upper: Size,
    /// The part of it that is the raw image of a build that does not deliver it.
    pub state: Size,
    /// The time of the build.
    pub built: SystemTime,
}

/// A foreign tarball (one that came from elsewhere), with its files in the work directory.
#[derive(Debug, Clone)]
pub struct Tarball {
    /// Its files.
    pub place: TarballPlace,
    /// Their size, without writable layers.
    pub size: Size,
    /// The time when the tarball was last read from, or first shown.
    pub last_used: SystemTime,
}

impl Tarball {
    /// Returns the files that can be made again: all but the writable layers of `oic mount`.
    ///
    /// # Errors
    /// If its directory cannot be read.
    pub fn parts(&self) -> Result<Vec<PathBuf>, PathError> {
        let mut parts = list(self.place.directory())?;
        if self.has_mounts()? {
            parts.retain(|path| *path != self.place.mounts());
        }
        Ok(parts)
    }

    /// Says whether a writable layer lies over it.
    ///
    /// # Errors
    /// If its directory cannot be read.
    pub fn has_mounts(&self) -> Result<bool, PathError> {
        has_writable_layer(&self.place.mounts())
    }
}

/// Finds the foreign tarballs with files in the work directory. Files beside a tarball belong to its owner.
///
/// # Errors
/// If a directory cannot be read.
pub fn tarballs(store: &Store) -> Result<Vec<Tarball>, StoreError> {
    let mut tarballs = Vec::new();
    for directory in of_kind(
        Room::Tarballs,
        &TarballPlace::directory_in(&store.work_dir),
        Kind::Tarball,
    )? {
        if !look_at(&directory)?.is_some_and(|metadata| metadata.is_dir()) {
            continue;
        }
        let place = TarballPlace::at(directory);
        let mut last_used = SystemTime::UNIX_EPOCH;
        for path in std::iter::once(place.index()).chain(list(&place.backing_store())?) {
            let modified = look_at(&path)?.and_then(|metadata| metadata.modified().ok());
            last_used = modified.map_or(last_used, |time| last_used.max(time));
        }
        tarballs.push(Tarball {
            size: measure(place.directory())?.without(measure(&place.mounts())?),
            last_used,
            place,
        });
    }
    Ok(tarballs)
}

/// Finds the providers with files in the store, or only the one called `only`, sorted by id.
///
/// # Errors
/// If a directory cannot be read.
pub fn providers(store: &Store, only: Option<&str>) -> Result<Vec<Provider>, PathError> {
    let mut ids = BTreeSet::new();
    for directory in [store.cache_dir.join("pkgCache"), store.work_dir.clone()] {
        for path in list(&directory)? {
            let Some(id) = path.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            let is_directory = look_at(&path)?.is_some_and(|metadata| metadata.is_dir());
            if is_provider_id(id) && is_directory && (directory != store.work_dir || has_parts(&path)?) {
                ids.insert(id.to_owned());
            }
        }
    }
    ids.retain(|id| only.is_none_or(|only| only == id));
    Ok(ids
        .into_iter()
        .map(|id| Provider {
            workspace: store.workspace(&id),
            id,
        })
        .collect())
}

/// Says whether the directory looks like one of a provider: the work directory may hold others.
fn has_parts(path: &Path) -> Result<bool, PathError> {
    for part in ["chrootenv", "chrootbuild", "imagebuild"] {
        if look_at(&path.join(part))?.is_some_and(|metadata| metadata.is_dir()) {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Provider {
    /// Returns its package files, sorted by name.
    ///
    /// # Errors
    /// If the cache cannot be read.
    pub fn packages(&self) -> Result<Vec<Package>, PathError> {
        let directory = self.workspace.package_cache();
        let used = cache::last_used(directory);
        let mut packages = Vec::new();
        for path in of_kind(Room::PackageCache, directory, Kind::Package)? {
            let Some(metadata) = look_at(&path)?.filter(|metadata| metadata.is_file()) else {
                continue;
            };
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let recorded = used.get(name).copied().unwrap_or(SystemTime::UNIX_EPOCH);
            let came = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            packages.push(Package {
                size: Size::of(&metadata),
                last_used: recorded.max(came),
                path,
            });
        }
        Ok(packages)
    }

    /// Returns its image builds, sorted by name.
    ///
    /// # Errors
    /// If a directory cannot be read.
    pub fn images(&self) -> Result<Vec<Image>, StoreError> {
        let mut images = Vec::new();
        for path in of_kind(Room::ImageBuilds, &self.workspace.image_builds(), Kind::Image)? {
            let Some(metadata) = look_at(&path)?.filter(|metadata| metadata.is_dir()) else {
                continue;
            };
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let build = ImageBuild::at(path);
            images.push(Image {
                size: measure(build.directory())?,
                upper: measure(&build.upper())?,
                state: measure(&build.image_state())?,
                built: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
                build,
                name,
            });
        }
        Ok(images)
    }

    /// Returns the time of its last build; `None` if it is unknown.
    pub fn last_used(&self) -> Option<SystemTime> {
        let times = [self.workspace.work_lock(), self.workspace.tarball()];
        times
            .iter()
            .filter_map(|path| path.symlink_metadata().ok()?.modified().ok())
            .max()
    }
}

impl Image {
    /// Returns the paths of its lockfiles.
    ///
    /// # Errors
    /// If its directory cannot be read.
    pub fn lockfiles(&self) -> Result<Vec<PathBuf>, PathError> {
        let mut paths = list(self.build.directory())?;
        paths.retain(|path| path.as_os_str().to_string_lossy().ends_with(LOCKFILE_SUFFIX));
        Ok(paths)
    }
}

/// Returns the time from `time` to `now`; zero if `time` lies in the future.
pub(super) fn age(now: SystemTime, time: SystemTime) -> Duration {
    now.duration_since(time).unwrap_or_default()
}
