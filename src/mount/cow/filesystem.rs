//! The kernel's requests, one method each.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::SystemTime;

use fuser::{
    BsdFileFlags, CopyFileRangeFlags, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, InitFlags, IoctlFlags,
    KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr,
    Request, TimeOrNow, WriteFlags,
};
use rustix::fs::{FallocateFlags, XattrFlags};

use super::content::{Transfer, Write};
use super::convert::{attr, caller, lifetime, new_mode, new_node, nothing, rename_mode, set_time};
use super::credentials::{ACCESS_ACL, Asker, drop_set_group_id};
use super::direct::UNCACHED;
use super::{Cow, enter};
use crate::mount::adapter::attr::file_type;
use crate::mount::adapter::counters::Counters;
use crate::mount::adapter::inode_flags::FlagsRequest;
use crate::mount::adapter::{Call, DOT_ENTRIES, FOREVER, MAX_READ_BYTES, dots_behind, fail, joined, set_limits};
use crate::overlay::layer::{Errno, FileKind};
use crate::overlay::{Change, Ino, NewNode, Overlay};

impl Filesystem for Cow {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let needed = InitFlags::FUSE_NO_OPEN_SUPPORT
            | InitFlags::FUSE_NO_OPENDIR_SUPPORT
            | InitFlags::FUSE_DONT_MASK
            | InitFlags::FUSE_POSIX_ACL
            | InitFlags::FUSE_HANDLE_KILLPRIV_V2;
        // Without FUSE_EXPLICIT_INVAL_DATA: when a write that passes the cache makes a file longer, the kernel may learn the
        // new length from another answer first. It then cuts its pages there, perhaps after they were filled anew with
        // what a later write has appended (`fuse_change_attributes` in Linux' fs/fuse/inode.c). Zeros would stay.
        let wanted = InitFlags::FUSE_PARALLEL_DIROPS
            | InitFlags::FUSE_DO_READDIRPLUS
            | InitFlags::FUSE_CACHE_SYMLINKS
            | InitFlags::FUSE_ASYNC_DIO
            // The number of a file of the upper does not lead to the file, so a handle of it would end with the
            // kernel's memory of it (name_to_handle_at(2)).
            | InitFlags::FUSE_NO_EXPORT_SUPPORT;
        let offered = config.capabilities();
        config
            .add_capabilities(needed | (wanted & offered))
            .map_err(|missing| io::Error::other(format!("the kernel lacks {missing:?} (it is older than 5.11)")))?;
        set_limits(config);
        Ok(())
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.desk.asked(&self.desk.counters.lookups);
        match self.overlay.lookup(Ino(parent.0), name) {
            Ok(Some(stat)) => enter(&stat, reply),
            // Inode 0 with a lifetime: the kernel remembers that the name does not exist.
            Ok(None) => reply.entry(&FOREVER, &nothing(), Generation(0)),
            Err(error) => reply.error(self.desk.fail(Call::of(request, "lookup", parent), &error)),
        }
    }

    fn forget(&self, _request: &Request, ino: INodeNo, count: u64) {
        self.overlay.forget(Ino(ino.0), count);
    }

    fn getattr(&self, request: &Request, ino: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        self.desk.asked(&self.desk.counters.attributes);
        match self.overlay.getattr(Ino(ino.0)) {
            Ok(stat) => reply.attr(&lifetime(&stat), &attr(&stat)),
            Err(error) => reply.error(self.desk.fail(Call::of(request, "getattr", ino), &error)),
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
        let (call, asker) = (Call::of(request, "setattr", ino), Asker::of(request));
        let change = Change {
            permissions: mode.map(|mode| mode & 0o7777),
            uid,
            gid,
            size_bytes: size,
            accessed: atime.map(set_time),
            modified: mtime.map(set_time),
        };
        let change_it = move |overlay: &Overlay, counters: &Counters| match overlay.setattr(asker, Ino(ino.0), &change)
        {
            Ok(stat) => reply.attr(&lifetime(&stat), &attr(&stat)),
            Err(error) => reply.error(fail(counters, call, &error)),
        };
        self.change(ino, change_it);
    }

    fn readlink(&self, request: &Request, ino: INodeNo, reply: ReplyData) {
        self.desk.asked(&self.desk.counters.links);
        match self.overlay.read_link(Ino(ino.0), self.view.files()) {
            Ok(target) => reply.data(&target),
            Err(error) => reply.error(self.desk.fail(Call::of(request, "readlink", ino), &error)),
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
        self.desk.asked(&self.desk.counters.changes);
        let made = self
            .overlay
            .create(caller(request), Ino(parent.0), name, node, new_mode(mode, umask));
        self.reply_entry(Call::of(request, "mknod", parent), made, reply);
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        self.desk.asked(&self.desk.counters.changes);
        let made = self.overlay.create(
            caller(request),
            Ino(parent.0),
            name,
            NewNode::Directory,
            new_mode(mode, umask),
        );
        self.reply_entry(Call::of(request, "mkdir", parent), made, reply);
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let node = NewNode::Symlink(target.as_os_str().as_bytes());
        self.desk.asked(&self.desk.counters.changes);
        let made = self
            .overlay
            .create(caller(request), Ino(parent.0), name, node, new_mode(0o777, 0));
        self.reply_entry(Call::of(request, "symlink", parent), made, reply);
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
        let mut handle = FileHandle(0);
        let mut open_flags = FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH;
        if flags & libc::O_ACCMODE == libc::O_WRONLY {
            // A file opened for writing only needs no page cache: saves copying, and a request for the file's
            // capabilities before its first write. (The kernel and we keep other opens coherent.)
            open_flags |= FopenFlags::FOPEN_DIRECT_IO;
            handle = UNCACHED;
        }
        self.desk.asked(&self.desk.counters.changes);
        let mode = new_mode(mode, umask);
        match self
            .overlay
            .create(caller(request), Ino(parent.0), name, NewNode::Regular, mode)
        {
            Ok(stat) => reply.created(
                &lifetime(&stat),
                &attr(&stat),
                Generation(stat.generation),
                handle,
                open_flags,
            ),
            Err(error) => reply.error(self.desk.fail(Call::of(request, "create", parent), &error)),
        }
    }

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.desk.asked(&self.desk.counters.changes);
        let done = self.overlay.unlink(Ino(parent.0), name);
        self.reply_empty(Call::of(request, "unlink", parent), done, reply);
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.desk.asked(&self.desk.counters.changes);
        let done = self.overlay.rmdir(Ino(parent.0), name);
        self.reply_empty(Call::of(request, "rmdir", parent), done, reply);
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
        self.desk.asked(&self.desk.counters.changes);
        let Some(mode) = rename_mode(flags) else {
            return reply.error(fuser::Errno::EINVAL);
        };
        let (call, caller) = (Call::of(request, "rename", parent), caller(request));
        let (name, newname) = (name.to_owned(), newname.to_owned());
        let (overlay, counters) = self.shared();
        let is_slow =
            overlay.is_slow_to_rename(Ino(parent.0), &name) || overlay.is_slow_to_rename(Ino(newparent.0), &newname);
        let work = move || {
            let (from, to) = ((Ino(parent.0), &*name), (Ino(newparent.0), &*newname));
            match overlay.rename(caller, from, to, mode) {
                Ok(()) => reply.ok(),
                Err(error) => reply.error(fail(&counters, call, &error)),
            }
        };
        if is_slow { self.workers.run(work) } else { work() }
    }

    fn link(&self, request: &Request, ino: INodeNo, newparent: INodeNo, newname: &OsStr, reply: ReplyEntry) {
        let (call, name) = (Call::of(request, "link", ino), newname.to_owned());
        self.change(ino, move |overlay, counters| {
            match overlay.link(Ino(ino.0), Ino(newparent.0), &name) {
                Ok(stat) => enter(&stat, reply),
                Err(error) => reply.error(fail(counters, call, &error)),
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
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.desk.asked(&self.desk.counters.reads);
        let from = Transfer {
            call: Call::of(request, "read", ino),
            ino,
            handle,
            offset,
            flags,
        };
        self.read_content(from, size.min(MAX_READ_BYTES) as usize, reply);
    }

    fn write(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let to = Transfer {
            call: Call::of(request, "write", ino),
            ino,
            handle,
            offset,
            flags,
        };
        let write = Write {
            to,
            asker: Asker::of(request),
            write_flags,
            is_synced: !self.volatile && flags.0 & libc::O_DSYNC != 0,
        };
        self.write_content(write, data, reply);
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
        let asker = Asker::of(request);
        let mode = FallocateFlags::from_bits_retain(mode.cast_unsigned());
        self.change_and_reply(Call::of(request, "fallocate", ino), ino, reply, move |overlay| {
            overlay.allocate(asker, Ino(ino.0), mode, offset, length)
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
        self.desk.asked(&self.desk.counters.changes);
        let (call, asker) = (Call::of(request, "copy_file_range", ino_out), Asker::of(request));
        let length = usize::try_from(len.min(MAX_BYTES)).unwrap_or(0);
        let (overlay, counters) = self.shared();
        self.workers.run(move || {
            match overlay.copy_range(asker, (Ino(ino_in.0), offset_in), (Ino(ino_out.0), offset_out), length) {
                Ok(copied) => reply.written(u32::try_from(copied).unwrap_or(u32::MAX)),
                Err(error) => reply.error(fail(&counters, call, &error)),
            }
        });
    }

    fn lseek(&self, request: &Request, ino: INodeNo, _handle: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        let Ok(offset) = u64::try_from(offset) else {
            return reply.error(fuser::Errno::ENXIO);
        };
        match self.overlay.seek(Ino(ino.0), offset, whence == libc::SEEK_HOLE) {
            Ok(found) => reply.offset(i64::try_from(found).unwrap_or(i64::MAX)),
            Err(error) => reply.error(self.desk.fail(Call::of(request, "lseek", ino), &error)),
        }
    }

    fn fsync(&self, request: &Request, ino: INodeNo, _handle: FileHandle, data_only: bool, reply: ReplyEmpty) {
        if self.volatile {
            return reply.error(fuser::Errno::ENOSYS);
        }
        let call = Call::of(request, "fsync", ino);
        let (overlay, counters) = self.shared();
        self.workers.run(move || match overlay.sync(Ino(ino.0), data_only) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(fail(&counters, call, &error)),
        });
    }

    fn fsyncdir(&self, request: &Request, ino: INodeNo, handle: FileHandle, data_only: bool, reply: ReplyEmpty) {
        self.fsync(request, ino, handle, data_only, reply);
    }

    fn readdir(&self, request: &Request, ino: INodeNo, _handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        self.desk.asked(&self.desk.counters.listings);
        let mut empty = true;
        for (next, name) in dots_behind(offset) {
            empty = false;
            if reply.add(ino, next, file_type(FileKind::Directory), name) {
                return reply.ok();
            }
        }
        self.note_listing(ino, offset);
        let after = offset.saturating_sub(DOT_ENTRIES);
        let listed = self.overlay.read_dir(Ino(ino.0), after, &mut |entry| {
            empty = false;
            let next = entry.cookie.saturating_add(DOT_ENTRIES);
            !reply.add(INodeNo(entry.ino.0), next, file_type(entry.kind), entry.name)
        });
        match listed {
            Err(error) if empty => reply.error(self.desk.fail(Call::of(request, "readdir", ino), &error)),
            // The entries listed before the failure are sent; the next request meets it again.
            _ => reply.ok(),
        }
    }

    fn readdirplus(
        &self,
        request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        self.desk.asked(&self.desk.counters.listings);
        let mut empty = true;
        let itself = match self.overlay.getattr(Ino(ino.0)) {
            Ok(stat) => attr(&stat),
            Err(error) => return reply.error(self.desk.fail(Call::of(request, "readdirplus", ino), &error)),
        };
        for (next, name) in dots_behind(offset) {
            empty = false;
            // The kernel takes no reference to these two.
            if reply.add(ino, next, name, &FOREVER, &itself, Generation(0)) {
                return reply.ok();
            }
        }
        self.note_listing(ino, offset);
        let after = offset.saturating_sub(DOT_ENTRIES);
        let listed = self.overlay.read_dir_plus(Ino(ino.0), after, &mut |entry, stat| {
            empty = false;
            let next = entry.cookie.saturating_add(DOT_ENTRIES);
            let generation = Generation(stat.generation);
            !reply.add(
                INodeNo(stat.ino.0),
                next,
                entry.name,
                &lifetime(stat),
                &attr(stat),
                generation,
            )
        });
        match listed {
            Err(error) if empty => reply.error(self.desk.fail(Call::of(request, "readdirplus", ino), &error)),
            _ => reply.ok(),
        }
    }

    fn statfs(&self, request: &Request, ino: INodeNo, reply: ReplyStatfs) {
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
            Err(error) => reply.error(self.desk.fail(Call::of(request, "statfs", ino), &error)),
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
        let is_acl = name == ACCESS_ACL;
        let asker = Asker::of(request);
        self.change_and_reply(Call::of(request, "setxattr", ino), ino, reply, move |overlay| {
            overlay.set_xattr(Ino(ino.0), &name, &value, flags)?;
            match is_acl {
                true => drop_set_group_id(overlay, asker, Ino(ino.0)),
                false => Ok(()),
            }
        });
    }

    fn getxattr(&self, request: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let value = self.overlay.xattr(Ino(ino.0), name);
        let value = value.and_then(|value| value.ok_or_else(|| Errno::NODATA.into()));
        self.desk
            .reply_xattr(Call::of(request, "getxattr", ino), size, value, reply);
    }

    fn listxattr(&self, request: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let names = self.overlay.xattr_names(Ino(ino.0)).map(|names| joined(&names));
        self.desk
            .reply_xattr(Call::of(request, "listxattr", ino), size, names, reply);
    }

    fn removexattr(&self, request: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name.to_owned();
        self.change_and_reply(Call::of(request, "removexattr", ino), ino, reply, move |overlay| {
            overlay.remove_xattr(Ino(ino.0), &name)
        });
    }

    fn ioctl(
        &self,
        request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        _flags: IoctlFlags,
        command: u32,
        input: &[u8],
        _output_size: u32,
        reply: ReplyIoctl,
    ) {
        let asked = FlagsRequest::of(command, input);
        self.control(Call::of(request, "ioctl", ino), ino, asked, reply);
    }
}
