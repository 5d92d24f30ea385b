//! The interface of a read-only layer of the overlay: the base, the package pool, a frozen step.

use std::ffi::{OsStr, OsString};
use std::fmt::Debug;

pub use rustix::io::Errno;

use crate::package::Sha256;

/// A node of one layer. Hard links of one file share it. Meaningful only to the layer that gave it out, and stable
/// for as long as that layer's content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u64);

/// The kind of a node (inode(7), "The file type and mode").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A FIFO.
    Fifo,
    /// A socket.
    Socket,
}

impl FileKind {
    /// Returns the word for this kind that people and programs read.
    pub fn word(self) -> &'static str {
        match self {
            Self::Regular => "file",
            Self::Directory => "directory",
            Self::Symlink => "symlink",
            Self::CharDevice => "character device",
            Self::BlockDevice => "block device",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
        }
    }

    /// Says whether it is a device, which has a number.
    pub fn is_device(self) -> bool {
        matches!(self, Self::CharDevice | Self::BlockDevice)
    }

    /// Returns the `S_IFMT` bits of this kind.
    pub fn mode_bits(self) -> u32 {
        match self {
            Self::Regular => libc::S_IFREG,
            Self::Directory => libc::S_IFDIR,
            Self::Symlink => libc::S_IFLNK,
            Self::CharDevice => libc::S_IFCHR,
            Self::BlockDevice => libc::S_IFBLK,
            Self::Fifo => libc::S_IFIFO,
            Self::Socket => libc::S_IFSOCK,
        }
    }

    /// Returns the kind that the `S_IFMT` bits of `mode` name; `None` for unknown bits.
    pub fn from_mode(mode: u32) -> Option<Self> {
        Some(match mode & libc::S_IFMT {
            libc::S_IFREG => Self::Regular,
            libc::S_IFDIR => Self::Directory,
            libc::S_IFLNK => Self::Symlink,
            libc::S_IFCHR => Self::CharDevice,
            libc::S_IFBLK => Self::BlockDevice,
            libc::S_IFIFO => Self::Fifo,
            libc::S_IFSOCK => Self::Socket,
            _ => return None,
        })
    }
}

/// A point in time: seconds since 1970 (may be negative) and nanoseconds within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    /// Whole seconds since the epoch.
    pub seconds: i64,
    /// Nanoseconds, below 1,000,000,000.
    pub nanoseconds: u32,
}

/// A node's metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// Kind of node.
    pub kind: FileKind,
    /// Permission bits with set-id and sticky (the lower 12 bits of `st_mode`).
    pub permissions: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size in bytes; the target's length for a symbolic link.
    pub size_bytes: u64,
    /// Time of last modification.
    pub modified: Timestamp,
    /// Number of hard links; for a directory 2 plus its subdirectories.
    pub links: u32,
    /// Major and minor number of a device node, else zeros.
    pub device: (u32, u32),
}

/// One name in a directory.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The name; any bytes but `/` and NUL.
    pub name: &'a OsStr,
    /// The node it names.
    pub node: NodeId,
    /// That node's kind.
    pub kind: FileKind,
    /// Pass this as `after` to go on behind this entry; never 0.
    pub cookie: u64,
}

/// Facts about a layer as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// `false` only if no node has an extended attribute: then the server tells the kernel to stop asking, which
    /// saves a round trip per `execve` and per line of `ls -l`.
    pub has_xattrs: bool,
    /// Number of nodes, 0 if not known.
    pub nodes: u64,
    /// Sum of all file sizes in bytes, 0 if not known.
    pub size_bytes: u64,
}

impl Default for Summary {
    fn default() -> Self {
        Self {
            has_xattrs: true,
            nodes: 0,
            size_bytes: 0,
        }
    }
}

/// A reason why a layer could not answer: an errno for the caller, a sentence for the log.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct LayerError {
    /// The errno that the system call reports.
    pub errno: Errno,
    /// An explanation for a person, with the file and the repair.
    pub message: String,
}

impl LayerError {
    /// Returns an error with its explanation.
    pub fn new(errno: Errno, message: impl Into<String>) -> Self {
        Self {
            errno,
            message: message.into(),
        }
    }
}

impl From<Errno> for LayerError {
    fn from(errno: Errno) -> Self {
        Self {
            errno,
            message: errno.to_string(),
        }
    }
}

/// A layer's answer.
pub type LayerResult<T> = Result<T, LayerError>;

/// Reads the contents of a layer for one reader; see [`Layer::reader`].
pub trait ContentReader {
    /// Reads as [`Layer::read_at`] does.
    ///
    /// # Errors
    /// As [`Layer::read_at`].
    fn read_at(&mut self, node: NodeId, offset: u64, buffer: &mut [u8]) -> LayerResult<usize>;
}

/// A read-only tree. All methods may be called from many threads at once and
/// must not hold a lock over I/O. Content never changes while it is in use.
pub trait Layer: Debug + Send + Sync {
    /// Returns the root directory.
    fn root(&self) -> NodeId;

    /// Returns the facts known without looking at every node. Must not block.
    fn summary(&self) -> Summary {
        Summary::default()
    }

    /// Returns the node named `name` in `directory`, or `None`. By default all names are compared.
    ///
    /// # Errors
    /// `ENOTDIR` if `directory` is not one; `EIO` if the layer is damaged.
    fn lookup(&self, directory: NodeId, name: &OsStr) -> LayerResult<Option<NodeId>> {
        let mut found = None;
        self.entries(directory, 0, &mut |entry| {
            found = (entry.name == name).then_some(entry.node);
            found.is_none()
        })?;
        Ok(found)
    }

    /// Returns the metadata of `node`.
    ///
    /// # Errors
    /// `ESTALE` for an unknown node; `EIO` if the layer is damaged.
    fn attributes(&self, node: NodeId) -> LayerResult<Attributes>;

    /// Calls `visit` for the entries of `directory` behind cookie `after` (0: from
    /// the start; `.` and `..` are not among them) until it returns `false`.
    /// `visit` may call back into the layer. Cookies stay below 2^62.
    ///
    /// # Errors
    /// As [`Self::lookup`].
    fn entries(&self, directory: NodeId, after: u64, visit: &mut dyn FnMut(Entry<'_>) -> bool) -> LayerResult<()>;

    /// Returns the target of the symbolic link `node`. By default there are none.
    ///
    /// # Errors
    /// `EINVAL` if it is not one.
    fn read_link(&self, _node: NodeId) -> LayerResult<Vec<u8>> {
        Err(Errno::INVAL.into())
    }

    /// Returns the value of extended attribute `name`, or `None`. By default there are none.
    ///
    /// # Errors
    /// As [`Self::attributes`].
    fn xattr(&self, _node: NodeId, _name: &OsStr) -> LayerResult<Option<Vec<u8>>> {
        Ok(None)
    }

    /// Returns the names of all extended attributes.
    ///
    /// # Errors
    /// As [`Self::attributes`].
    fn xattr_names(&self, _node: NodeId) -> LayerResult<Vec<OsString>> {
        Ok(Vec::new())
    }

    /// Returns the next regular file with content after `node` for a reader that goes through the whole tree in the
    /// order of its listings; its id is greater. `None` if no such file is near, or there is no order.
    fn following(&self, _node: NodeId) -> Option<NodeId> {
        None
    }

    /// Returns the SHA-256 of the regular file `node`, if it is known without reading the file.
    ///
    /// # Errors
    /// As [`Self::attributes`].
    fn digest(&self, _node: NodeId) -> LayerResult<Option<Sha256>> {
        Ok(None)
    }

    /// Returns the offset of the first byte of the regular file `node` at or behind `offset` that is not known to lie
    /// in a hole; its size, or more, if only a hole is left.
    ///
    /// # Errors
    /// As [`Self::read_at`].
    fn next_data(&self, _node: NodeId, offset: u64) -> LayerResult<u64> {
        Ok(offset)
    }

    /// Returns a reader for going through many files once. It is cheaper than [`Self::read_at`] as long as it is used
    /// in the order of node ids, and keeps nothing for others. `None` if there is no better way.
    fn reader(&self) -> Option<Box<dyn ContentReader + '_>> {
        None
    }

    /// Returns whether [`Self::read_at`] would answer at once, without inflating, verifying or fetching; a FUSE
    /// thread hands all other reads to a worker.
    fn is_ready(&self, node: NodeId, offset: u64, length: usize) -> bool;

    /// Fills `buffer` from `offset` (bytes); returns the number of bytes read, fewer than asked only at the end of
    /// the file. Only verified bytes are ever given.
    ///
    /// # Errors
    /// `EIO` if the content fails verification or cannot be had; `EISDIR`, `EINVAL` for other kinds.
    fn read_at(&self, node: NodeId, offset: u64, buffer: &mut [u8]) -> LayerResult<usize>;
}
