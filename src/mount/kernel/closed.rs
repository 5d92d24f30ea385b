//! Keeps other users out of an overlayfs, which has no option for that (`docs/decisions/0018-private-mounts.md`): its
//! root directory, which is that of the topmost layer, belongs to the mounting user and has mode 0700. No path leads
//! past it, whatever the permissions below are.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use rustix::fs::{XattrFlags, getxattr, removexattr, setxattr};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid};

use super::super::api::{Attached, Context};
use super::super::{Label, MountError, Restrictions};
use crate::durable::PathError;

/// The mode of a closed root directory.
const CLOSED: u32 = 0o700;

/// The attribute of an upper's work directory that keeps mode, owner and group of the upper's root directory while
/// this is closed: octal, then decimal numbers.
const KEPT: &str = "trusted.oic.root";

/// The most bytes of that attribute.
const KEPT_BYTES_MAX: usize = 64;

/// Closes the root directory of the upper `directory` until [`reopen`]; `work` is its work directory.
///
/// # Errors
/// If mode or owner cannot be kept or set. The directory is then as it was, or closed.
pub(super) fn close(directory: &Path, work: &Path) -> Result<(), PathError> {
    let found = fs::metadata(directory).map_err(PathError::on("look at", directory))?;
    let kept = format!("{:o} {} {}", found.mode() & 0o7777, found.uid(), found.gid());
    setxattr(work, KEPT, kept.as_bytes(), XattrFlags::empty())
        .map_err(|errno| PathError::on("set an attribute of", work)(errno.into()))?;
    set(directory, (CLOSED, geteuid().as_raw(), getegid().as_raw()))
}

/// Gives the root directory of the upper `directory` its mode and owner back, if it is still as [`close`] left it.
///
/// # Errors
/// If these were kept and cannot be read or set.
pub(super) fn reopen(directory: &Path, work: &Path) -> Result<(), PathError> {
    let on_work = |errno: Errno| PathError::on("read an attribute of", work)(errno.into());
    let mut buffer = [0; KEPT_BYTES_MAX];
    let kept = match getxattr(work, KEPT, &mut buffer) {
        Ok(length) => buffer.get(..length).unwrap_or_default(),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => return Ok(()),
        Err(errno) => return Err(on_work(errno)),
    };
    let found = fs::metadata(directory).map_err(PathError::on("look at", directory))?;
    // Another mode was set through the mount, so it is wanted.
    if found.mode() & 0o7777 == CLOSED {
        set(directory, parse(kept).ok_or_else(|| on_work(Errno::INVAL))?)?;
    }
    removexattr(work, KEPT).map_err(|errno| PathError::on("remove an attribute of", work)(errno.into()))
}

/// Reads a value of [`KEPT`].
fn parse(kept: &[u8]) -> Option<(u32, u32, u32)> {
    let mut fields = std::str::from_utf8(kept).ok()?.split(' ');
    let mode = u32::from_str_radix(fields.next()?, 8)
        .ok()
        .filter(|mode| *mode <= 0o7777)?;
    let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    fields.next().is_none().then_some((mode, uid, gid))
}

/// Sets owner, group and mode. While it is at work, the directory is open to fewer users than before or after.
fn set(directory: &Path, (mode, uid, gid): (u32, u32, u32)) -> Result<(), PathError> {
    let change = |mode| fs::set_permissions(directory, fs::Permissions::from_mode(mode));
    change(CLOSED)
        .and_then(|()| chown(directory, Some(uid), Some(gid)))
        // Another owner may take bits away (chown(2)).
        .and_then(|()| change(mode))
        .map_err(PathError::on("set mode and owner of", directory))
}

/// A file system for an overlay that has no upper, which vanishes with the namespace or the value: an empty, closed
/// directory as the topmost layer, and a place to mount the others at.
#[derive(Debug)]
pub(in crate::mount) struct Room {
    layer: PathBuf,
    place: PathBuf,
    _mount: Attached,
}

impl Room {
    /// Mounts it at `at`.
    ///
    /// # Errors
    /// If the kernel refuses, or a directory cannot be made.
    pub(in crate::mount) fn mount(at: &Path) -> Result<Self, MountError> {
        let mount = Context::open("tmpfs", &Label::default())?
            .mount(Restrictions::BUILD)?
            .attach(at)?;
        let make = |name: &str| {
            let path = mount.mount_point().join(name);
            let made = fs::DirBuilder::new().mode(CLOSED).create(&path);
            made.map_err(PathError::on("create", &path)).map(|()| path)
        };
        Ok(Self {
            layer: make("layer")?,
            place: make("place")?,
            _mount: mount,
        })
    }

    /// Returns the closed directory.
    pub(in crate::mount) fn layer(&self) -> &Path {
        &self.layer
    }

    /// Returns the place for other mounts.
    pub(in crate::mount) fn place(&self) -> &Path {
        &self.place
    }
}
