//! The subject of `oic mount`: a provider's base, itself or through a template, or a tarball.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::cancel::Cancel;
use crate::durable::{self, LockError, PathError};
use crate::package::Sha256;
use crate::progress::{Task, Unit};
use crate::snapshot::SnapshotPaths;
use crate::snapshot::foreign::{self, PrepareOptions};
use crate::store::{InUse, sweep};
use crate::template::Loaded;
use crate::workspace::{TarballPlace, Workspace};

use super::super::environment::Environment;
use super::super::error::{CommandError, tell};
use super::super::progress;

/// A base, and the places of its files.
pub(super) struct Subject {
    /// Its name, for people: the provider, the template's file, or the tarball.
    pub(super) name: String,
    /// The files of the base.
    pub(super) snapshot: SnapshotPaths,
    /// The directory of writable layers over it.
    pub(super) mounts: PathBuf,
    /// Its mount point, unless the user chooses another.
    pub(super) mount_point: PathBuf,
    /// The provider that owns the base and the template that named it; `None` for a tarball.
    pub(super) provider: Option<(Workspace, Option<Loaded>)>,
}

impl Subject {
    /// Finds what `argument` names: a provider id, a template, or a tarball.
    pub(super) fn of(environment: &Environment, argument: &OsStr) -> Result<Self, CommandError> {
        match foreign::Kind::of(Path::new(argument)) {
            foreign::Kind::Tarball => return Self::tarball(environment, Path::new(argument)),
            foreign::Kind::Other(problem) => return Err(problem.into()),
            foreign::Kind::Unknown => {}
        }
        let (provider, loaded) = super::named(environment, argument)?;
        let workspace = Workspace::new(&environment.cache_dir(), &environment.work_dir(), &provider);
        let tarball = workspace.tarball();
        match tarball.metadata() {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let missing = CommandError::failed(format!(
                    "there is no base of {provider} yet: {} is missing",
                    tarball.display()
                ));
                return Err(missing.hint(Some("oic build makes it; --work-dir says where to look")));
            }
            Err(error) => return Err(unreadable(&tarball, error)),
        }
        // An earlier version left it open.
        durable::close(workspace.provider()).map_err(CommandError::failed)?;
        let template = loaded.as_ref().and(Path::new(argument).file_name());
        Ok(Self {
            name: template.map_or(provider, |name| name.to_string_lossy().into_owned()),
            snapshot: SnapshotPaths::of(&workspace),
            mounts: workspace.mounts(),
            mount_point: workspace.chrootenv(),
            provider: Some((workspace, loaded)),
        })
    }

    fn tarball(environment: &Environment, path: &Path) -> Result<Self, CommandError> {
        let real = real_path(path)?;
        let place = place_of(environment, &real)?;
        sweep::tarball(&place);
        Ok(Self {
            name: real.to_string_lossy().into_owned(),
            snapshot: SnapshotPaths {
                tarball: real,
                index: place.index(),
                backing_dir: place.backing_store(),
            },
            mounts: place.mounts(),
            mount_point: place.mount_point(),
            provider: None,
        })
    }

    /// Keeps other processes from sweeping and removing what the mount is made of, until the result is dropped; `None`
    /// for a tarball, and for a user that may not lock.
    pub(super) fn claim(&self, cancel: &Cancel) -> Result<Option<InUse>, CommandError> {
        let Some((workspace, _)) = &self.provider else {
            return Ok(None);
        };
        let waiting = |by: &str| tell(&format_args!("waiting for {by}"));
        match InUse::claim(workspace, cancel, &waiting) {
            Ok(in_use) => Ok(Some(in_use)),
            Err(LockError::Path(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Ensures that it has an index.
    pub(super) fn prepare(&self, cancel: &Cancel) -> Result<(), CommandError> {
        let name = self.snapshot.tarball.file_name().unwrap_or_default().display();
        let size = fs::metadata(&self.snapshot.tarball).map(|metadata| metadata.len()).ok();
        let progress = progress::for_stderr();
        let task = std::cell::OnceCell::new();
        let label = format!("Reading {name} once, to make its index");
        let advance = |bytes| {
            let task = task.get_or_init(|| Task::start(&*progress, &label, Unit::Bytes, size));
            task.advance(bytes);
        };
        let options = PrepareOptions {
            advance: Some(&advance),
            cancel: cancel.clone(),
            ..PrepareOptions::default()
        };
        foreign::prepare(&self.snapshot, &options)?;
        Ok(())
    }
}

/// Gives the mount point of the tarball at `path`, unless the user chose another.
pub(super) fn default_mount_point(environment: &Environment, path: &Path) -> Result<PathBuf, CommandError> {
    let [beside, elsewhere] = places(environment, &real_path(path)?);
    let is_ours = durable::close(beside.directory()).map_err(CommandError::failed)?;
    let place = if is_ours && (beside.index().exists() || beside.mount_point().exists()) {
        beside
    } else {
        elsewhere
    };
    Ok(place.mount_point())
}

/// Makes the directory for what oic keeps of the file `real`: beside it, or else in the work directory.
fn place_of(environment: &Environment, real: &Path) -> Result<TarballPlace, CommandError> {
    let [beside, elsewhere] = places(environment, real);
    if make_private(beside.directory()).is_ok() {
        return Ok(beside);
    }
    // The directory itself is not writable for the user.
    make_private(elsewhere.directory())?;
    Ok(elsewhere)
}

/// Makes the directory for what oic keeps of the disk image `real`, and returns the mount point in it.
pub(super) fn own_mount_point(environment: &Environment, real: &Path) -> Result<PathBuf, CommandError> {
    Ok(place_of(environment, real)?.mount_point())
}

/// Gives the directories for the files of a tarball: beside it, and in the work directory.
fn places(environment: &Environment, real: &Path) -> [TarballPlace; 2] {
    let digest = Sha256::of(real.as_os_str().as_encoded_bytes()).to_string();
    let name = digest.get(..16).unwrap_or(&digest);
    [
        TarballPlace::beside(real),
        TarballPlace::in_work_dir(&environment.work_dir(), name),
    ]
}

pub(super) fn real_path(path: &Path) -> Result<PathBuf, CommandError> {
    Ok(fs::canonicalize(path).map_err(PathError::on("find", path))?)
}

/// Makes the directory, unless it exists, for the caller alone, and checks that it can be written.
fn make_private(directory: &Path) -> Result<(), PathError> {
    durable::private_directory(directory)?;
    rustix::fs::access(directory, rustix::fs::Access::WRITE_OK)
        .map_err(|errno| PathError::on("write to", directory)(errno.into()))
}

/// Makes the error of a command that may not read `path`, or cannot.
pub(super) fn unreadable(path: &Path, error: std::io::Error) -> CommandError {
    let closed = error.kind() == ErrorKind::PermissionDenied;
    let failed = CommandError::failed(PathError::on("look at", path)(error));
    failed.hint(closed.then_some("what a build keeps is open to its owner alone: run the same command with sudo"))
}
