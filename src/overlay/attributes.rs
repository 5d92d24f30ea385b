//! Changing metadata.

use rustix::fs::ftruncate;

use super::Overlay;
use super::ino::Ino;
use super::layer::{Errno, FileKind, LayerResult};
use super::node::Node;
use super::place::Place;
use super::privileges::{Credentials, drop_set_id, set_owner};
use super::stat::{Change, Stat};
use crate::sync::Arc;

impl Overlay {
    /// Applies `change` and returns the metadata after it. Clears set-id bits and capabilities where Linux does so
    /// for a change by `caller` (chown(2), truncate(2)).
    ///
    /// # Errors
    /// `EISDIR`, `EINVAL` if the size of a node without one is to be set, `EROFS`, or what the upper's file system
    /// says.
    pub fn setattr(&self, caller: impl Credentials, ino: Ino, change: &Change) -> LayerResult<Stat> {
        let node = self.table.get(ino)?;
        if let Some(size_bytes) = change.size_bytes {
            self.set_size(&caller, &node, size_bytes)?;
        }
        self.copy_up(&node, u64::MAX)?;
        let names = self.read_names();
        let place = self.place(&names, &node)?;
        if *change == Change::default() {
            touch(&place, node.kind)?;
        }
        if change.uid.is_some() || change.gid.is_some() {
            match node.kind {
                FileKind::Directory => place.set_owner(change.uid, change.gid)?,
                _ => set_owner(&place, change.uid, change.gid, &caller)?,
            }
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

    fn set_size(&self, caller: &dyn Credentials, node: &Arc<Node>, size_bytes: u64) -> LayerResult<()> {
        match node.kind {
            FileKind::Regular => {}
            FileKind::Directory => return Err(Errno::ISDIR.into()),
            _ => return Err(Errno::INVAL.into()),
        }
        self.copy_up(node, size_bytes)?;
        let io = self.io(node)?;
        drop_set_id(&io, caller)?;
        Ok(ftruncate(&io, size_bytes)?)
    }
}

/// Changes the time of the inode and nothing else. That is what a request for no change stands for: chown(2) with neither
/// owner nor group, and the capabilities that a write takes away. Setting no owner would take the set-id bits away as
/// well, which such a write leaves to a process with `CAP_FSETID`.
fn touch(place: &Place, kind: FileKind) -> Result<(), Errno> {
    match kind {
        // Has neither a mode that can be set nor set-id bits.
        FileKind::Symlink => place.set_owner(None, None),
        _ => place.set_permissions(place.stat()?.st_mode),
    }
}
