//! The chroot base: reused if its key is the same, else made beside the old one and switched.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;

use crate::archive::unpack::UnpackOptions;
use crate::base::BaseRequest;
use crate::cancel::Cancel;
use crate::durable::{self, FileLock, ScratchDir};
use crate::layer::Times;
use crate::mount::memory;
use crate::mount::session::THIS_PROGRAM;
use crate::package::{Resolution, Sha256};
use crate::snapshot::{self, Snapshot, SnapshotPaths, WriteOptions};
use crate::system::System;

use super::dates::{self, Dates};
use crate::pipeline::context::Context;
use crate::pipeline::error::BuildError;
use crate::pipeline::full;
use crate::pipeline::packages::Cached;
use crate::pipeline::select::selection::Selection;
use crate::resolve::lockfile::Newest;

/// The version of the base; it counts up when the same packages would become another base.
const BASE_VERSION: u32 = 3;

/// Makes a digest over all that shapes the base of the provider; its scripts take `epoch_seconds` for the time.
fn key(provider: &str, base: &Resolution, epoch_seconds: u64) -> Sha256 {
    let mut text = format!(
        "oic base {BASE_VERSION}, snapshot {}\nprovider {provider}\nepoch {epoch_seconds}\n",
        snapshot::VERSION
    );
    for package in &base.packages {
        text += &format!(
            "{} {} {} {}\n",
            package.name, package.version, package.architecture, package.checksum
        );
    }
    Sha256::of(text)
}

/// How the build came by its base.
#[derive(Debug, Clone, Copy)]
pub struct BaseState {
    /// The digest over all that the base is made from.
    pub key: Sha256,
    /// Whether an earlier build made it.
    pub reused: bool,
    /// Number of its packages.
    pub packages: usize,
}

impl BaseState {
    /// Describes the base of `selection`, as one that an earlier build made.
    fn of(context: &Context<'_>, selection: &Selection, newest: Newest) -> Self {
        let epoch_seconds = Dates::of(context, newest).scripts;
        Self {
            key: key(&context.loaded().provider.id(), &selection.base, epoch_seconds),
            reused: true,
            packages: selection.base.packages.len(),
        }
    }
}

/// Gives the paths of the snapshot's files.
pub fn paths(context: &Context<'_>) -> SnapshotPaths {
    SnapshotPaths::of(&context.workspace)
}

/// Finds the snapshot that `selection` needs, if an earlier build made it. With the dates of the newest packages that
/// takes no package.
///
/// # Errors
/// If the directory of bases cannot be used.
pub fn find(context: &Context<'_>, selection: &Selection, newest: Newest) -> Result<Option<BaseState>, BuildError> {
    let _lock = lock(context)?;
    let state = BaseState::of(context, selection, newest);
    Ok(is_current(context, state.key).then_some(state))
}

/// Makes sure that the snapshot is the one that `selection` needs; its packages are `cached`.
///
/// # Errors
/// If it cannot be made.
pub fn ensure(context: &Context<'_>, selection: &Selection, cached: &Cached) -> Result<BaseState, BuildError> {
    let _lock = lock(context)?;
    let newest = dates::newest(context, selection, cached)?;
    let state = BaseState::of(context, selection, newest);
    if is_current(context, state.key) {
        return Ok(state);
    }
    make(
        context,
        selection,
        cached,
        state.key,
        Dates::of(context, newest).scripts,
    )?;
    context.shared.note_made(&context.workspace.chrootbuild(), state.key);
    Ok(BaseState { reused: false, ..state })
}

/// Waits for other builds that make the base, and removes what killed ones left.
fn lock(context: &Context<'_>) -> Result<FileLock, BuildError> {
    let directory = context.workspace.chrootbuild();
    durable::private_directory(&directory)?;
    let lock = FileLock::exclusive_unless(&context.workspace.base_lock(), context.work.cancel, || {
        let progress = context.work.progress;
        progress.note("waiting for another build that makes the base");
    })?;
    durable::sweep_temporaries(&directory)?;
    Ok(lock)
}

/// Says whether the build may use the snapshot on disk. Of several builds from scratch in one call, the first makes the
/// base.
fn is_current(context: &Context<'_>, key: Sha256) -> bool {
    let is_fresh = !context.request.from_scratch || context.shared.has_made(&context.workspace.chrootbuild(), key);
    is_fresh && is_usable(context, key)
}

/// Says whether the snapshot on disk is whole and has this key; if not, logs why.
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

/// Makes the snapshot `key` from the packages of the base; their scripts take `epoch_seconds` for the time.
fn make(
    context: &Context<'_>,
    selection: &Selection,
    cached: &Cached,
    key: Sha256,
    epoch_seconds: u64,
) -> Result<(), BuildError> {
    let times = Times::begin(epoch_seconds);
    let scratch = ScratchDir::create_in(&context.workspace.chrootbuild())?;
    // Unpacked twice while it is configured, with databases and logs besides.
    let room_bytes = selection.base.installed_size_bytes().saturating_mul(4);
    let _memory = memory::mount(scratch.path(), room_bytes)?;
    let root = scratch.path().join("root");
    durable::public_directory(&root)?;
    let installed = install(context, selection, cached, &root, epoch_seconds);
    installed.map_err(|error| full::explain(error, &[&context.workspace.chrootbuild()]))?;
    context.work.cancel.check()?;
    let options = WriteOptions {
        keep_attribute: durable::is_of_image,
        times: Some(times),
        cancel: context.work.cancel.clone(),
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

/// Installs the packages of the base into the empty directory `root`; their scripts take `epoch_seconds` for the time.
///
/// # Errors
/// As [`System::bootstrap`].
pub fn install(
    context: &Context<'_>,
    selection: &Selection,
    cached: &Cached,
    root: &Path,
    epoch_seconds: u64,
) -> Result<(), BuildError> {
    let mut packages = Vec::new();
    for package in &selection.base.packages {
        packages.push((package.clone(), cached.path(package)?.to_owned()));
    }
    let system = context.system;
    let report = system.bootstrap(
        &BaseRequest {
            packages: &packages,
            root,
            arch: context.loaded().template.target.arch,
            epoch: epoch_seconds,
            helper: Path::new(THIS_PROGRAM),
            unpack: &|file, root| unpack(system, file, root, context.work.cancel),
        },
        context.work,
    )?;
    for warning in report.warnings {
        tracing::warn!("{warning}");
    }
    Ok(())
}

/// Unpacks the files of the package `file` into `root`.
fn unpack(
    system: &dyn System,
    file: &Path,
    root: &Path,
    cancel: &Cancel,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let options = UnpackOptions {
        cancel: cancel.clone(),
        ..UnpackOptions::default()
    };
    let root = File::open(root)?;
    Ok(system.unpack(file, root.as_fd(), &options)?)
}
