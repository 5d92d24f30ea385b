//! Content: reading, writing, space.
//!
//! There are no handles. A file of the upper is opened when its content is first asked for, and stays open
//! until [`OPEN_FILES`] others were; one without a name as long as somebody refers to it.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use rustix::fs::{FallocateFlags, OFlags, SeekFrom, StatVfs, fallocate, fdatasync, fstatvfs, fsync, seek};
use rustix::io::{pread, pwrite};

use super::Overlay;
use super::attributes::drop_set_id;
use super::ino::Ino;
use super::layer::{Errno, FileKind, LayerResult};
use super::node::{Node, lock};
use super::stat::{Caller, Space};
use crate::sync::{Arc, Mutex, Weak};

/// How many files are kept open.
const OPEN_FILES: usize = 256;

/// The nodes whose content was opened last.
#[derive(Debug, Default)]
pub(super) struct OpenFiles {
    nodes: Mutex<VecDeque<Weak<Node>>>,
}

impl OpenFiles {
    /// Keeps `node`'s content open, and closes that of the one opened longest ago.
    pub(super) fn add(&self, node: &Arc<Node>) {
        let mut nodes = lock(&self.nodes);
        nodes.push_back(Arc::downgrade(node));
        let oldest = if nodes.len() > OPEN_FILES {
            nodes.pop_front()
        } else {
            None
        };
        drop(nodes);
        if let Some(node) = oldest.and_then(|node| node.upgrade())
            && let Some(file) = node.upper_file()
        {
            // Who reads from it now has a share in it.
            let closed = lock(&file.io).take();
            drop(closed);
        }
    }
}

impl Overlay {
    /// Whether [`Self::read`] would answer at once, without inflating, verifying or fetching.
    pub fn is_ready(&self, ino: Ino, offset: u64, length: usize) -> bool {
        let Some(node) = self.table.find(ino) else {
            return true;
        };
        match (node.upper(), node.lowers.first()) {
            (None, Some(lower)) => self
                .layer_of(*lower)
                .is_none_or(|(layer, lower)| layer.is_ready(lower, offset, length)),
            _ => true,
        }
    }

    /// Fills `buffer` from `offset` (bytes); returns the bytes read, fewer than asked only at the end of the file.
    ///
    /// # Errors
    /// `EISDIR`, `EINVAL` for what is no regular file, `EIO`.
    pub fn read(&self, ino: Ino, offset: u64, buffer: &mut [u8]) -> LayerResult<usize> {
        let node = self.regular(ino)?;
        if let (None, Some(&lower)) = (node.upper(), node.lowers.first()) {
            return self.lower_read(lower, offset, buffer);
        }
        let io = self.io(&node)?;
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match pread(&io, rest, offset.saturating_add(filled as u64)) {
                Ok(0) => break,
                Ok(length) => filled += length,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(filled)
    }

    /// Writes at `offset` (bytes); returns the bytes written. With `drops_set_id` the file loses its set-id bits.
    ///
    /// # Errors
    /// As [`Self::read`], `ENOSPC`, `EFBIG`, `EROFS`.
    pub fn write(&self, ino: Ino, offset: u64, data: &[u8], drops_set_id: bool) -> LayerResult<usize> {
        let node = self.regular(ino)?;
        self.copy_up(&node, u64::MAX)?;
        let io = self.io(&node)?;
        let mut written = 0;
        while let Some(rest) = data.get(written..).filter(|rest| !rest.is_empty()) {
            match pwrite(&io, rest, offset.saturating_add(written as u64)) {
                Ok(length) if length > 0 => written += length,
                Err(Errno::INTR) => {}
                Err(errno) if written == 0 => return Err(errno.into()),
                // What was written is told; asking on meets the error again.
                _ => break,
            }
        }
        if drops_set_id {
            drop_set_id(&io)?;
        }
        Ok(written)
    }

    /// Reserves, frees or moves space (fallocate(2)).
    ///
    /// # Errors
    /// As [`Self::write`], `EOPNOTSUPP` for what the upper's file system cannot do.
    pub fn allocate(
        &self,
        caller: Caller,
        ino: Ino,
        mode: FallocateFlags,
        offset: u64,
        length: u64,
    ) -> LayerResult<()> {
        let node = self.regular(ino)?;
        self.copy_up(&node, u64::MAX)?;
        let io = self.io(&node)?;
        fallocate(&io, mode, offset, length)?;
        if !caller.keeps_set_id() {
            drop_set_id(&io)?;
        }
        Ok(())
    }

    /// Copies up to `length` bytes (copy_file_range(2)), without copying if the upper's file system can; returns the bytes copied.
    ///
    /// # Errors
    /// `EXDEV` if the source is in a layer: read and write then; else as [`Self::write`].
    pub fn copy_range(&self, caller: Caller, from: (Ino, u64), to: (Ino, u64), length: usize) -> LayerResult<usize> {
        let source = self.regular(from.0)?;
        if source.upper().is_none() {
            return Err(Errno::XDEV.into());
        }
        let target = self.regular(to.0)?;
        self.copy_up(&target, u64::MAX)?;
        let (source, target) = (self.io(&source)?, self.io(&target)?);
        let (mut from, mut to) = (from.1, to.1);
        let copied = rustix::fs::copy_file_range(&source, Some(&mut from), &target, Some(&mut to), length)?;
        if !caller.keeps_set_id() {
            drop_set_id(&target)?;
        }
        Ok(copied)
    }

    /// The next data (or hole) at or behind `offset`. The content of a layer is all data.
    ///
    /// # Errors
    /// `ENXIO` behind the end, as lseek(2) says.
    pub fn seek(&self, ino: Ino, offset: u64, wants_hole: bool) -> LayerResult<u64> {
        let node = self.regular(ino)?;
        if let (None, Some(&lower)) = (node.upper(), node.lowers.first()) {
            let size_bytes = self.lower_attributes(lower)?.size_bytes;
            return match (offset < size_bytes, wants_hole) {
                (false, _) => Err(Errno::NXIO.into()),
                (true, true) => Ok(size_bytes),
                (true, false) => Ok(offset),
            };
        }
        let position = if wants_hole {
            SeekFrom::Hole(offset)
        } else {
            SeekFrom::Data(offset)
        };
        Ok(seek(self.io(&node)?, position)?)
    }

    /// Writes content, and metadata unless `data_only`, to the disk. Nothing to do for what is in a layer.
    ///
    /// # Errors
    /// Those of fsync(2).
    pub fn sync(&self, ino: Ino, data_only: bool) -> LayerResult<()> {
        let node = self.table.get(ino)?;
        if let Some(directory) = node.upper_directory() {
            return Ok(fsync(&directory.descriptor)?);
        }
        if node.upper().is_none() || node.kind != FileKind::Regular {
            return Ok(());
        }
        let io = self.io(&node)?;
        Ok(if data_only { fdatasync(&io) } else { fsync(&io) }?)
    }

    /// Space in the file system of the upper; without one, what the layers take.
    ///
    /// # Errors
    /// If the file system does not tell.
    pub fn space(&self) -> LayerResult<Space> {
        const BLOCK_BYTES: u64 = 4096;
        let root = self.table.get(Ino::ROOT)?;
        if let Some(upper) = root.upper_directory() {
            return Ok(space_of(&fstatvfs(&upper.descriptor)?));
        }
        let mut space = Space {
            block_bytes: BLOCK_BYTES,
            blocks: 0,
            free_blocks: 0,
            available_blocks: 0,
            inodes: 0,
            free_inodes: 0,
        };
        for summary in self.layers.iter().map(|layer| layer.summary()) {
            space.blocks = space.blocks.saturating_add(summary.size_bytes.div_ceil(BLOCK_BYTES));
            space.inodes = space.inodes.saturating_add(summary.nodes);
        }
        Ok(space)
    }

    fn regular(&self, ino: Ino) -> LayerResult<Arc<Node>> {
        let node = self.table.get(ino)?;
        match node.kind {
            FileKind::Regular => Ok(node),
            FileKind::Directory => Err(Errno::ISDIR.into()),
            _ => Err(Errno::INVAL.into()),
        }
    }

    /// The open content of a file of the upper.
    pub(super) fn io(&self, node: &Arc<Node>) -> LayerResult<Arc<OwnedFd>> {
        let file = node.upper_file().ok_or(Errno::STALE)?;
        if let Some(io) = &*lock(&file.io) {
            return Ok(Arc::clone(io));
        }
        let names = self.read_names();
        let io = Arc::new(self.place(&names, node)?.open(OFlags::RDWR)?);
        *lock(&file.io) = Some(Arc::clone(&io));
        self.open_files.add(node);
        Ok(io)
    }
}

fn space_of(stat: &StatVfs) -> Space {
    Space {
        block_bytes: stat.f_frsize,
        blocks: stat.f_blocks,
        free_blocks: stat.f_bfree,
        available_blocks: stat.f_bavail,
        inodes: stat.f_files,
        free_inodes: stat.f_ffree,
    }
}
