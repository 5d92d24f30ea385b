//! Content: reading, writing, space.
//!
//! There are no handles. A file of the upper is opened when its content is first asked for, and stays open until
//! [`OPEN_FILES`] others were opened; a file without a name stays open as long as it is referred to.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use rustix::fs::{
    AtFlags, FallocateFlags, Mode, OFlags, SeekFrom, StatVfs, StatxFlags, fallocate, fdatasync, fstatvfs, fsync,
    openat, seek, statx,
};
use rustix::io::{pread, pwrite};

use super::Overlay;
use super::ino::Ino;
use super::layer::{Errno, FileKind, LayerResult};
use super::node::Node;
use super::privileges::{Credentials, drop_set_id, keep_capabilities};
use super::stat::{Access, Space};
use super::unnoted::reopen;
use crate::sync::{Arc, Mutex, Ordering, Weak, lock};

/// The number of files that are kept open.
const OPEN_FILES: usize = 256;

/// The nodes whose content was opened last.
#[derive(Debug, Default)]
pub(super) struct OpenFiles {
    nodes: Mutex<VecDeque<Weak<Node>>>,
}

impl OpenFiles {
    /// Keeps `node`'s content open, and closes that of the node opened longest ago.
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
            // A thread that is reading from it has its own reference.
            let closed = lock(&file.io).take();
            drop(closed);
        }
    }
}

impl Overlay {
    /// Returns whether [`Self::read`] would answer at once, without inflating, verifying or fetching.
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

    /// Records that the content of `ino` is read: to be called before a change could come between.
    pub fn mark_read(&self, ino: Ino) {
        if let Some(node) = self.table.find(ino) {
            node.is_read.store(true, Ordering::Release);
        }
    }

    /// Returns whether the content of `ino` was read since it is in memory, so that the reader may remember it.
    pub fn was_read(&self, ino: Ino) -> bool {
        self.table
            .find(ino)
            .is_some_and(|node| node.is_read.load(Ordering::Acquire))
    }

    /// Fills `buffer` from `offset` (bytes); returns the bytes read, fewer than asked only at the end of the file.
    ///
    /// # Errors
    /// `EISDIR`, `EINVAL` for what is no regular file, `EIO`.
    pub fn read(&self, ino: Ino, offset: u64, buffer: &mut [u8], access: Access) -> LayerResult<usize> {
        let node = self.regular(ino)?;
        if let (None, Some(&lower)) = (node.upper(), node.lowers.first()) {
            return self.lower_read(lower, offset, buffer);
        }
        let io = self.readable(&node, access)?;
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

    /// Writes at `offset` (bytes); returns the bytes written. Clears set-id bits as for `unprivileged`, a process
    /// without `CAP_FSETID`; with `None` they stay.
    ///
    /// # Errors
    /// As [`Self::read`], `ENOSPC`, `EFBIG`, `EROFS`.
    pub fn write(
        &self,
        ino: Ino,
        offset: u64,
        data: &[u8],
        unprivileged: Option<&dyn Credentials>,
    ) -> LayerResult<usize> {
        let io = self.writable(ino)?;
        if let Some(caller) = unprivileged {
            drop_set_id(&io, caller)?;
        }
        Ok(write_some(&io, data, offset)?)
    }

    /// Writes what a mapping (mmap(2)) has changed at `offset` (bytes); returns the bytes written. Linux takes neither
    /// set-id bits nor capabilities away then.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn write_back(&self, ino: Ino, offset: u64, data: &[u8]) -> LayerResult<usize> {
        let io = self.writable(ino)?;
        Ok(keep_capabilities(&io, || write_some(&io, data, offset))?)
    }

    /// Reserves, frees or moves space (fallocate(2)).
    ///
    /// # Errors
    /// As [`Self::write`], `EOPNOTSUPP` for what the upper's file system cannot do.
    pub fn allocate(
        &self,
        caller: impl Credentials,
        ino: Ino,
        mode: FallocateFlags,
        offset: u64,
        length: u64,
    ) -> LayerResult<()> {
        let io = self.writable(ino)?;
        drop_set_id(&io, &caller)?;
        Ok(fallocate(&io, mode, offset, length)?)
    }

    /// Copies up to `length` bytes (copy_file_range(2)), without copying if the upper's file system can; returns the
    /// number of bytes copied.
    ///
    /// # Errors
    /// `EXDEV` if the source is in a layer: read and write then; else as [`Self::write`].
    pub fn copy_range(
        &self,
        caller: impl Credentials,
        from: (Ino, u64),
        to: (Ino, u64),
        length: usize,
    ) -> LayerResult<usize> {
        let source = self.regular(from.0)?;
        if source.upper().is_none() {
            return Err(Errno::XDEV.into());
        }
        let (source, target) = (self.io(&source)?, self.writable(to.0)?);
        drop_set_id(&target, &caller)?;
        let (mut from, mut to) = (from.1, to.1);
        let copied = rustix::fs::copy_file_range(&source, Some(&mut from), &target, Some(&mut to), length)?;
        Ok(copied)
    }

    /// Returns the offset of the next data (or hole) at or behind `offset`. The content of a layer is all data.
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

    /// Writes content, and metadata unless `data_only`, to the disk. Does nothing for a file in a layer.
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

    /// Returns the space in the file system of the upper; without an upper, the size of the layers.
    ///
    /// # Errors
    /// Those of statvfs(3).
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

    /// Returns the number of bytes by which offsets and lengths of direct I/O (open(2), `O_DIRECT`) must be divisible;
    /// 1 if there is no such rule.
    ///
    /// # Errors
    /// If no file can be made in the work directory.
    pub fn direct_alignment(&self) -> LayerResult<u32> {
        let Some(work) = &self.work else {
            return Ok(1);
        };
        let temporary = work.temporary();
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = openat(temporary.directory(), temporary.name(), flags, Mode::RUSR)?;
        let stat = statx(&file, c"", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN)?;
        // Without an answer (before Linux 6.1), or without direct I/O, there is no rule.
        Ok(stat.stx_dio_offset_align.max(1))
    }

    fn regular(&self, ino: Ino) -> LayerResult<Arc<Node>> {
        let node = self.table.get(ino)?;
        match node.kind {
            FileKind::Regular => Ok(node),
            FileKind::Directory => Err(Errno::ISDIR.into()),
            _ => Err(Errno::INVAL.into()),
        }
    }

    /// Copies a regular file to the upper and opens it.
    fn writable(&self, ino: Ino) -> LayerResult<Arc<OwnedFd>> {
        let node = self.regular(ino)?;
        self.copy_up(&node, u64::MAX)?;
        self.io(&node)
    }

    /// Returns the open content of a file of the upper for a read that follows `access`.
    fn readable(&self, node: &Arc<Node>, access: Access) -> LayerResult<Arc<OwnedFd>> {
        let io = self.io(node)?;
        let Some(reopened) = reopen(&io, access)? else {
            return Ok(io);
        };
        let reopened = Arc::new(reopened);
        let file = node.upper_file().ok_or(Errno::STALE)?;
        if let Some(io) = &mut *lock(&file.io) {
            *io = Arc::clone(&reopened);
        }
        Ok(reopened)
    }

    /// Returns the open content of a file of the upper.
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

/// Writes as much of `data` at `offset` as it can; returns the number of bytes written. An error behind the first
/// byte is not returned: the next write meets it again.
fn write_some(io: &OwnedFd, data: &[u8], offset: u64) -> Result<usize, Errno> {
    let mut written = 0;
    while let Some(rest) = data.get(written..).filter(|rest| !rest.is_empty()) {
        match pwrite(io, rest, offset.saturating_add(written as u64)) {
            Ok(length) if length > 0 => written += length,
            Err(Errno::INTR) => {}
            Err(errno) if written == 0 => return Err(errno),
            _ => break,
        }
    }
    Ok(written)
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
