//! The read-only FUSE adapter: shows layers through `fuser`, nothing else.
//!
//! It is fast because it is not asked: entries, attributes, symbolic links, missing
//! names and pages stay in the kernel for good (a layer never changes), `open` and
//! `opendir` cost no message at all, and directories come with their attributes.
//!
//! Consequence of the zero-message open: a file whose content cannot be had (a
//! package that fails verification, a damaged snapshot) opens, and fails with
//! `EIO` when it is read. Nothing is cached of it, so a later read tries again.

mod answer;
pub(super) mod attr;
pub(super) mod counters;
mod ids;
mod push;
pub(super) mod workers;

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use fuser::{
    Config, FileAttr, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, InitFlags, IoctlFlags, KernelConfig,
    LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl,
    ReplyLseek, ReplyOpen, ReplyStatfs, ReplyXattr, Request, Session, SessionACL,
};

use serde::{Deserialize, Serialize};

pub(super) use answer::joined;
use answer::{read, report};
use attr::{BLOCK_BYTES, file_attr, file_type};
pub use counters::Counts;
use counters::{Counters, count};
use push::Pusher;
use workers::Workers;

use super::polling::Polling;
use crate::overlay::layer::{Attributes, Errno, FileKind, Layer, LayerError, LayerResult, NodeId, Timestamp};

/// How long the kernel may remember: about 30 years, which is "for good" and far from any overflow.
pub(super) const FOREVER: Duration = Duration::from_secs(1_000_000_000);
const GENERATION: Generation = Generation(0);
/// Largest read; the kernel's own limit is 256 pages unless raised (`fs.fuse.max_pages_limit`).
pub(super) const MAX_READ_BYTES: u32 = 1024 * 1024;
/// Requests (read-ahead) in flight; enough to keep workers busy while pages are used.
pub(super) const MAX_BACKGROUND: u16 = 64;
/// Offsets 1 and 2 of a listing are behind `.` and `..`; a layer's cookies follow.
pub(super) const DOT_ENTRIES: u64 = 2;

/// What is served, and with how many threads.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LowerOptions {
    /// Serve this layer as the root; otherwise the root lists the layers by name.
    pub root: Option<String>,
    /// Threads that answer the kernel. One is enough, since slow work goes to others, and only one alone asks
    /// for requests instead of sleeping ([`super::polling`]).
    pub threads: usize,
    /// Threads per layer for reads that have to wait.
    pub workers: usize,
    /// Answer every user, not only the one that mounted.
    pub allow_other: bool,
}

impl Default for LowerOptions {
    fn default() -> Self {
        Self {
            root: None,
            threads: 1,
            workers: 8,
            allow_other: false,
        }
    }
}

/// A server that took up the connection, but answers only once [`Server::run`] is called.
pub struct Server {
    session: Session<Lower>,
    counters: Arc<Counters>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

/// Reads a server's counters while it runs.
#[derive(Debug, Clone)]
pub struct CountsReader(pub(super) Arc<Counters>);

impl CountsReader {
    /// The counters as they are now.
    pub fn read(&self) -> Counts {
        self.0.counts()
    }
}

impl Server {
    /// Answers the kernel's `FUSE_INIT` on `device`, a `/dev/fuse` descriptor that belongs to a mount.
    ///
    /// # Errors
    /// If there are too many layers, `root` is not among them, or the kernel hung up.
    pub fn new(device: OwnedFd, layers: Vec<(String, Arc<dyn Layer>)>, options: &LowerOptions) -> io::Result<Self> {
        let lower = Lower::new(layers, options, Polling::new(&device, options.threads)?)?;
        let (counters, pusher) = (Arc::clone(&lower.counters), Arc::clone(&lower.pusher));
        let mut config = Config::default();
        config.n_threads = Some(options.threads.max(1));
        config.clone_fd = true;
        let acl = if options.allow_other {
            SessionACL::All
        } else {
            SessionACL::Owner
        };
        let session = Session::from_fd(lower, device, acl, config)?;
        pusher.connect(session.notifier());
        Ok(Self { session, counters })
    }

    /// A reader for the counters, for another thread.
    pub fn counts(&self) -> CountsReader {
        CountsReader(Arc::clone(&self.counters))
    }

    /// Answers requests until the file system is unmounted everywhere.
    ///
    /// # Errors
    /// If the connection breaks in another way.
    pub fn run(self) -> io::Result<()> {
        self.session.run()
    }
}

#[derive(Debug)]
struct Served {
    name: String,
    layer: Arc<dyn Layer>,
    workers: Workers,
}

#[derive(Debug)]
struct Lower {
    layers: Vec<Served>,
    /// The layer that is the root, or `None` for the list of layers.
    root: Option<usize>,
    has_xattrs: bool,
    zero_message_open: bool,
    zero_message_opendir: bool,
    counters: Arc<Counters>,
    pusher: Arc<Pusher>,
    polling: Polling,
}

/// What an inode number stands for.
#[derive(Clone, Copy)]
enum Place<'a> {
    /// The root that lists the layers.
    Listing,
    Node(&'a Served, usize, NodeId),
}

impl Lower {
    fn new(layers: Vec<(String, Arc<dyn Layer>)>, options: &LowerOptions, polling: Polling) -> io::Result<Self> {
        if layers.len() > ids::MAX_LAYERS {
            return Err(io::Error::other(format!(
                "{} layers are more than one mount can serve ({})",
                layers.len(),
                ids::MAX_LAYERS
            )));
        }
        let root = match &options.root {
            None => None,
            Some(wanted) => Some(
                layers
                    .iter()
                    .position(|(name, _)| name == wanted)
                    .ok_or_else(|| io::Error::other(format!("there is no layer named {wanted:?}")))?,
            ),
        };
        let counters = Arc::<Counters>::default();
        Ok(Self {
            pusher: Arc::new(Pusher::new(Arc::clone(&counters))),
            counters,
            has_xattrs: layers.iter().any(|(_, layer)| layer.summary().has_xattrs),
            layers: layers
                .into_iter()
                .map(|(name, layer)| Served {
                    name,
                    layer,
                    workers: Workers::new(options.workers),
                })
                .collect(),
            root,
            polling,
            zero_message_open: false,
            zero_message_opendir: false,
        })
    }

    fn place(&self, ino: INodeNo) -> LayerResult<Place<'_>> {
        let (index, node) = match (ino, self.root) {
            (INodeNo::ROOT, None) => return Ok(Place::Listing),
            (INodeNo::ROOT, Some(index)) => (index, None),
            _ => match ids::unpack(ino) {
                Some((index, node)) => (index, Some(node)),
                None => return Err(Errno::STALE.into()),
            },
        };
        let served = self.layers.get(index).ok_or(Errno::STALE)?;
        Ok(Place::Node(served, index, node.unwrap_or_else(|| served.layer.root())))
    }

    /// The layer and node of `ino`; the list of layers answers with `errno`.
    fn node(&self, ino: INodeNo, errno: Errno) -> LayerResult<(&Served, usize, NodeId)> {
        match self.place(ino)? {
            Place::Listing => Err(errno.into()),
            Place::Node(served, index, node) => Ok((served, index, node)),
        }
    }

    fn ino(&self, index: usize, node: NodeId) -> LayerResult<INodeNo> {
        match self.layers.get(index) {
            Some(served) if self.root == Some(index) && served.layer.root() == node => Ok(INodeNo::ROOT),
            _ => ids::pack(index, node),
        }
    }

    fn node_attributes(&self, index: usize, node: NodeId) -> LayerResult<FileAttr> {
        let served = self.layers.get(index).ok_or(Errno::STALE)?;
        Ok(file_attr(self.ino(index, node)?, &served.layer.attributes(node)?))
    }

    fn attributes(&self, ino: INodeNo) -> LayerResult<FileAttr> {
        match self.place(ino)? {
            Place::Listing => Ok(self.listing_attributes()),
            Place::Node(_, index, node) => self.node_attributes(index, node),
        }
    }

    fn listing_attributes(&self) -> FileAttr {
        let attributes = Attributes {
            kind: FileKind::Directory,
            permissions: 0o755,
            uid: 0,
            gid: 0,
            size_bytes: 0,
            modified: Timestamp::default(),
            links: 2_u32.saturating_add(u32::try_from(self.layers.len()).unwrap_or(u32::MAX)),
            device: (0, 0),
        };
        file_attr(INodeNo::ROOT, &attributes)
    }

    fn find(&self, parent: INodeNo, name: &OsStr) -> LayerResult<Option<FileAttr>> {
        let found = match self.place(parent)? {
            Place::Listing => self
                .layers
                .iter()
                .position(|served| name == served.name.as_str())
                .and_then(|index| Some((index, self.layers.get(index)?.layer.root()))),
            Place::Node(served, index, node) => served.layer.lookup(node, name)?.map(|found| (index, found)),
        };
        found.map(|(index, node)| self.node_attributes(index, node)).transpose()
    }

    /// Calls `add(ino, next offset, kind, name)` for the entries behind `offset` until it returns `false`.
    fn list(
        &self,
        ino: INodeNo,
        offset: u64,
        add: &mut dyn FnMut(INodeNo, u64, FileKind, &OsStr) -> LayerResult<bool>,
    ) -> LayerResult<()> {
        let place = self.place(ino)?;
        for (position, name) in [".", ".."]
            .into_iter()
            .enumerate()
            .skip(usize::try_from(offset).unwrap_or(2))
        {
            if !add(ino, position as u64 + 1, FileKind::Directory, OsStr::new(name))? {
                return Ok(());
            }
        }
        let after = offset.saturating_sub(DOT_ENTRIES);
        match place {
            Place::Listing => {
                for (index, served) in self
                    .layers
                    .iter()
                    .enumerate()
                    .skip(usize::try_from(after).unwrap_or(usize::MAX))
                {
                    let root = self.ino(index, served.layer.root())?;
                    let next = index as u64 + 1 + DOT_ENTRIES;
                    if !add(root, next, FileKind::Directory, OsStr::new(&served.name))? {
                        break;
                    }
                }
                Ok(())
            }
            Place::Node(served, index, node) => {
                let mut failure = None;
                served.layer.entries(node, after, &mut |entry| {
                    let added = self
                        .ino(index, entry.node)
                        .and_then(|ino| add(ino, entry.cookie.saturating_add(DOT_ENTRIES), entry.kind, entry.name));
                    added.unwrap_or_else(|error| {
                        failure = Some(error);
                        false
                    })
                })?;
                failure.map_or(Ok(()), Err)
            }
        }
    }

    fn value(&self, ino: INodeNo, name: &OsStr) -> LayerResult<Vec<u8>> {
        let (served, _, node) = self.node(ino, Errno::NODATA)?;
        served.layer.xattr(node, name)?.ok_or_else(|| Errno::NODATA.into())
    }

    fn value_names(&self, ino: INodeNo) -> LayerResult<Vec<u8>> {
        let names = match self.place(ino)? {
            Place::Listing => Vec::new(),
            Place::Node(served, _, node) => served.layer.xattr_names(node)?,
        };
        Ok(joined(&names))
    }

    /// A request has come, of a kind that is counted.
    fn asked(&self, counter: &AtomicU64) {
        count(counter, 1);
        self.polling.noticed();
    }

    /// Counts and logs `error`, and turns it into what the kernel is told.
    fn fail(&self, request: &str, ino: INodeNo, error: &LayerError) -> fuser::Errno {
        report(&self.counters, request, ino, error)
    }

    fn reply_xattr(&self, ino: INodeNo, size: u32, value: LayerResult<Vec<u8>>, reply: ReplyXattr) {
        self.asked(&self.counters.xattrs);
        match value {
            Err(error) => reply.error(self.fail("getxattr", ino, &error)),
            Ok(value) => match u32::try_from(value.len()) {
                Ok(length) if size == 0 => reply.size(length),
                Ok(length) if length <= size => reply.data(&value),
                _ => reply.error(fuser::Errno::ERANGE),
            },
        }
    }
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
        // or two names of one copied-up file get two inode numbers.
        if self.has_xattrs {
            wanted |= InitFlags::FUSE_POSIX_ACL;
        }
        let refused = |flags: InitFlags| io::Error::other(format!("the kernel took back {flags:?}"));
        config.add_capabilities(wanted & offered).map_err(refused)?;
        self.zero_message_open = offered.contains(InitFlags::FUSE_NO_OPEN_SUPPORT);
        self.zero_message_opendir = offered.contains(InitFlags::FUSE_NO_OPENDIR_SUPPORT);
        // Both setters answer with the nearest valid value; these values are valid.
        let _ = config.set_max_write(MAX_READ_BYTES);
        let _ = config.set_max_background(MAX_BACKGROUND);
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.asked(&self.counters.lookups);
        match self.find(parent, name) {
            Ok(Some(attr)) => reply.entry(&FOREVER, &attr, GENERATION),
            Ok(None) => {
                // Inode 0 with a lifetime: the kernel remembers that the name does not exist.
                let mut nothing = self.listing_attributes();
                nothing.ino = INodeNo(0);
                reply.entry(&FOREVER, &nothing, GENERATION);
            }
            Err(error) => reply.error(self.fail("lookup", parent, &error)),
        }
    }

    fn getattr(&self, _request: &Request, ino: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        self.asked(&self.counters.attributes);
        match self.attributes(ino) {
            Ok(attr) => reply.attr(&FOREVER, &attr),
            Err(error) => reply.error(self.fail("getattr", ino, &error)),
        }
    }

    fn readlink(&self, _request: &Request, ino: INodeNo, reply: ReplyData) {
        self.asked(&self.counters.links);
        let target = self
            .node(ino, Errno::INVAL)
            .and_then(|(served, _, node)| served.layer.read_link(node));
        match target {
            Ok(target) => reply.data(&target),
            Err(error) => reply.error(self.fail("readlink", ino, &error)),
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
        let (served, index, node) = match self.node(ino, Errno::ISDIR) {
            Ok(found) => found,
            Err(error) => return reply.error(self.fail("read", ino, &error)),
        };
        if offset == 0 {
            self.pusher.asked(index, &served.layer, node);
        }
        let range = (offset, size.min(MAX_READ_BYTES) as usize);
        if served.layer.is_ready(node, range.0, range.1) {
            return read(&*served.layer, node, ino, range, &self.counters, reply);
        }
        count(&self.counters.slow_reads, 1);
        let (layer, counters) = (Arc::clone(&served.layer), Arc::clone(&self.counters));
        served
            .workers
            .run(move || read(&*layer, node, ino, range, &counters, reply));
    }

    fn readdir(&self, _request: &Request, ino: INodeNo, _handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        self.asked(&self.counters.listings);
        let mut empty = true;
        let listed = self.list(ino, offset, &mut |ino, next, kind, name| {
            empty = false;
            Ok(!reply.add(ino, next, file_type(kind), name))
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
        let listed = self.list(ino, offset, &mut |ino, next, _, name| {
            let attr = self.attributes(ino)?;
            empty = false;
            Ok(!reply.add(ino, next, name, &FOREVER, &attr, GENERATION))
        });
        match listed {
            Err(error) if empty => reply.error(self.fail("readdir", ino, &error)),
            _ => reply.ok(),
        }
    }

    // The rest is what the kernel may ask on a read-only mount. ENOSYS is remembered by it,
    // and then the page cache and the generic code answer.
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

    /// Inode flags (`FS_IOC_GETFLAGS`), which overlayfs asks for before each copy-up: a layer has none.
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
        self.polling.noticed();
        reply.error(fuser::Errno::ENOTTY);
    }

    fn statfs(&self, _request: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        let (mut blocks, mut nodes) = (0_u64, 0_u64);
        for served in &self.layers {
            let summary = served.layer.summary();
            blocks = blocks.saturating_add(summary.size_bytes.div_ceil(u64::from(BLOCK_BYTES)));
            nodes = nodes.saturating_add(summary.nodes);
        }
        reply.statfs(blocks, 0, 0, nodes, 0, BLOCK_BYTES, 255, BLOCK_BYTES);
    }

    fn getxattr(&self, _request: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        if !self.has_xattrs {
            return reply.error(fuser::Errno::ENOSYS);
        }
        self.reply_xattr(ino, size, self.value(ino, name), reply);
    }

    fn listxattr(&self, _request: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        if !self.has_xattrs {
            return reply.error(fuser::Errno::ENOSYS);
        }
        self.reply_xattr(ino, size, self.value_names(ino), reply);
    }
}
