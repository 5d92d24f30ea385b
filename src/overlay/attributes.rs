//! Changing metadata.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, fchmod, fstat, ftruncate};

use super::Overlay;
use super::ino::Ino;
use super::layer::{Errno, FileKind, LayerResult};
use super::node::Node;
use super::stat::{Caller, Change, Stat};
use crate::sync::Arc;

const SET_USER_ID: u32 = libc::S_ISUID;
const SET_GROUP_ID: u32 = libc::S_ISGID;
const GROUP_EXECUTE: u32 = libc::S_IXGRP;

impl Overlay {
    /// Changes what `change` names and returns the metadata after it. Set-id bits and capabilities
    /// go where Linux takes them away (chown(2), truncate(2)).
    ///
    /// # Errors
    /// `EISDIR`, `EINVAL` if the size of something without one is to be set, `EROFS`, or what the upper's file system says.
    pub fn setattr(&self, caller: Caller, ino: Ino, change: &Change) -> LayerResult<Stat> {
        let node = self.table.get(ino)?;
        if *change == Change::default() {
            return self.stat(&self.read_names(), &node);
        }
        if let Some(size_bytes) = change.size_bytes {
            self.set_size(caller, &node, size_bytes)?;
        }
        self.copy_up(&node, u64::MAX)?;
        let names = self.read_names();
        let place = self.place(&names, &node)?;
        if change.uid.is_some() || change.gid.is_some() {
            place.set_owner(change.uid, change.gid)?;
        }
        if let Some(permissions) = change.permissions {
            if node.kind == FileKind::Symlink {
                return Err(Errno::OPNOTSUPP.into());
            }
            place.set_permissions(permissions)?;
        }
        if change.accessed.is_some() || change.modified.is_some() {
            place.set_times(change.accessed, change.modified)?;
        }
        self.stat(&names, &node)
    }

    fn set_size(&self, caller: Caller, node: &Arc<Node>, size_bytes: u64) -> LayerResult<()> {
        match node.kind {
            FileKind::Regular => {}
            FileKind::Directory => return Err(Errno::ISDIR.into()),
            _ => return Err(Errno::INVAL.into()),
        }
        self.copy_up(node, size_bytes)?;
        let io = self.io(node)?;
        ftruncate(&io, size_bytes)?;
        if !caller.keeps_set_id() {
            drop_set_id(&io)?;
        }
        Ok(())
    }
}

/// After a change of content by somebody who must not leave set-id bits behind: takes them away.
pub(super) fn drop_set_id(io: &OwnedFd) -> Result<(), Errno> {
    let permissions = fstat(io)?.st_mode & 0o7777;
    let mut kept = permissions & !SET_USER_ID;
    // Without group execution the bit means something else (inode(7), mandatory locking).
    if permissions & GROUP_EXECUTE != 0 {
        kept &= !SET_GROUP_ID;
    }
    if kept != permissions {
        fchmod(io, Mode::from_raw_mode(kept))?;
    }
    Ok(())
}
