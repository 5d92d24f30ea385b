//! The kernel's overlayfs over our read-only layers.
//!
//! Options, and why (Documentation/filesystems/overlayfs.rst of Linux):
//! - `index=on`: a hard link of the base stays one file when it is copied up, and an upper
//!   can neither be used twice at once nor over another base.
//! - `xino=on`: one device number for the whole tree and inode numbers that survive copy-up
//!   and remount, on which `tar`, `cp -a`, `find -xdev` and `rsync -H` rely.
//! - `redirect_dir=off`, `metacopy=off`: the upper keeps to what every reader of the overlayfs
//!   format understands; with them an upper has directories and files whose content
//!   only the kernel finds. Renaming a base directory gives `EXDEV`, which `rename(2)` callers
//!   have to handle on any system, and `mv` does.
//! - `volatile`: no `fsync` reaches the disk, for builds. The kernel then refuses the upper until
//!   [`settle`] has written it out, so that an upper torn by a crash is never taken for a good one.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::api::{Context, open_directory};
use super::{Attached, Detached, MountError, Restrictions};
use crate::durable::PathError;

/// The writable layer of an overlay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upper {
    /// What was added, changed and removed, in the Linux overlayfs format.
    pub directory: PathBuf,
    /// The kernel's scratch directory, on the same file system; private to it.
    pub work: PathBuf,
    /// Nothing is synced, for speed; see [`settle`].
    pub volatile: bool,
}

/// An overlay to be mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverlaySpec {
    /// Read-only layers, the topmost first; without an upper at least two.
    pub lower: Vec<PathBuf>,
    /// Where changes go; without it the overlay is read-only.
    pub upper: Option<Upper>,
    /// Restrictions of the mount.
    pub restrictions: Restrictions,
}

/// Mounts the overlay at `mount_point`.
///
/// # Errors
/// As [`create`], and if it cannot be attached.
pub fn mount(spec: &OverlaySpec, mount_point: &Path) -> Result<Attached, MountError> {
    create(spec)?.attach(mount_point)
}

/// Makes the overlay, attached nowhere yet.
///
/// # Errors
/// [`MountError::Unsettled`] or [`MountError::ForeignUpper`] if the upper must not be used,
/// [`MountError::Busy`] if another overlay uses it, or the kernel's refusal.
pub fn create(spec: &OverlaySpec) -> Result<Detached, MountError> {
    if let Some(upper) = &spec.upper
        && incompatible(&upper.work).exists()
    {
        return Err(MountError::Unsettled(upper.work.clone()));
    }
    let layers = Layers::open(spec)?;
    let context = layers.configure()?;
    for (key, value) in [
        ("index", "on"),
        ("xino", "on"),
        ("redirect_dir", "off"),
        ("metacopy", "off"),
    ] {
        context.set(key, value)?;
    }
    if spec.upper.as_ref().is_some_and(|upper| upper.volatile) {
        context.flag("volatile")?;
    }
    if spec.restrictions.read_only {
        context.flag("ro")?;
    }
    context.mount(spec.restrictions).map_err(|error| refine(error, spec))
}

/// Says what the kernel's errno means for this upper.
fn refine(error: MountError, spec: &OverlaySpec) -> MountError {
    let (MountError::Refused { source, .. }, Some(upper)) = (&error, &spec.upper) else {
        return error;
    };
    match source.raw_os_error() {
        Some(libc::ESTALE) => MountError::ForeignUpper(upper.directory.clone()),
        Some(libc::EBUSY) => MountError::Busy {
            mount_point: upper.directory.clone(),
            holders: Vec::new(),
        },
        _ => error,
    }
}

/// The directories of an overlay, opened.
struct Layers {
    lower: Vec<OwnedFd>,
    upper: Option<(OwnedFd, OwnedFd)>,
}

impl Layers {
    fn open(spec: &OverlaySpec) -> Result<Self, MountError> {
        Ok(Self {
            lower: spec
                .lower
                .iter()
                .map(|path| open_directory(path))
                .collect::<Result<_, _>>()?,
            upper: match &spec.upper {
                None => None,
                Some(upper) => Some((open_directory(&upper.directory)?, open_directory(&upper.work)?)),
            },
        })
    }

    /// A context with the layers set. Descriptors, because option values are limited to 255
    /// bytes: directly (Linux 6.13), else by their names in `/proc`, one by one
    /// (Linux 6.5) or joined.
    fn configure(&self) -> Result<Context, MountError> {
        self.configure_with(|context| {
            for lower in &self.lower {
                context.set_descriptor("lowerdir+", lower.as_fd())?;
            }
            if let Some((upper, work)) = &self.upper {
                context.set_descriptor("upperdir", upper.as_fd())?;
                context.set_descriptor("workdir", work.as_fd())?;
            }
            Ok(())
        })
        .or_else(|_| {
            self.configure_with(|context| {
                for lower in &self.lower {
                    context.set("lowerdir+", named(lower))?;
                }
                self.set_upper_by_name(context)
            })
        })
        .or_else(|_| {
            self.configure_with(|context| {
                let lower: Vec<_> = self.lower.iter().map(named).collect();
                context.set("lowerdir", lower.join(":"))?;
                self.set_upper_by_name(context)
            })
        })
    }

    fn configure_with(&self, set: impl FnOnce(&Context) -> Result<(), MountError>) -> Result<Context, MountError> {
        let context = Context::open("overlay")?;
        set(&context)?;
        Ok(context)
    }

    fn set_upper_by_name(&self, context: &Context) -> Result<(), MountError> {
        let Some((upper, work)) = &self.upper else {
            return Ok(());
        };
        context.set("upperdir", named(upper))?;
        context.set("workdir", named(work))
    }
}

fn named(descriptor: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", descriptor.as_raw_fd())
}

/// Makes the directories of `upper` where they are absent. A new upper's root gets mode and
/// owner of `base_root`: it is what the overlay shows as its root.
///
/// # Errors
/// If one cannot be made or `base_root` cannot be looked at.
pub fn prepare_upper(upper: &Upper, base_root: &Path) -> Result<(), MountError> {
    make_directory(&upper.work)?;
    if make_directory(&upper.directory)? {
        let root = fs::metadata(base_root).map_err(PathError::on("look at", base_root))?;
        let directory = &upper.directory;
        std::os::unix::fs::chown(directory, Some(root.uid()), Some(root.gid()))
            .map_err(PathError::on("set the owner of", directory))?;
        fs::set_permissions(directory, fs::Permissions::from_mode(root.mode() & 0o7777))
            .map_err(PathError::on("set the mode of", directory))?;
    }
    Ok(())
}

/// Makes `path`, with nobody else allowed in; tells whether it was absent.
fn make_directory(path: &Path) -> Result<bool, MountError> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(PathError::on("create", path)(error).into()),
    }
}

/// Writes the upper of an unmounted `volatile` overlay to disk, then allows to use it again.
///
/// # Errors
/// If syncing fails (the upper then stays refused) or the mark cannot be removed.
pub fn settle(upper: &Upper) -> Result<(), MountError> {
    let mark = incompatible(&upper.work);
    if !mark.exists() {
        return Ok(());
    }
    let directory = fs::File::open(&upper.directory).map_err(PathError::on("open", &upper.directory))?;
    rustix::fs::syncfs(&directory).map_err(|errno| PathError::on("sync", &upper.directory)(errno.into()))?;
    fs::remove_dir_all(&mark).map_err(PathError::on("remove", &mark))?;
    Ok(())
}

/// Where the kernel marks what an upper was used with ("Volatile mount" in overlayfs.rst).
fn incompatible(work: &Path) -> PathBuf {
    work.join("work/incompat")
}
