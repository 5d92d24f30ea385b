//! The chroot base: reused if its key is the same, else made beside the old one and switched.

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::Path;

use crate::archive;
use crate::archive::deb::Deb;
use crate::archive::unpack::UnpackOptions;
use crate::base::{self, BaseRequest};
use crate::cancel::Cancel;
use crate::durable::{self, FileLock, PathError, ScratchDir};
use crate::mount::memory;
use crate::mount::session::THIS_PROGRAM;
use crate::package::{Resolution, Sha256};
use crate::provider::PackageSystem;
use crate::snapshot::{self, Snapshot, SnapshotPaths, WriteOptions};

use super::packages::{Cached, Selection};
use super::{BuildError, Context};

/// Counts up when the same packages would become another base.
const BASE_VERSION: u32 = 1;

/// A digest over all that shapes the base of the provider; its scripts take `epoch_seconds` for the time.
fn key(provider: &str, base: &Resolution, epoch_seconds: u64) -> Sha256 {
    let mut text = format!(
        "oic base {BASE_VERSION}, snapshot {}\nprovider {provider}\nepoch {epoch_seconds}\n",
        snapshot::VERSION
    );
    for package in &base.packages {
        text += &format!(
            "{} {} {} {}\n",
            package.name, package.version, package.architecture, package.sha256
        );
    }
    Sha256::of(text)
}

/// How the base came to be there.
#[derive(Debug, Clone, Copy)]
pub(super) struct BaseState {
    /// Identifies what it is made from.
    pub key: Sha256,
    /// An earlier build made it.
    pub reused: bool,
    /// Packages in it.
    pub packages: usize,
}

/// The files of the snapshot.
pub(super) fn paths(context: &Context<'_>) -> SnapshotPaths {
    SnapshotPaths::of(&context.workspace)
}

/// Makes sure that the snapshot is the one that `selection` needs.
pub(super) fn ensure(context: &Context<'_>, selection: &Selection, cached: &Cached) -> Result<BaseState, BuildError> {
    let directory = context.workspace.chrootbuild();
    fs::create_dir_all(&directory).map_err(PathError::on("create", &directory))?;
    let _lock = FileLock::exclusive_unless(&context.workspace.base_lock(), context.cancel, || {
        context.progress.note("waiting for another build that makes the base");
    })?;
    durable::sweep_temporaries(&directory)?;
    let provider = context.request.loaded.provider.id();
    let key = key(&provider, &selection.base, cached.dates().scripts);
    let state = |reused| BaseState {
        key,
        reused,
        packages: selection.base.packages.len(),
    };
    if is_usable(context, key) {
        return Ok(state(true));
    }
    make(context, selection, cached, key)?;
    Ok(state(false))
}

/// Whether the snapshot on disk is whole and has this key; says why not.
fn is_usable(context: &Context<'_>, key: Sha256) -> bool {
    let paths = paths(context);
    if !paths.tarball.exists() {
        return false;
    }
    match Snapshot::open(&paths).map(|snapshot| snapshot.base_key()) {
        Ok(found) if found == key => true,
        Ok(_) => {
            tracing::info!("the base's packages have changed; it is made again");
            false
        }
        Err(error) => {
            let tarball = paths.tarball.display();
            tracing::warn!(%error, "{tarball} cannot be used; the base is made again");
            false
        }
    }
}

fn make(context: &Context<'_>, selection: &Selection, cached: &Cached, key: Sha256) -> Result<(), BuildError> {
    let scratch = ScratchDir::create_in(&context.workspace.chrootbuild())?;
    // Unpacked twice while it is configured, with databases and logs besides.
    let room_bytes = selection.base.installed_size_bytes().saturating_mul(4);
    let _memory = memory::mount(scratch.path(), room_bytes)?;
    let root = scratch.path().join("root");
    fs::create_dir(&root).map_err(PathError::on("create", &root))?;
    let mut packages = Vec::new();
    for package in &selection.base.packages {
        let path = cached
            .path(package)
            .ok_or_else(|| BuildError::NotCached(package.file_name()))?;
        packages.push((package.clone(), path.to_owned()));
    }
    let system = context.request.loaded.provider.package_system;
    let report = base::bootstrap(
        &BaseRequest {
            system,
            packages: &packages,
            root: &root,
            arch: context.request.loaded.template.target.arch,
            epoch: cached.dates().scripts,
            helper: Path::new(THIS_PROGRAM),
            unpack: &|file, root| unpack(system, file, root, context.cancel),
        },
        context.progress,
        context.cancel,
    )?;
    for warning in report.warnings {
        tracing::warn!("{warning}");
    }
    context.cancel.check()?;
    let options = WriteOptions {
        cancel: context.cancel.clone(),
        ..WriteOptions::new(key)
    };
    let paths = paths(context);
    let summary = snapshot::write(&root, &paths.tarball, &paths.index, &options)?;
    tracing::info!(
        entries = summary.entries,
        bytes = summary.compressed_bytes,
        "snapshot written"
    );
    Ok(())
}

/// Unpacks the files of the package `file` into `root`.
fn unpack(
    system: PackageSystem,
    file: &Path,
    root: &Path,
    cancel: &Cancel,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let options = UnpackOptions {
        cancel: cancel.clone(),
        ..UnpackOptions::default()
    };
    let root = File::open(root)?;
    match system {
        PackageSystem::Deb => archive::deb::extract(&mut Deb::open(file)?, root.as_fd(), &options)?,
        PackageSystem::Rpm => archive::rpm::extract(file, root.as_fd(), &options)?,
    };
    Ok(())
}
