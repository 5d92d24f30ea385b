//! Inode flags (ioctl_iflags(2)), as chattr(1) and lsattr(1) show them.
//!
//! They are those that the upper's file system keeps; a node of a layer has none. Flags that only say how a file is
//! stored or saved can be set. `FS_IMMUTABLE_FL` and `FS_APPEND_FL` cannot: a kernel that opens files without a message
//! would not obey them.

use std::os::fd::AsFd;

use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};

use super::Overlay;
use super::ino::Ino;
use super::layer::{Errno, FileKind, LayerResult};
use super::node::{Node, Upper};
use crate::sync::Arc;

/// The flags that can be set and cleared.
const CHANGEABLE: IFlags = IFlags::NODUMP
    .union(IFlags::NOATIME)
    .union(IFlags::SYNC)
    .union(IFlags::DIRSYNC)
    .union(IFlags::TOPDIR)
    .union(IFlags::NOTAIL)
    .union(IFlags::NOCOW)
    .union(IFlags::COMPRESSED)
    .union(IFlags::SECURE_REMOVAL)
    .union(IFlags::UNRM);

/// The flags that forbid changes.
const FORBIDDING: IFlags = IFlags::IMMUTABLE.union(IFlags::APPEND);

impl Overlay {
    /// Returns the flags of a regular file or directory.
    ///
    /// # Errors
    /// `ENOTTY` for other kinds, and if the upper's file system has no flags.
    pub fn inode_flags(&self, ino: Ino) -> LayerResult<u32> {
        let node = self.flagged(ino)?;
        match node.upper() {
            None => Ok(0),
            Some(_) => self.with_flagged(&node, |descriptor| Ok(ioctl_getflags(descriptor)?.bits())),
        }
    }

    /// Sets the flags of a regular file or directory.
    ///
    /// # Errors
    /// `EOPNOTSUPP` for a flag that cannot be changed, `EROFS`, or what the upper's file system says.
    pub fn set_inode_flags(&self, ino: Ino, flags: u32) -> LayerResult<()> {
        let node = self.flagged(ino)?;
        self.copy_up(&node, u64::MAX)?;
        let wanted = IFlags::from_bits_retain(flags);
        self.with_flagged(&node, |descriptor| {
            let present = ioctl_getflags(descriptor)?;
            let is_refused = !(present | CHANGEABLE).contains(wanted) || (present ^ wanted).intersects(FORBIDDING);
            if is_refused {
                return Err(Errno::OPNOTSUPP);
            }
            // The caller may have seen the file in a layer, where it had none of the flags that only describe it.
            ioctl_setflags(descriptor, (present - CHANGEABLE) | wanted)
        })
    }

    fn flagged(&self, ino: Ino) -> LayerResult<Arc<Node>> {
        let node = self.table.get(ino)?;
        match node.kind {
            FileKind::Regular | FileKind::Directory => Ok(node),
            _ => Err(Errno::NOTTY.into()),
        }
    }

    /// Calls `work` with the file or directory of the upper, open.
    fn with_flagged<T>(
        &self,
        node: &Arc<Node>,
        work: impl FnOnce(std::os::fd::BorrowedFd<'_>) -> Result<T, Errno>,
    ) -> LayerResult<T> {
        match node.upper() {
            Some(Upper::Directory(directory)) => Ok(work(directory.descriptor.as_fd())?),
            _ => Ok(work(self.io(node)?.as_fd())?),
        }
    }
}
