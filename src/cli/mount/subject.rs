//! What `oic mount` is asked to show: a provider's base, itself or through a template, or a tarball.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::durable::PathError;
use crate::package::Sha256;
use crate::progress::Unit;
use crate::snapshot::SnapshotPaths;
use crate::snapshot::foreign::{self, PrepareOptions};
use crate::template::Loaded;
use crate::workspace::{TarballPlace, Workspace};

use super::super::environment::Environment;
use super::super::error::CommandError;
use super::super::{interrupt, progress};

/// A base, and where what belongs to it lies.
pub(super) struct Subject {
    pub(super) snapshot: SnapshotPaths,
    /// Writable layers over it.
    pub(super) mounts: PathBuf,
    /// Where it is shown unless another place is asked for.
    pub(super) mount_point: PathBuf,
    /// Whose base it is, and the template that told so. A tarball is nobody's.
    pub(super) provider: Option<(Workspace, Option<Loaded>)>,
}

impl Subject {
    /// What `argument` names: a provider id, a template, or a tarball.
    pub(super) fn of(environment: &Environment, argument: &OsStr) -> Result<Self, CommandError> {
        if foreign::is_tarball(Path::new(argument)) {
            return Self::tarball(environment, Path::new(argument));
        }
        let (provider, loaded) = super::named(environment, argument)?;
        let workspace = Workspace::new(&environment.cache_dir(), &environment.work_dir(), &provider);
        if !workspace.tarball().exists() {
            let missing = CommandError::failed(format!(
                "there is no base of {provider} yet: {} is missing",
                workspace.tarball().display()
            ));
            return Err(missing.hint(Some("oic build makes it; --work-dir says where to look")));
        }
        Ok(Self {
            snapshot: SnapshotPaths::of(&workspace),
            mounts: workspace.mounts(),
            mount_point: workspace.chrootenv(),
            provider: Some((workspace, loaded)),
        })
    }

    fn tarball(environment: &Environment, path: &Path) -> Result<Self, CommandError> {
        let real = real_path(path)?;
        let [beside, elsewhere] = places(environment, &real);
        let place = if make_private(beside.directory()).is_ok() {
            beside
        } else {
            // Its directory is not ours to write.
            let directory = elsewhere.directory();
            make_private(directory).map_err(|error| CommandError::failed(PathError::on("create", directory)(error)))?;
            elsewhere
        };
        Ok(Self {
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

    /// Makes sure that it has an index.
    pub(super) fn prepare(&self) -> Result<(), CommandError> {
        let name = self.snapshot.tarball.file_name().unwrap_or_default().display();
        let size = fs::metadata(&self.snapshot.tarball).map(|metadata| metadata.len()).ok();
        let progress = progress::for_stderr();
        let task = std::cell::OnceCell::new();
        let label = format!("Reading {name} once, to make its index");
        let advance = |bytes| {
            let task = task.get_or_init(|| progress.start(&label, Unit::Bytes, size));
            progress.advance(*task, bytes);
        };
        let options = PrepareOptions {
            advance: Some(&advance),
            cancel: interrupt::install().map_err(CommandError::failed)?,
            ..PrepareOptions::default()
        };
        let prepared = foreign::prepare(&self.snapshot, &options);
        if let Some(task) = task.get() {
            progress.finish(*task);
        }
        let failed = |error: crate::snapshot::SnapshotError| CommandError::failed(&error).hint(error.hint());
        prepared.map(drop).map_err(failed)
    }
}

/// Where the mount of the tarball at `path` is, if it was not asked for elsewhere.
pub(super) fn default_mount_point(environment: &Environment, path: &Path) -> Result<PathBuf, CommandError> {
    let [beside, elsewhere] = places(environment, &real_path(path)?);
    let place = if beside.index().exists() { beside } else { elsewhere };
    Ok(place.mount_point())
}

/// The directories for what belongs to a tarball: beside it, and in the work directory.
fn places(environment: &Environment, real: &Path) -> [TarballPlace; 2] {
    let digest = Sha256::of(real.as_os_str().as_encoded_bytes()).to_string();
    let name = digest.get(..16).unwrap_or(&digest);
    [
        TarballPlace::beside(real),
        TarballPlace::in_work_dir(&environment.work_dir(), name),
    ]
}

fn real_path(path: &Path) -> Result<PathBuf, CommandError> {
    fs::canonicalize(path).map_err(|error| CommandError::failed(PathError::on("find", path)(error)))
}

/// Makes the directory, unless it is there, and sees whether it can be written.
fn make_private(directory: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    Ok(rustix::fs::access(directory, rustix::fs::Access::WRITE_OK)?)
}
