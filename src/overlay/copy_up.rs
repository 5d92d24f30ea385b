//! Copying a node from a layer to the upper, once.
//!
//! Content, owner, mode, times, extended attributes (with ACLs and capabilities) stay what they were. So do holes; a
//! page of zeros becomes one as well. Directories above are copied first. Nothing is synced: a process that wants a
//! file to survive a power failure calls fsync(2) for it.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;

use rustix::fs::{
    FileType, Mode, OFlags, Timespec, Timestamps, XattrFlags, fstat, ftruncate, futimens, makedev, mkdirat, mknodat,
    openat, symlinkat,
};
use rustix::io::pwrite;

use super::layer::{Attributes, Errno, FileKind, LayerError, LayerResult};
use super::mark::{IMPURE, Note, YES, shown_name};
use super::node::{LowerRef, Node, Upper, UpperDirectory, UpperFile};
use super::place::Place;
use super::stat::SetTime;
use super::work::{Temporary, Work, open_directory};
use super::{Ino, Overlay};
use crate::sync::{Arc, Ordering};

/// Bytes read from a layer at once.
const CHUNK_BYTES: u64 = 1024 * 1024;
/// A piece this long, and aligned, is left out if it is zero.
const PAGE_BYTES: usize = 4096;
/// The largest file that the requesting thread copies up itself; more takes long.
const QUICK_BYTES: u64 = 128 * 1024;

impl Overlay {
    /// Returns whether the first change of `ino` has to copy much, or to wait for content that is not there yet.
    pub fn is_slow_to_change(&self, ino: Ino) -> bool {
        let Some(node) = self.table.find(ino) else {
            return false;
        };
        let Some((layer, lower)) = node.lowers.first().and_then(|lower| self.layer_of(*lower)) else {
            return false;
        };
        if node.upper().is_some() || node.kind != FileKind::Regular {
            return false;
        }
        match layer.attributes(lower) {
            Ok(Attributes { size_bytes, .. }) => {
                let length = usize::try_from(size_bytes).unwrap_or(usize::MAX);
                size_bytes > QUICK_BYTES || !layer.is_ready(lower, 0, length)
            }
            Err(_) => false,
        }
    }

    /// Returns whether renaming `name` in the directory `parent` takes long for the reasons of
    /// [`Self::is_slow_to_change`].
    pub fn is_slow_to_rename(&self, parent: Ino, name: &OsStr) -> bool {
        let Ok(parent) = self.directory(parent) else {
            return false;
        };
        if parent.lowers.is_empty() {
            return false;
        }
        let found = self.resolve(&self.read_names(), &parent, name);
        found.is_ok_and(|found| found.is_some_and(|found| self.is_slow_to_change(found.ino)))
    }

    /// Copies `node` and the directories above it to the upper. Of a file at least the first `keep_bytes` bytes are
    /// copied: the caller is about to cut off the rest.
    pub(super) fn copy_up(&self, node: &Arc<Node>, keep_bytes: u64) -> LayerResult<()> {
        let work = self.work()?;
        if node.upper().is_some() {
            return Ok(());
        }
        let mut chain = vec![Arc::clone(node)];
        let mut last = Arc::clone(node);
        while let Some((parent, _)) = self.table.first_link(last.ino) {
            if parent.upper().is_some() {
                break;
            }
            chain.push(Arc::clone(&parent));
            last = parent;
        }
        for node in chain.iter().rev() {
            self.copy_up_one(work, node, keep_bytes)?;
        }
        Ok(())
    }

    fn copy_up_one(&self, work: &Work, node: &Arc<Node>, keep_bytes: u64) -> LayerResult<()> {
        let _flight = node.fly();
        if node.upper().is_some() {
            return Ok(());
        }
        let lower = *node.lowers.first().ok_or(Errno::STALE)?;
        let attributes = self.lower_attributes(lower)?;
        let made = work.temporary();
        let copy = self.replicate(lower, &attributes, &made, keep_bytes)?;
        let _names = self.write_names();
        let link = self.table.first_link(node.ino);
        if node.is_directory() {
            let descriptor = open_directory(made.directory(), made.name())?;
            // A deleted one stays usable for processes that have it open.
            if let Some((parent, name)) = link {
                put_in_place(&made, &parent, &name)?;
            }
            return Ok(node.set_upper(Upper::Directory(UpperDirectory::new(descriptor, false, None)))?);
        }
        let links = node.links().unwrap_or(attributes.links);
        let is_indexed = attributes.links > 1 && links > 0;
        let mut file = UpperFile {
            is_indexed,
            ..UpperFile::default()
        };
        copy.set_note(Note {
            ino: node.ino.0,
            links: is_indexed.then_some(links),
            ..Note::default()
        })?;
        if is_indexed {
            work.add_to_index(node.ino, &made)?;
            node.set_links(Some(links));
        }
        match link {
            Some((parent, name)) => {
                mark_impure(&parent)?;
                put_in_place(&made, &parent, &name)?;
            }
            None if is_indexed => {}
            None => {
                let itself = match &copy {
                    Place::File(io) => Arc::clone(io),
                    _ => Arc::new(copy.open(OFlags::PATH)?),
                };
                file.pinned = itself.into();
            }
        }
        // A file that was copied up is about to be changed.
        let is_open = match copy {
            Place::File(io) => file.io.get_mut().map(|open| open.replace(io)).is_ok(),
            _ => false,
        };
        node.set_upper(Upper::File(file))?;
        if is_open {
            self.open_files.add(node);
        }
        Ok(())
    }

    /// Makes a copy of a node of a layer; a regular file stays open.
    fn replicate(
        &self,
        lower: LowerRef,
        attributes: &Attributes,
        made: &Temporary<'_>,
        keep_bytes: u64,
    ) -> LayerResult<Place> {
        let (directory, name) = (made.directory(), made.name());
        let special = |kind| {
            let (major, minor) = attributes.device;
            mknodat(directory, name, kind, Mode::RUSR, makedev(major, minor))
        };
        let mut copy = made.place();
        match attributes.kind {
            FileKind::Regular => {
                let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let permissions = Mode::from_raw_mode(attributes.permissions & 0o777);
                let file = openat(directory, name, flags, permissions | Mode::RUSR | Mode::WUSR)?;
                self.copy_content(lower, &file, attributes.size_bytes.min(keep_bytes))?;
                copy = Place::File(Arc::new(file));
            }
            FileKind::Directory => mkdirat(directory, name, Mode::RWXU)?,
            FileKind::Symlink => {
                let (layer, node) = self.layer_of(lower).ok_or(Errno::STALE)?;
                symlinkat(layer.read_link(node)?, directory, name)?;
            }
            FileKind::CharDevice => special(FileType::CharacterDevice)?,
            FileKind::BlockDevice => special(FileType::BlockDevice)?,
            FileKind::Fifo => special(FileType::Fifo)?,
            FileKind::Socket => special(FileType::Socket)?,
        }
        self.copy_metadata(lower, attributes, &copy)?;
        Ok(copy)
    }

    /// Sets the metadata of the copy that differs from `attributes`.
    fn copy_metadata(&self, lower: LowerRef, attributes: &Attributes, place: &Place) -> LayerResult<()> {
        let made = place.stat()?;
        let mut may_differ = made.st_mode & 0o7777 != attributes.permissions;
        // First the owner: it takes set-id bits and capabilities away.
        if (made.st_uid, made.st_gid) != (attributes.uid, attributes.gid) {
            place.set_owner(Some(attributes.uid), Some(attributes.gid))?;
            may_differ = true;
        }
        for name in self.lower_xattr_names(lower)? {
            if shown_name(&name).is_none() {
                continue;
            }
            let Some(value) = self.lower_xattr(lower, &name)? else {
                continue;
            };
            place.set_xattr(&name, &value, XattrFlags::empty()).map_err(|errno| {
                let name = name.display();
                LayerError::new(errno, format!("cannot copy the attribute {name} to the upper: {errno}"))
            })?;
            // An ACL affects the mode.
            may_differ = true;
        }
        if may_differ && attributes.kind != FileKind::Symlink {
            place.set_permissions(attributes.permissions)?;
        }
        let time = Some(SetTime::At(attributes.modified));
        Ok(place.set_times(time, time)?)
    }

    fn copy_content(&self, lower: LowerRef, to: &OwnedFd, size_bytes: u64) -> LayerResult<()> {
        let mut buffer = vec![0; usize::try_from(size_bytes.min(CHUNK_BYTES)).unwrap_or(PAGE_BYTES)];
        let mut offset = 0;
        let mut written = 0;
        while offset < size_bytes {
            let wanted = usize::try_from(size_bytes - offset).map_or(buffer.len(), |left| left.min(buffer.len()));
            let chunk = buffer.get_mut(..wanted).unwrap_or_default();
            let length = self.lower_read(lower, offset, chunk)?;
            if length == 0 {
                return Err(LayerError::new(
                    Errno::IO,
                    format!("a file of a layer ends after {offset} bytes instead of {size_bytes}"),
                ));
            }
            written = write_sparse(to, chunk.get(..length).unwrap_or_default(), offset, written)?;
            offset += length as u64;
        }
        if written < size_bytes {
            ftruncate(to, size_bytes)?;
        }
        Ok(())
    }
}

/// Writes the pages of `chunk` that are not zero; returns where the last written byte ends (`written`, if there was
/// none).
fn write_sparse(to: &OwnedFd, chunk: &[u8], offset: u64, mut written: u64) -> Result<u64, Errno> {
    let is_zero = |page: &[u8]| page.iter().all(|&byte| byte == 0);
    let mut pages = chunk.chunks(PAGE_BYTES).enumerate().peekable();
    while let Some((first, page)) = pages.next() {
        if is_zero(page) {
            continue;
        }
        let start = first * PAGE_BYTES;
        let mut end = start + page.len();
        while let Some((_, page)) = pages.next_if(|(_, page)| !is_zero(page)) {
            end += page.len();
        }
        write_all(to, chunk.get(start..end).unwrap_or_default(), offset + start as u64)?;
        written = offset + end as u64;
    }
    Ok(written)
}

/// Writes all of `data` at `offset`.
pub(super) fn write_all(to: &OwnedFd, mut data: &[u8], mut offset: u64) -> Result<(), Errno> {
    while !data.is_empty() {
        let length = match pwrite(to, data, offset) {
            Ok(0) => return Err(Errno::IO),
            Ok(length) => length,
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno),
        };
        data = data.get(length..).unwrap_or_default();
        offset += length as u64;
    }
    Ok(())
}

/// Moves a copy to its name in the upper, and keeps the directory's times: that the name is new there is no change of
/// the directory.
fn put_in_place(made: &Temporary<'_>, parent: &Node, name: &OsStr) -> LayerResult<()> {
    let directory = &parent.upper_directory().ok_or(Errno::STALE)?.descriptor;
    let before = fstat(directory)?;
    made.commit_new(directory, name)?;
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: before.st_atime,
            tv_nsec: i64::try_from(before.st_atime_nsec).unwrap_or(0),
        },
        last_modification: Timespec {
            tv_sec: before.st_mtime,
            tv_nsec: i64::try_from(before.st_mtime_nsec).unwrap_or(0),
        },
    };
    Ok(futimens(directory, &times)?)
}

/// Marks `directory` as one whose entries have notes.
pub(super) fn mark_impure(directory: &Node) -> LayerResult<()> {
    let upper = directory.upper_directory().ok_or(Errno::STALE)?;
    if !upper.is_impure() {
        rustix::fs::fsetxattr(&upper.descriptor, IMPURE, YES, XattrFlags::empty())?;
        upper.impure.store(true, Ordering::Release);
    }
    Ok(())
}
