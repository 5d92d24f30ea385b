//! What the kernel asks, one method each.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use fuser::{
    BsdFileFlags, CopyFileRangeFlags, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, InitFlags, IoctlFlags,
    KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr,
    Request, TimeOrNow, WriteFlags,
};
use rustix::fs::{FallocateFlags, XattrFlags};

use super::convert::{attr, caller, new_node, nothing, rename_mode, set_time};
use super::groups::{ACCESS_ACL, drop_set_group_id, groups_of};
use super::{Cow, fail};
use crate::mount::lower::attr::file_type;
use crate::mount::lower::counters::{Counters, count};
use crate::mount::lower::{DOT_ENTRIES, FOREVER, MAX_BACKGROUND, MAX_READ_BYTES, joined};
use crate::overlay::layer::{Errno, FileKind};
use crate::overlay::{Caller, Change, Ino, NewNode, Overlay};

/// `.` and `..` with the offsets behind them, as far as they are behind `offset`.
fn dot_entries(offset: u64) -> impl Iterator<Item = (u64, &'static str)> {
    (1..).zip([".", ".."]).filter(move |(next, _)| *next > offset)
}

/// Reads and replies, on whatever thread this is.
fn read(overlay: &Overlay, ino: INodeNo, range: (u64, usize), counters: &Counters, reply: ReplyData) {
    thread_local! {
        static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    let (offset, length) = range;
    BUFFER.with_borrow_mut(|buffer| {
        if buffer.len() < length {
            buffer.resize(length, 0);
        }
        let Some(part) = buffer.get_mut(..length) else {
            return reply.error(fuser::Errno::EIO);
        };
        match overlay.read(Ino(ino.0), offset, part) {
            Ok(given) => {
                count(&counters.read_bytes, given as u64);
                reply.data(part.get(..given).unwrap_or_default());
            }
            Err(error) => reply.error(fail(counters, "read", ino, &error)),
        }
    });
}

impl Filesystem for Cow {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let needed = InitFlags::FUSE_NO_OPEN_SUPPORT
            | InitFlags::FUSE_NO_OPENDIR_SUPPORT
            | InitFlags::FUSE_DONT_MASK
            | InitFlags::FUSE_POSIX_ACL
            | InitFlags::FUSE_HANDLE_KILLPRIV_V2;
        let wanted = InitFlags::FUSE_PARALLEL_DIROPS
            | InitFlags::FUSE_DO_READDIRPLUS
            | InitFlags::FUSE_CACHE_SYMLINKS
            | InitFlags::FUSE_EXPLICIT_INVAL_DATA
            | InitFlags::FUSE_ASYNC_DIO;
        let offered = config.capabilities();
        config
            .add_capabilities(needed | (wanted & offered))
            .map_err(|missing| io::Error::other(format!("the kernel lacks {missing:?} (it is older than 5.11)")))?;
        // Both setters answer with the nearest valid value; these values are valid.
        let _ = config.set_max_write(MAX_READ_BYTES);
        let _ = config.set_max_background(MAX_BACKGROUND);
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.asked(&self.counters.lookups);
        match self.overlay.lookup(Ino(parent.0), name) {
            Ok(Some(stat)) => reply.entry(&FOREVER, &attr(&stat), Generation(stat.generation)),
            // Inode 0 with a lifetime: the kernel remembers that the name does not exist.
            Ok(None) => reply.entry(&FOREVER, &nothing(), Generation(0)),
            Err(error) => reply.error(self.fail("lookup", parent, &error)),
        }
    }

    fn forget(&self, _request: &Request, ino: INodeNo, count: u64) {
        self.overlay.forget(Ino(ino.0), count);
    }

    fn getattr(&self, _request: &Request, ino: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        self.asked(&self.counters.attributes);
        match self.overlay.getattr(Ino(ino.0)) {
            Ok(stat) => reply.attr(&FOREVER, &attr(&stat)),
            Err(error) => reply.error(self.fail("getattr", ino, &error)),
        }
    }

    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let caller = caller(request);
        let change = Change {
            permissions: mode.map(|mode| mode & 0o7777),
            uid,
            gid,
            size_bytes: size,
            accessed: atime.map(set_time),
            modified: mtime.map(set_time),
        };
        let change_it = move |overlay: &Overlay, counters: &Counters| match overlay.setattr(caller, Ino(ino.0), &change)
        {
            Ok(stat) => reply.attr(&FOREVER, &attr(&stat)),
            Err(error) => reply.error(fail(counters, "setattr", ino, &error)),
        };
        self.change(ino, change_it);
    }

    fn readlink(&self, _request: &Request, ino: INodeNo, reply: ReplyData) {
        self.asked(&self.counters.links);
        match self.overlay.read_link(Ino(ino.0)) {
            Ok(target) => reply.data(&target),
            Err(error) => reply.error(self.fail("readlink", ino, &error)),
        }
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let Some(node) = new_node(mode, rdev) else {
            return reply.error(fuser::Errno::EINVAL);
        };
        let made = self.create_node(request, parent, name, node, (mode, umask));
        self.reply_entry("mknod", parent, made, reply);
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let made = self.create_node(request, parent, name, NewNode::Directory, (mode, umask));
        self.reply_entry("mkdir", parent, made, reply);
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let node = NewNode::Symlink(target.as_os_str().as_bytes());
        let made = self.create_node(request, parent, name, node, (0o777, 0));
        self.reply_entry("symlink", parent, made, reply);
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let mut open_flags = FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH;
        if flags & libc::O_ACCMODE == libc::O_WRONLY {
            // What is only written needs no page cache: saves copying, and a request for the
            // file's capabilities before its first write. (The kernel keeps other opens coherent.)
            open_flags |= FopenFlags::FOPEN_DIRECT_IO;
        }
        match self.create_node(request, parent, name, NewNode::Regular, (mode, umask)) {
            Ok(stat) => reply.created(
                &FOREVER,
                &attr(&stat),
                Generation(stat.generation),
                FileHandle(0),
                open_flags,
            ),
            Err(error) => reply.error(self.fail("create", parent, &error)),
        }
    }

    fn unlink(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.asked(&self.counters.changes);
        let done = self.overlay.unlink(Ino(parent.0), name);
        self.reply_empty("unlink", parent, done, reply);
    }

    fn rmdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.asked(&self.counters.changes);
        let done = self.overlay.rmdir(Ino(parent.0), name);
        self.reply_empty("rmdir", parent, done, reply);
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        self.asked(&self.counters.changes);
        let Some(mode) = rename_mode(flags) else {
            return reply.error(fuser::Errno::EINVAL);
        };
        let caller = caller(request);
        let (name, newname) = (name.to_owned(), newname.to_owned());
        let (overlay, counters) = (Arc::clone(&self.overlay), Arc::clone(&self.counters));
        let is_slow =
            overlay.is_slow_to_rename(Ino(parent.0), &name) || overlay.is_slow_to_rename(Ino(newparent.0), &newname);
        let work = move || {
            let (from, to) = ((Ino(parent.0), &*name), (Ino(newparent.0), &*newname));
            match overlay.rename(caller, from, to, mode) {
                Ok(()) => reply.ok(),
                Err(error) => reply.error(fail(&counters, "rename", parent, &error)),
            }
        };
        if is_slow { self.workers.run(work) } else { work() }
    }

    fn link(&self, _request: &Request, ino: INodeNo, newparent: INodeNo, newname: &OsStr, reply: ReplyEntry) {
        let name = newname.to_owned();
        self.change(ino, move |overlay, counters| {
            match overlay.link(Ino(ino.0), Ino(newparent.0), &name) {
                Ok(stat) => reply.entry(&FOREVER, &attr(&stat), Generation(stat.generation)),
                Err(error) => reply.error(fail(counters, "link", ino, &error)),
            }
        });
    }

    // ENOSYS is remembered by the kernel: no message from then on.
    fn open(&self, _request: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.error(fuser::Errno::ENOSYS);
    }

    fn opendir(&self, _request: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.error(fuser::Errno::ENOSYS);
    }

    fn flush(&self, _request: &Request, _ino: INodeNo, _handle: FileHandle, _owner: LockOwner, reply: ReplyEmpty) {
        reply.error(fuser::Errno::ENOSYS);
    }

    fn read(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.asked(&self.counters.reads);
        let range = (offset, size.min(MAX_READ_BYTES) as usize);
        if self.overlay.is_ready(Ino(ino.0), range.0, range.1) {
            return read(&self.overlay, ino, range, &self.counters, reply);
        }
        count(&self.counters.slow_reads, 1);
        let (overlay, counters) = (Arc::clone(&self.overlay), Arc::clone(&self.counters));
        self.workers.run(move || read(&overlay, ino, range, &counters, reply));
    }

    fn write(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let drops_set_id = write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID);
        let is_synced = !self.volatile && flags.0 & libc::O_DSYNC != 0;
        let write = move |overlay: &Overlay, counters: &Counters, data: &[u8], reply: ReplyWrite| {
            let written = overlay
                .write(Ino(ino.0), offset, data, drops_set_id)
                .and_then(|written| match is_synced {
                    true => overlay
                        .sync(Ino(ino.0), flags.0 & libc::O_SYNC != libc::O_SYNC)
                        .map(|()| written),
                    false => Ok(written),
                });
            match written {
                Ok(written) => {
                    count(&counters.written_bytes, written as u64);
                    reply.written(u32::try_from(written).unwrap_or(u32::MAX));
                }
                Err(error) => reply.error(fail(counters, "write", ino, &error)),
            }
        };
        if is_synced || self.pressure.is_high() || self.overlay.is_slow_to_change(Ino(ino.0)) {
            let data = data.to_vec();
            let (overlay, counters) = (Arc::clone(&self.overlay), Arc::clone(&self.counters));
            self.workers.run(move || write(&overlay, &counters, &data, reply));
        } else {
            self.pressure
                .watch(|| write(&self.overlay, &self.counters, data, reply));
        }
    }

    fn fallocate(
        &self,
        request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let caller = caller(request);
        let mode = FallocateFlags::from_bits_retain(mode.cast_unsigned());
        self.change_and_reply("fallocate", ino, reply, move |overlay| {
            overlay.allocate(caller, Ino(ino.0), mode, offset, length)
        });
    }

    fn copy_file_range(
        &self,
        request: &Request,
        ino_in: INodeNo,
        _handle_in: FileHandle,
        offset_in: u64,
        ino_out: INodeNo,
        _handle_out: FileHandle,
        offset_out: u64,
        len: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        /// The answer has 32 bits, and a worker should not be busy for long.
        const MAX_BYTES: u64 = 1 << 28;
        self.asked(&self.counters.changes);
        let caller = caller(request);
        let length = usize::try_from(len.min(MAX_BYTES)).unwrap_or(0);
        let (overlay, counters) = (Arc::clone(&self.overlay), Arc::clone(&self.counters));
        self.workers.run(move || {
            match overlay.copy_range(caller, (Ino(ino_in.0), offset_in), (Ino(ino_out.0), offset_out), length) {
                Ok(copied) => reply.written(u32::try_from(copied).unwrap_or(u32::MAX)),
                Err(error) => reply.error(fail(&counters, "copy_file_range", ino_out, &error)),
            }
        });
    }

    fn lseek(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let (Ok(offset), libc::SEEK_DATA | libc::SEEK_HOLE) = (u64::try_from(offset), whence) else {
            return reply.error(fuser::Errno::EINVAL);
        };
        match self.overlay.seek(Ino(ino.0), offset, whence == libc::SEEK_HOLE) {
            Ok(found) => reply.offset(i64::try_from(found).unwrap_or(i64::MAX)),
            Err(error) => reply.error(self.fail("lseek", ino, &error)),
        }
    }

    fn fsync(&self, _request: &Request, ino: INodeNo, _handle: FileHandle, data_only: bool, reply: ReplyEmpty) {
        if self.volatile {
            return reply.error(fuser::Errno::ENOSYS);
        }
        let (overlay, counters) = (Arc::clone(&self.overlay), Arc::clone(&self.counters));
        self.workers.run(move || match overlay.sync(Ino(ino.0), data_only) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(fail(&counters, "fsync", ino, &error)),
        });
    }

    fn fsyncdir(&self, request: &Request, ino: INodeNo, handle: FileHandle, data_only: bool, reply: ReplyEmpty) {
        self.fsync(request, ino, handle, data_only, reply);
    }

    fn readdir(&self, _request: &Request, ino: INodeNo, _handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        self.asked(&self.counters.listings);
        let mut empty = true;
        for (next, name) in dot_entries(offset) {
            empty = false;
            if reply.add(ino, next, file_type(FileKind::Directory), name) {
                return reply.ok();
            }
        }
        let after = offset.saturating_sub(DOT_ENTRIES);
        let listed = self.overlay.read_dir(Ino(ino.0), after, &mut |entry| {
            empty = false;
            let next = entry.cookie.saturating_add(DOT_ENTRIES);
            !reply.add(INodeNo(entry.ino.0), next, file_type(entry.kind), entry.name)
        });
        match listed {
            Err(error) if empty => reply.error(self.fail("readdir", ino, &error)),
            // What was listed before the failure goes out; asking on meets it again.
            _ => reply.ok(),
        }
    }

    fn readdirplus(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        self.asked(&self.counters.listings);
        let mut empty = true;
        let itself = match self.overlay.getattr(Ino(ino.0)) {
            Ok(stat) => attr(&stat),
            Err(error) => return reply.error(self.fail("readdir", ino, &error)),
        };
        for (next, name) in dot_entries(offset) {
            empty = false;
            // The kernel takes no reference to these two.
            if reply.add(ino, next, name, &FOREVER, &itself, Generation(0)) {
                return reply.ok();
            }
        }
        let after = offset.saturating_sub(DOT_ENTRIES);
        let listed = self.overlay.read_dir_plus(Ino(ino.0), after, &mut |entry, stat| {
            empty = false;
            let next = entry.cookie.saturating_add(DOT_ENTRIES);
            let generation = Generation(stat.generation);
            !reply.add(INodeNo(stat.ino.0), next, entry.name, &FOREVER, &attr(stat), generation)
        });
        match listed {
            Err(error) if empty => reply.error(self.fail("readdir", ino, &error)),
            _ => reply.ok(),
        }
    }

    fn statfs(&self, _request: &Request, ino: INodeNo, reply: ReplyStatfs) {
        match self.overlay.space() {
            Ok(space) => {
                let block_bytes = u32::try_from(space.block_bytes).unwrap_or(4096);
                reply.statfs(
                    space.blocks,
                    space.free_blocks,
                    space.available_blocks,
                    space.inodes,
                    space.free_inodes,
                    block_bytes,
                    255,
                    block_bytes,
                );
            }
            Err(error) => reply.error(self.fail("statfs", ino, &error)),
        }
    }

    fn setxattr(
        &self,
        request: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        let (name, value) = (name.to_owned(), value.to_vec());
        let flags = XattrFlags::from_bits_retain(flags.cast_unsigned());
        let caller = caller(request);
        let groups = match name == ACCESS_ACL && caller != Caller::ROOT {
            true => Some(groups_of(request)),
            false => None,
        };
        self.change_and_reply("setxattr", ino, reply, move |overlay| {
            overlay.set_xattr(Ino(ino.0), &name, &value, flags)?;
            match groups {
                Some(groups) => drop_set_group_id(overlay, caller, &groups, Ino(ino.0)),
                None => Ok(()),
            }
        });
    }

    fn getxattr(&self, _request: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let value = self.overlay.xattr(Ino(ino.0), name);
        let value = value.and_then(|value| value.ok_or_else(|| Errno::NODATA.into()));
        self.reply_xattr(ino, size, value, reply);
    }

    fn listxattr(&self, _request: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let names = self.overlay.xattr_names(Ino(ino.0)).map(|names| joined(&names));
        self.reply_xattr(ino, size, names, reply);
    }

    fn removexattr(&self, _request: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name.to_owned();
        self.change_and_reply("removexattr", ino, reply, move |overlay| {
            overlay.remove_xattr(Ino(ino.0), &name)
        });
    }

    /// Inode flags and whatever else: there are none.
    fn ioctl(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _handle: FileHandle,
        _flags: IoctlFlags,
        _command: u32,
        _input: &[u8],
        _output_size: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(fuser::Errno::ENOTTY);
    }
}
