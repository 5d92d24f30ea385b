//! What there is: providers, their packages and their images.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::cache;
use crate::durable::{PathError, TEMPORARY_PREFIX};
use crate::workspace::{ImageBuild, LOCKFILE_SUFFIX, TarballPlace, Workspace};

use super::measure::{Size, list, look_at, measure};
use super::{Store, StoreError, is_provider_id};

/// A provider that something on disk belongs to.
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
    /// Where it lies.
    pub path: PathBuf,
    /// What it takes.
    pub size: Size,
    /// When a build last used it: the record of builds, or when it came.
    pub last_used: SystemTime,
}

impl Package {
    /// Its file name; lossy only for names that oic never gives.
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
    /// What they take.
    pub size: Size,
    /// What the upper takes of it.
    pub upper: Size,
    /// When it was built.
    pub built: SystemTime,
}

/// What the work directory has of a tarball that came from elsewhere.
#[derive(Debug, Clone)]
pub struct Tarball {
    /// Its files.
    pub place: TarballPlace,
    /// What they take, but for writable layers.
    pub size: Size,
    /// When the tarball was last read from, or first shown.
    pub last_used: SystemTime,
}

impl Tarball {
    /// What can be made again: all but the writable layers of `oic mount`.
    ///
    /// # Errors
    /// If its directory cannot be read.
    pub fn parts(&self) -> Result<Vec<PathBuf>, PathError> {
        let mut parts = list(self.place.directory())?;
        if !list(&self.place.mounts())?.is_empty() {
            parts.retain(|path| *path != self.place.mounts());
        }
        Ok(parts)
    }

    /// Whether somebody keeps a writable layer over it.
    ///
    /// # Errors
    /// If its directory cannot be read.
    pub fn has_mounts(&self) -> Result<bool, PathError> {
        Ok(list(&self.place.mounts())?.iter().any(|path| !is_temporary(path)))
    }
}

/// What the work directory has of tarballs that came from elsewhere. What lies beside a tarball is its owner's.
///
/// # Errors
/// If a directory cannot be read.
pub fn tarballs(store: &Store) -> Result<Vec<Tarball>, StoreError> {
    let mut tarballs = Vec::new();
    for directory in list(&TarballPlace::directory_in(&store.work_dir))? {
        if is_temporary(&directory) || !look_at(&directory)?.is_some_and(|metadata| metadata.is_dir()) {
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

/// All providers that have something in the store, or only the one called `only`, by id.
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
            let is_ours = directory != store.work_dir || has_parts(&path);
            if is_provider_id(id) && is_directory && is_ours {
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

/// Whether the directory looks like one of a provider: the work directory may hold others.
fn has_parts(path: &Path) -> bool {
    ["chrootenv", "chrootbuild", "imagebuild"]
        .iter()
        .any(|part| path.join(part).is_dir())
}

impl Provider {
    /// Its package files, by name.
    ///
    /// # Errors
    /// If the cache cannot be read.
    pub fn packages(&self) -> Result<Vec<Package>, PathError> {
        let directory = self.workspace.package_cache();
        let used = cache::last_used(directory);
        let mut packages = Vec::new();
        for path in list(directory)? {
            let is_package = path.extension().is_some_and(|e| e == "deb" || e == "rpm") && !is_temporary(&path);
            let Some(metadata) = look_at(&path)?.filter(|metadata| is_package && metadata.is_file()) else {
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

    /// Its image builds, by name.
    ///
    /// # Errors
    /// If a directory cannot be read.
    pub fn images(&self) -> Result<Vec<Image>, StoreError> {
        let mut images = Vec::new();
        for path in list(&self.workspace.image_builds())? {
            let Some(metadata) = look_at(&path)?.filter(|metadata| metadata.is_dir()) else {
                continue;
            };
            let Some(name) = path.file_name().filter(|_| !is_temporary(&path)) else {
                continue;
            };
            let name = name.to_string_lossy().into_owned();
            let build = ImageBuild::at(path);
            images.push(Image {
                size: measure(build.directory())?,
                upper: measure(&build.upper())?,
                built: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
                build,
                name,
            });
        }
        Ok(images)
    }

    /// When a build of it last ran; `None` if nobody knows.
    pub fn last_used(&self) -> Option<SystemTime> {
        let times = [self.workspace.work_lock(), self.workspace.tarball()];
        times
            .iter()
            .filter_map(|path| path.symlink_metadata().ok()?.modified().ok())
            .max()
    }
}

impl Image {
    /// Its lockfiles.
    ///
    /// # Errors
    /// If its directory cannot be read.
    pub fn lockfiles(&self) -> Result<Vec<PathBuf>, PathError> {
        let mut paths = list(self.build.directory())?;
        paths.retain(|path| path.as_os_str().to_string_lossy().ends_with(LOCKFILE_SUFFIX));
        Ok(paths)
    }
}

/// Whether oic gave `path` a temporary name.
pub(super) fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.as_encoded_bytes().starts_with(TEMPORARY_PREFIX.as_bytes())
}

/// How long before `now` `time` was; nothing if it lies in the future.
pub(super) fn age(now: SystemTime, time: SystemTime) -> Duration {
    now.duration_since(time).unwrap_or_default()
}
