//! Listing directories.

use std::ffi::OsStr;
use std::mem::MaybeUninit;

use rustix::fs::{RawDir, SeekFrom, seek};

use super::ino::Ino;
use super::layer::{Errno, FileKind, LayerError, LayerResult};
use super::node::{LowerRef, Node};
use super::stat::Stat;
use super::{Names, Overlay};
use crate::sync::Arc;

/// A name in a directory, as it is listed.
#[derive(Debug, Clone, Copy)]
pub struct Listed<'a> {
    /// The name.
    pub name: &'a OsStr,
    /// The node that it names.
    pub ino: Ino,
    /// Its kind.
    pub kind: FileKind,
    /// The value of `after` to go on behind this name; never 0, below 2^63. It stays with the name as long as the
    /// directory is in memory and the name in it.
    pub cookie: u64,
}

/// Names handled per lock of a listing.
const BATCH: usize = 128;

impl Overlay {
    /// Calls `visit` for the names in `directory` behind cookie `after` (0: from the start; `.` and `..` are
    /// not among them) until it returns `false`.
    ///
    /// # Errors
    /// `ESTALE`, `ENOTDIR`, or the error of a layer or the upper.
    pub fn read_dir(&self, directory: Ino, after: u64, visit: &mut dyn FnMut(Listed<'_>) -> bool) -> LayerResult<()> {
        let node = self.directory(directory)?;
        let names = self.read_names();
        self.each_name(&names, &node, after, &mut |listed| Ok(visit(listed)))
    }

    /// Changes the time of last access of a directory of the upper, as far as its file system keeps it: listing alone
    /// leaves no trace.
    ///
    /// # Errors
    /// `ESTALE`, `ENOTDIR`, or what the upper's file system says.
    pub fn note_listing(&self, directory: Ino) -> LayerResult<()> {
        const BUFFER_BYTES: usize = 512;
        let node = self.directory(directory)?;
        let Some(upper) = node.upper_directory() else {
            return Ok(());
        };
        let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
        seek(&upper.descriptor, SeekFrom::Start(0))?;
        RawDir::new(&upper.descriptor, &mut buffer).next().transpose()?;
        Ok(())
    }

    /// Lists as [`Self::read_dir`] does, with the metadata of each node and a reference to it; a node for which
    /// `visit` returns `false` is not referred to.
    ///
    /// # Errors
    /// As [`Self::read_dir`].
    pub fn read_dir_plus(
        &self,
        directory: Ino,
        after: u64,
        visit: &mut dyn FnMut(Listed<'_>, &Stat) -> bool,
    ) -> LayerResult<()> {
        let node = self.directory(directory)?;
        let names = self.read_names();
        self.each_name(&names, &node, after, &mut |listed| {
            let Some(found) = self.resolve(&names, &node, listed.name)? else {
                return Ok(true);
            };
            let (child, stat) = self.enter(&names, &node, listed.name, found)?;
            let is_taken = visit(listed, &stat);
            if !is_taken {
                self.table.forget(child.ino, 1);
            }
            Ok(is_taken)
        })
    }

    fn each_name(
        &self,
        names: &Names,
        directory: &Node,
        mut after: u64,
        visit: &mut dyn FnMut(Listed<'_>) -> LayerResult<bool>,
    ) -> LayerResult<()> {
        if let Some(lower) = self.only_part(directory) {
            return self.each_lower_name(lower, after, visit);
        }
        loop {
            let batch = self.with_listing(names, directory, |listing| listing.behind(after, BATCH))?;
            let Some(&(last, _)) = batch.last() else {
                return Ok(());
            };
            for (cookie, item) in batch {
                let listed = Listed {
                    name: &item.name,
                    ino: item.ino,
                    kind: item.kind,
                    cookie,
                };
                if !visit(listed)? {
                    return Ok(());
                }
            }
            after = last;
        }
    }

    /// Calls `visit` for the names of a directory that only one layer has, which needs no listing.
    fn each_lower_name(
        &self,
        lower: LowerRef,
        after: u64,
        visit: &mut dyn FnMut(Listed<'_>) -> LayerResult<bool>,
    ) -> LayerResult<()> {
        let layer = Arc::clone(self.layers.get(lower.layer).ok_or(Errno::STALE)?);
        let mut failure: Option<LayerError> = None;
        layer.entries(lower.node, after, &mut |entry| {
            let child = LowerRef {
                layer: lower.layer,
                node: entry.node,
            };
            let visited = self.lower_ino(child).and_then(|ino| {
                visit(Listed {
                    name: entry.name,
                    ino,
                    kind: entry.kind,
                    cookie: entry.cookie,
                })
            });
            visited.unwrap_or_else(|error| {
                failure = Some(error);
                false
            })
        })?;
        failure.map_or(Ok(()), Err)
    }
}
