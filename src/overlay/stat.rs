//! Questions and answers of the overlay: metadata, changes to it, the caller.

use rustix::fs::{Dev, major, minor};

use super::ino::Ino;
use super::layer::{Attributes, FileKind, Timestamp};

/// Metadata of a node (inode(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Its number; stable through copy-up, rename and remount.
    pub ino: Ino,
    /// A number that distinguishes nodes that had the same inode number one after the other.
    pub generation: u64,
    /// Kind of node.
    pub kind: FileKind,
    /// The lower 12 bits of `st_mode`.
    pub permissions: u32,
    /// Number of names; for a directory 2 plus its subdirectories.
    pub links: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Space taken, in units of 512 bytes.
    pub blocks: u64,
    /// Preferred size of I/O, in bytes.
    pub block_size_bytes: u32,
    /// Major and minor number of a device node, else zeros.
    pub device: (u32, u32),
    /// Last read.
    pub accessed: Timestamp,
    /// Last change of content.
    pub modified: Timestamp,
    /// Last change of the inode.
    pub changed: Timestamp,
}

/// Preferred size of I/O for nodes of a layer, and where the upper's file system gives none.
const BLOCK_BYTES: u32 = 4096;

impl Stat {
    /// Returns the metadata of a node of a layer.
    pub(super) fn of_layer(ino: Ino, generation: u64, attributes: &Attributes) -> Self {
        Self {
            ino,
            generation,
            kind: attributes.kind,
            permissions: attributes.permissions & 0o7777,
            links: attributes.links,
            uid: attributes.uid,
            gid: attributes.gid,
            size_bytes: attributes.size_bytes,
            blocks: attributes.size_bytes.div_ceil(512),
            block_size_bytes: BLOCK_BYTES,
            device: attributes.device,
            accessed: attributes.modified,
            modified: attributes.modified,
            changed: attributes.modified,
        }
    }

    /// Returns the metadata of a node of the upper, shown as `kind`.
    pub(super) fn of_upper(ino: Ino, generation: u64, kind: FileKind, stat: &rustix::fs::Stat) -> Self {
        let is_device = matches!(kind, FileKind::CharDevice | FileKind::BlockDevice);
        Self {
            ino,
            generation,
            kind,
            permissions: stat.st_mode & 0o7777,
            links: u32::try_from(stat.st_nlink).unwrap_or(u32::MAX),
            uid: stat.st_uid,
            gid: stat.st_gid,
            size_bytes: u64::try_from(stat.st_size).unwrap_or(0),
            blocks: u64::try_from(stat.st_blocks).unwrap_or(0),
            block_size_bytes: u32::try_from(stat.st_blksize).unwrap_or(BLOCK_BYTES),
            device: if is_device { device(stat.st_rdev) } else { (0, 0) },
            accessed: timestamp(stat.st_atime, stat.st_atime_nsec),
            modified: timestamp(stat.st_mtime, stat.st_mtime_nsec),
            changed: changed(stat),
        }
    }
}

/// Returns the time of the last change of an inode of the upper.
pub(super) fn changed(stat: &rustix::fs::Stat) -> Timestamp {
    timestamp(stat.st_ctime, stat.st_ctime_nsec)
}

fn device(number: Dev) -> (u32, u32) {
    (major(number), minor(number))
}

fn timestamp(seconds: i64, nanoseconds: impl TryInto<u32>) -> Timestamp {
    Timestamp {
        seconds,
        nanoseconds: nanoseconds.try_into().unwrap_or(0),
    }
}

/// The user that an operation is done for. Whether it is permitted was decided before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// Owner of new nodes.
    pub uid: u32,
    /// Group of new nodes, unless the directory hands down its own.
    pub gid: u32,
}

impl Caller {
    /// The superuser.
    pub const ROOT: Self = Self { uid: 0, gid: 0 };
}

/// A time to be set (utimensat(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetTime {
    /// The present.
    Now,
    /// This time.
    At(Timestamp),
}

/// Changes of metadata; `None` leaves a value as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Change {
    /// The lower 12 bits of `st_mode`.
    pub permissions: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Size in bytes.
    pub size_bytes: Option<u64>,
    /// Last read.
    pub accessed: Option<SetTime>,
    /// Last change of content.
    pub modified: Option<SetTime>,
}

/// The kind of a new node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewNode<'a> {
    /// An empty regular file.
    Regular,
    /// An empty directory.
    Directory,
    /// A symbolic link with this target.
    Symlink(&'a [u8]),
    /// A FIFO.
    Fifo,
    /// A socket.
    Socket,
    /// A character device with these major and minor numbers.
    CharDevice(u32, u32),
    /// A block device with these major and minor numbers.
    BlockDevice(u32, u32),
}

impl NewNode<'_> {
    /// Returns its kind.
    pub fn kind(self) -> FileKind {
        match self {
            Self::Regular => FileKind::Regular,
            Self::Directory => FileKind::Directory,
            Self::Symlink(_) => FileKind::Symlink,
            Self::Fifo => FileKind::Fifo,
            Self::Socket => FileKind::Socket,
            Self::CharDevice(..) => FileKind::CharDevice,
            Self::BlockDevice(..) => FileKind::BlockDevice,
        }
    }
}

/// Permissions of a new node (umask(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewMode {
    /// The lower 12 bits of the wanted mode.
    pub permissions: u32,
    /// Bits to leave out, unless the directory has a default ACL.
    pub umask: u32,
}

/// Whether reading may change the time of last access, as far as the file system of the upper keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// As the mount of that file system says (mount(8), `relatime`).
    Noted,
    /// Never (open(2), `O_NOATIME`).
    Unnoted,
}

/// A way to rename (renameat2(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RenameMode {
    /// An existing node with the new name is replaced.
    #[default]
    Replace,
    /// The new name must be free.
    NoReplace,
    /// Both: the new name must be free, and the old name becomes a character device 0:0.
    NoReplaceWhiteout,
    /// Both names exist and change places.
    Exchange,
    /// The old name becomes a character device 0:0.
    Whiteout,
}

/// Space in the file system that holds the upper (statvfs(3)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Unit of the block counts, in bytes.
    pub block_bytes: u64,
    /// All blocks.
    pub blocks: u64,
    /// Free blocks.
    pub free_blocks: u64,
    /// Free blocks for other users than root.
    pub available_blocks: u64,
    /// All inodes.
    pub inodes: u64,
    /// Free inodes.
    pub free_inodes: u64,
}
