//! The read-only FUSE adapter: shows layers through `fuser`, nothing else.
//!
//! It is fast because the kernel rarely asks it: entries, attributes, symbolic links, missing names and pages stay in
//! the kernel for good (a layer never changes), `open` and `opendir` cost no message at all, and directories come
//! with their attributes.
//!
//! Consequence of the zero-message open: a file whose content is unavailable (a package that fails verification, a
//! damaged snapshot) opens, and fails with `EIO` when it is read. The failure is not cached, so a later read tries
//! again.

mod ids;
mod push;
mod tree;

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use fuser::{
    FileHandle, Filesystem, FopenFlags, Generation, INodeNo, InitFlags, IoctlFlags, KernelConfig, LockOwner, OpenFlags,
    ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek,
    ReplyOpen, ReplyStatfs, ReplyXattr, Request,
};

use push::Pusher;
use tree::{Node, Tree};

use super::adapter::attr::{BLOCK_BYTES, file_type};
use super::adapter::counters::count;
use super::adapter::inode_flags::FlagsRequest;
use super::adapter::workers::Workers;
use super::adapter::{Call, Desk, FOREVER, MAX_READ_BYTES, ServeOptions, Server, read, set_limits};
use crate::overlay::layer::{Errno, Layer};

const GENERATION: Generation = Generation(0);

/// Takes over the connection `device`, a `/dev/fuse` descriptor that belongs to a mount, for showing `layers` (name
/// and layer): the one named `root` alone, or a directory for each.
///
/// # Errors
/// If there are too many layers, `root` is not among them, or the kernel hung up.
pub(super) fn server(
    device: OwnedFd,
    layers: Vec<(String, Arc<dyn Layer>)>,
    root: Option<&str>,
    options: &ServeOptions,
) -> io::Result<Server<Lower>> {
    let tree = Tree::new(layers, root)?;
    let desk = Desk::open(&device, options)?;
    let counters = Arc::clone(&desk.counters);
    let pusher = Arc::new(Pusher::new(Arc::clone(&counters)));
    let lower = Lower {
        has_xattrs: tree.has_xattrs(),
        workers: (0..tree.len()).map(|_| Workers::new(options.workers)).collect(),
        tree,
        desk,
        pusher: Arc::clone(&pusher),
        zero_message_open: false,
        zero_message_opendir: false,
    };
    let server = Server::start(device, options, lower, counters)?;
    pusher.connect(server.notifier());
    Ok(server)
}

/// The file system of one mount.
#[derive(Debug)]
pub(super) struct Lower {
    tree: Tree,
    /// The threads for the reads of each layer that have to wait.
    workers: Vec<Workers>,
    has_xattrs: bool,
    zero_message_open: bool,
    zero_message_opendir: bool,
    desk: Desk,
    pusher: Arc<Pusher>,
}

impl Filesystem for Lower {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let offered = config.capabilities();
        let mut wanted = InitFlags::FUSE_PARALLEL_DIROPS
            | InitFlags::FUSE_DO_READDIRPLUS
            | InitFlags::FUSE_CACHE_SYMLINKS
            | InitFlags::FUSE_EXPLICIT_INVAL_DATA
            | InitFlags::FUSE_NO_OPEN_SUPPORT
            | InitFlags::FUSE_NO_OPENDIR_SUPPORT;
        // Not FUSE_EXPORT_SUPPORT: a file that overlayfs finds by its handle, unknown to the kernel
        // by name, is ESTALE at its second use (since Linux 6.16, where dentries got an epoch).
        // Not FUSE_NO_EXPORT_SUPPORT either: overlayfs needs the handles of what the kernel does know,
        // or two names of one copied-up file get two inode numbers. A layer that users see has none.
        if self.tree.is_alone() {
            wanted |= InitFlags::FUSE_NO_EXPORT_SUPPORT;
        }
        if self.has_xattrs {
            wanted |= InitFlags::FUSE_POSIX_ACL;
        }
        let refused = |flags: InitFlags| io::Error::other(format!("the kernel took back {flags:?}"));
        config.add_capabilities(wanted & offered).map_err(refused)?;
        self.zero_message_open = offered.contains(InitFlags::FUSE_NO_OPEN_SUPPORT);
        self.zero_message_opendir = offered.contains(InitFlags::FUSE_NO_OPENDIR_SUPPORT);
        set_limits(config);
        Ok(())
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.desk.asked(&self.desk.counters.lookups);
        match self.tree.find(parent, name) {
            Ok(found) => reply.entry(&FOREVER, &found.unwrap_or_else(|| self.tree.nothing()), GENERATION),
            Err(error) => reply.error(self.desk.fail(Call::of(request, "lookup", parent), &error)),
        }
    }

    fn getattr(&self, request: &Request, ino: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        self.desk.asked(&self.desk.counters.attributes);
        match self.tree.attributes(ino) {
            Ok(attr) => reply.attr(&FOREVER, &attr),
            Err(error) => reply.error(self.desk.fail(Call::of(request, "getattr", ino), &error)),
        }
    }

    fn readlink(&self, request: &Request, ino: INodeNo, reply: ReplyData) {
        self.desk.asked(&self.desk.counters.links);
        let found = self.tree.node(ino, Errno::INVAL);
        match found.and_then(|Node { layer, node, .. }| layer.read_link(node)) {
            Ok(target) => reply.data(&target),
            Err(error) => reply.error(self.desk.fail(Call::of(request, "readlink", ino), &error)),
        }
    }

    fn open(&self, _request: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        if self.zero_message_open {
            reply.error(fuser::Errno::ENOSYS);
        } else {
            reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
        }
    }

    fn opendir(&self, _request: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        if self.zero_message_opendir {
            reply.error(fuser::Errno::ENOSYS);
        } else {
            reply.opened(
                FileHandle(0),
                FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_CACHE_DIR,
            );
        }
    }

    fn read(
        &self,
        request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.desk.asked(&self.desk.counters.reads);
        let call = Call::of(request, "read", ino);
        let Node { index, layer, node } = match self.tree.node(ino, Errno::ISDIR) {
            Ok(found) => found,
            Err(error) => return reply.error(self.desk.fail(call, &error)),
        };
        if offset == 0 {
            self.pusher.asked(index, layer, node);
        }
        let length = size.min(MAX_READ_BYTES) as usize;
        let is_ready = layer.is_ready(node, offset, length);
        let (layer, counters) = (Arc::clone(layer), Arc::clone(&self.desk.counters));
        let work = move || {
            read(&counters, call, length, reply, |buffer| {
                layer.read_at(node, offset, buffer)
            });
        };
        match self.workers.get(index) {
            Some(workers) if !is_ready => {
                count(&self.desk.counters.slow_reads, 1);
                workers.run(work);
            }
            _ => work(),
        }
    }

    fn readdir(&self, request: &Request, ino: INodeNo, _handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        self.desk.asked(&self.desk.counters.listings);
        let mut empty = true;
        let listed = self.tree.list(ino, offset, &mut |ino, next, kind, name| {
            empty = false;
            Ok(!reply.add(ino, next, file_type(kind), name))
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
        let listed = self.tree.list(ino, offset, &mut |ino, next, _, name| {
            let attr = self.tree.attributes(ino)?;
            empty = false;
            Ok(!reply.add(ino, next, name, &FOREVER, &attr, GENERATION))
        });
        match listed {
            Err(error) if empty => reply.error(self.desk.fail(Call::of(request, "readdirplus", ino), &error)),
            _ => reply.ok(),
        }
    }

    // The rest are requests that the kernel may make on a read-only mount. It remembers ENOSYS, and then the page
    // cache and the generic code answer.
    fn flush(&self, _request: &Request, _ino: INodeNo, _handle: FileHandle, _owner: LockOwner, reply: ReplyEmpty) {
        reply.error(fuser::Errno::ENOSYS);
    }

    fn fsync(&self, _request: &Request, _ino: INodeNo, _handle: FileHandle, _data: bool, reply: ReplyEmpty) {
        reply.error(fuser::Errno::ENOSYS);
    }

    fn fsyncdir(&self, _request: &Request, _ino: INodeNo, _handle: FileHandle, _data: bool, reply: ReplyEmpty) {
        reply.error(fuser::Errno::ENOSYS);
    }

    fn lseek(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _handle: FileHandle,
        _offset: i64,
        _whence: i32,
        reply: ReplyLseek,
    ) {
        reply.error(fuser::Errno::ENOSYS);
    }

    /// Answers requests for inode flags, which overlayfs makes before each copy-up: a layer has none.
    fn ioctl(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _handle: FileHandle,
        _flags: IoctlFlags,
        command: u32,
        input: &[u8],
        _output_size: u32,
        reply: ReplyIoctl,
    ) {
        self.desk.noticed();
        match FlagsRequest::of(command, input) {
            Some(FlagsRequest::Set(_)) => reply.error(fuser::Errno::EROFS),
            Some(asked) => asked.reply(0, reply),
            None => reply.error(fuser::Errno::ENOTTY),
        }
    }

    fn statfs(&self, _request: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        let (blocks, nodes) = self.tree.totals();
        reply.statfs(blocks, 0, 0, nodes, 0, BLOCK_BYTES, 255, BLOCK_BYTES);
    }

    fn getxattr(&self, request: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        if !self.has_xattrs {
            return reply.error(fuser::Errno::ENOSYS);
        }
        let call = Call::of(request, "getxattr", ino);
        self.desk.reply_xattr(call, size, self.tree.xattr(ino, name), reply);
    }

    fn listxattr(&self, request: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        if !self.has_xattrs {
            return reply.error(fuser::Errno::ENOSYS);
        }
        let call = Call::of(request, "listxattr", ino);
        self.desk.reply_xattr(call, size, self.tree.xattr_names(ino), reply);
    }
}
