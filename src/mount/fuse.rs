//! Makes a FUSE mount and the descriptor through which it is served.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::process::{getegid, geteuid};

use super::api::Context;
use super::{Detached, Label, MountError, Restrictions, helper};
use crate::durable::PathError;

/// A FUSE file system that has no server yet.
#[derive(Debug)]
pub struct Unserved {
    /// The descriptor for the server; while any copy of it is open, users of the mount wait for answers.
    pub device: OwnedFd,
    /// The mount for the users.
    pub mount: Detached,
}

/// Makes a file system as [`create`] does; without the privilege to mount, through `fusermount3`, which attaches it at
/// `mount_point` already.
///
/// # Errors
/// Those of [`create`], and if `fusermount3` refuses or is missing.
pub(super) fn create_at(
    mount_point: &Path,
    restrictions: Restrictions,
    allow_other: bool,
    label: &Label,
) -> Result<Unserved, MountError> {
    match create(restrictions, allow_other, label) {
        Err(error) if is_forbidden(&error) => {
            let device = helper::mount(mount_point, restrictions, allow_other, label)?;
            let mount = Detached::attached_at(mount_point)?;
            Ok(Unserved { device, mount })
        }
        made => made,
    }
}

fn is_forbidden(error: &MountError) -> bool {
    let source = match error {
        MountError::Refused { source, .. } => source,
        MountError::Path(error) => &error.source,
        _ => return false,
    };
    source.kind() == io::ErrorKind::PermissionDenied
}

/// Makes a FUSE file system of type `fuse.oic`. Permissions are checked by the kernel
/// (`default_permissions`); with `allow_other` not only for the calling user. Its source names `label`.
///
/// # Errors
/// If `/dev/fuse` is missing or the kernel refuses.
pub fn create(restrictions: Restrictions, allow_other: bool, label: &Label) -> Result<Unserved, MountError> {
    let path = "/dev/fuse";
    let device = rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| PathError::on("open", path)(errno.into()))?;
    let context = Context::open("fuse", label)?;
    context.set("subtype", "oic")?;
    context.set("fd", device.as_fd().as_raw_fd().to_string())?;
    context.set("rootmode", "40000")?;
    context.set("user_id", geteuid().as_raw().to_string())?;
    context.set("group_id", getegid().as_raw().to_string())?;
    context.flag("default_permissions")?;
    if allow_other {
        context.flag("allow_other")?;
    }
    if restrictions.read_only {
        context.flag("ro")?;
    }
    let mount = context.mount(restrictions)?;
    Ok(Unserved { device, mount })
}
