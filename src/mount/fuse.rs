//! Makes a FUSE mount and the descriptor through which it is served.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::process::{getegid, geteuid};

use super::api::Context;
use super::{Detached, MountError, Restrictions, helper};
use crate::durable::PathError;

/// A FUSE file system that nobody serves yet.
#[derive(Debug)]
pub struct Unserved {
    /// For the server; while any copy of it is open, users of the mount wait for answers.
    pub device: OwnedFd,
    /// For the users.
    pub mount: Detached,
}

/// As [`create`]; without the privilege to mount, through `fusermount3`, and then attached at `mount_point` already.
///
/// # Errors
/// As [`create`], and if `fusermount3` refuses or is not there.
pub(super) fn create_at(
    mount_point: &Path,
    restrictions: Restrictions,
    allow_other: bool,
) -> Result<Unserved, MountError> {
    match create(restrictions, allow_other) {
        Err(error) if is_forbidden(&error) => {
            let device = helper::mount(mount_point, restrictions, allow_other)?;
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
/// (`default_permissions`); with `allow_other` not only for the calling user.
///
/// # Errors
/// If there is no `/dev/fuse` or the kernel refuses.
pub fn create(restrictions: Restrictions, allow_other: bool) -> Result<Unserved, MountError> {
    let path = "/dev/fuse";
    let device = rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| PathError::on("open", path)(errno.into()))?;
    let context = Context::open("fuse")?;
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
