//! Deleting.

use std::ffi::OsStr;

use rustix::fs::{AtFlags, unlinkat};

use super::ino::Ino;
use super::layer::{Errno, FileKind, LayerResult};
use super::node::{Node, UpperDirectory};
use super::work::clear_whiteouts;
use super::{Names, Overlay, check_name};
use crate::sync::Arc;

impl Overlay {
    /// Deletes the name `name`, which is not a directory, from the directory `parent`. A caller that has a reference
    /// to the node can go on using it.
    ///
    /// # Errors
    /// `ENOENT`, `EISDIR`, `EROFS`, or what the upper's file system says.
    pub fn unlink(&self, parent: Ino, name: &OsStr) -> LayerResult<()> {
        self.remove(parent, name, false)
    }

    /// Deletes the empty directory `name` from the directory `parent`.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `ENOTEMPTY`, `EROFS`, or what the upper's file system says.
    pub fn rmdir(&self, parent: Ino, name: &OsStr) -> LayerResult<()> {
        self.remove(parent, name, true)
    }

    fn remove(&self, parent: Ino, name: &OsStr, wants_directory: bool) -> LayerResult<()> {
        check_name(name)?;
        let parent = self.directory(parent)?;
        self.copy_up(&parent, u64::MAX)?;
        let names = self.write_names();
        let upper = parent.upper_directory().ok_or(Errno::STALE)?;
        let found = self.resolve(&names, &parent, name)?.ok_or(Errno::NOENT)?;
        let kind = found.entry.kind;
        match (kind == FileKind::Directory, wants_directory) {
            (true, false) => return Err(Errno::ISDIR.into()),
            (false, true) => return Err(Errno::NOTDIR.into()),
            _ => {}
        }
        let needs_whiteout = self.is_covering(&parent, name)?;
        let (ino, is_in_upper) = (found.ino, found.is_in_upper);
        if kind == FileKind::Directory {
            let node = self.node_or_make(ino, found.entry);
            if !self.is_empty(&names, &node)? {
                return Err(Errno::NOTEMPTY.into());
            }
            self.take_away(upper, name, kind, is_in_upper, needs_whiteout, node.upper_directory())?;
            node.set_links(Some(0));
        } else {
            let node = self.table.find(ino);
            if let Some(node) = &node {
                self.pin(&names, node)?;
            }
            self.take_away(upper, name, kind, is_in_upper, needs_whiteout, None)?;
            self.lost_name(&found, node.as_deref())?;
        }
        if let Some(listing) = parent.listing().as_deref_mut() {
            listing.remove(name);
        }
        self.table.unlink(ino, parent.ino, name);
        Ok(())
    }

    /// Returns the node in memory, or a temporary one.
    pub(super) fn node_or_make(&self, ino: Ino, entry: super::node::NewEntry) -> Arc<Node> {
        self.table
            .find(ino)
            .unwrap_or_else(|| Arc::new(Node::new(ino, 0, entry)))
    }

    /// Makes the upper show nothing as `name`; `itself` is an empty directory's part in the upper.
    fn take_away(
        &self,
        upper: &UpperDirectory,
        name: &OsStr,
        kind: FileKind,
        is_in_upper: bool,
        needs_whiteout: bool,
        itself: Option<&UpperDirectory>,
    ) -> LayerResult<()> {
        let directory = &upper.descriptor;
        match (is_in_upper, needs_whiteout) {
            (true, true) => self.work()?.replace_by_whiteout(directory, name, kind)?,
            (false, _) => self.work()?.put_whiteout(directory, name)?,
            (true, false) => match itself {
                None => unlinkat(directory, name, AtFlags::empty())?,
                Some(itself) => match unlinkat(directory, name, AtFlags::REMOVEDIR) {
                    Err(Errno::NOTEMPTY) => {
                        clear_whiteouts(&itself.descriptor)?;
                        unlinkat(directory, name, AtFlags::REMOVEDIR)?;
                    }
                    result => result?,
                },
            },
        }
        Ok(())
    }

    /// Prepares a directory that shows nothing for being replaced by a rename; `ENOTEMPTY` if it shows a name.
    pub(super) fn clear(&self, names: &Names, directory: &Node) -> LayerResult<()> {
        if !self.is_empty(names, directory)? {
            return Err(Errno::NOTEMPTY.into());
        }
        match directory.upper_directory() {
            Some(upper) => Ok(clear_whiteouts(&upper.descriptor)?),
            None => Ok(()),
        }
    }
}
