//! Takes away the set-id bits and file capabilities that a changed file must not keep (chown(2), write(2),
//! capabilities(7)).
//!
//! The rules are those of `setattr_should_drop_suidgid` in Linux. They are applied here because the upper is written
//! by this process, for which the kernel makes an exception (`CAP_FSETID`). Capabilities need nothing: the kernel
//! takes them away at every write, and only a change through a mapping keeps them.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, XattrFlags, fchmod, fgetxattr, fsetxattr, fstat};

use super::layer::Errno;
use super::place::Place;
use super::stat::Caller;

const SET_USER_ID: u32 = libc::S_ISUID;
const SET_GROUP_ID: u32 = libc::S_ISGID;
const GROUP_EXECUTE: u32 = libc::S_IXGRP;

/// The attribute that holds file capabilities (capabilities(7), "File capabilities").
const CAPABILITY: &str = "security.capability";
/// The size of its largest form (`XATTR_CAPS_SZ_3` in `linux/capability.h`), in bytes.
const CAPABILITY_BYTES: usize = 24;

/// The process that asks for a change, as far as set-id bits depend on it (credentials(7)).
///
/// Only a file that has such bits is worth the questions, so an implementation may look up its answers when asked.
pub trait Credentials {
    /// Returns whether the process has `CAP_FSETID`.
    fn keeps_set_id(&self) -> bool;

    /// Returns whether `group` is the process's group or one of its supplementary groups.
    fn is_in_group(&self, group: u32) -> bool;
}

impl Credentials for Caller {
    fn keeps_set_id(&self) -> bool {
        self.uid == 0
    }

    fn is_in_group(&self, group: u32) -> bool {
        self.gid == group
    }
}

/// Takes the set-id bits of the regular file `io` away, unless `caller` may leave them behind. To be called before its
/// content changes.
///
/// # Errors
/// Those of fstat(2) and fchmod(2).
pub(super) fn drop_set_id(io: &OwnedFd, caller: &dyn Credentials) -> Result<(), Errno> {
    let stat = fstat(io)?;
    let permissions = stat.st_mode & 0o7777;
    let kept = after_change(permissions, stat.st_gid, caller);
    if kept != permissions {
        fchmod(io, Mode::from_raw_mode(kept))?;
    }
    Ok(())
}

/// Returns what a change of content by `caller` leaves of `permissions`, those of a regular file of the group `group`.
fn after_change(permissions: u32, group: u32, caller: &dyn Credentials) -> u32 {
    if permissions & (SET_USER_ID | SET_GROUP_ID) == 0 || caller.keeps_set_id() {
        return permissions;
    }
    let kept = permissions & !SET_USER_ID;
    // Without group execution the bit stands for mandatory locking (inode(7)), and stays for members.
    let stays = permissions & GROUP_EXECUTE == 0 && caller.is_in_group(group);
    if stays { kept } else { kept & !SET_GROUP_ID }
}

/// Sets the owner of what is no directory. The kernel takes the set-id bits away; the one that stands for mandatory
/// locking is left to us, because it would stay for this process, which has `CAP_FSETID`.
///
/// # Errors
/// Those of stat(2), chown(2) and chmod(2).
pub(super) fn set_owner(
    place: &Place,
    uid: Option<u32>,
    gid: Option<u32>,
    caller: &dyn Credentials,
) -> Result<(), Errno> {
    let before = place.stat()?;
    let is_locking = before.st_mode & (SET_GROUP_ID | GROUP_EXECUTE) == SET_GROUP_ID;
    let stays = !is_locking || caller.is_in_group(before.st_gid) || caller.keeps_set_id();
    place.set_owner(uid, gid)?;
    if !stays {
        let permissions = before.st_mode & 0o7777;
        place.set_permissions(permissions & !(SET_USER_ID | SET_GROUP_ID))?;
    }
    Ok(())
}

/// Calls `write`, and gives the file `io` back the capabilities that this has cost it.
///
/// # Errors
/// Those of `write`, of fgetxattr(2) and of fsetxattr(2).
pub(super) fn keep_capabilities<T>(io: &OwnedFd, write: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    let mut value = [0; CAPABILITY_BYTES];
    let length = match fgetxattr(io, CAPABILITY, &mut value) {
        Ok(length) => Some(length),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => None,
        Err(errno) => return Err(errno),
    };
    let written = write()?;
    if let Some(value) = length.and_then(|length| value.get(..length)) {
        fsetxattr(io, CAPABILITY, value, XattrFlags::empty())?;
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_depends_on_mode_group_and_capability() {
        let caller = |uid, gid| Caller { uid, gid };
        for (permissions, caller, kept) in [
            (0o6777, caller(0, 0), 0o6777),
            (0o6777, caller(7, 50), 0o777),
            (0o4666, caller(7, 50), 0o666),
            (0o2666, caller(7, 50), 0o2666),
            (0o2666, caller(7, 7), 0o666),
            (0o6666, caller(7, 50), 0o2666),
            (0o1777, caller(7, 7), 0o1777),
        ] {
            assert_eq!(
                after_change(permissions, 50, &caller),
                kept,
                "{permissions:o} {caller:?}"
            );
        }
    }
}
