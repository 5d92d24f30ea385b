//! The records of squashfs as they lie on disk, each declared once (`fs/squashfs/squashfs_fs.h` of the kernel).
//!
//! Little-endian; no field is aligned, so that nothing lies between them.

use zerocopy::little_endian::{I16, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// `struct squashfs_super_block`.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct Superblock {
    pub(super) magic: U32,
    pub(super) inodes: U32,
    pub(super) mkfs_time: U32,
    pub(super) block_size: U32,
    pub(super) fragments: U32,
    pub(super) compression: U16,
    pub(super) block_log: U16,
    pub(super) flags: U16,
    pub(super) ids: U16,
    pub(super) major: U16,
    pub(super) minor: U16,
    pub(super) root_inode: U64,
    pub(super) bytes_used: U64,
    pub(super) id_table: U64,
    pub(super) xattr_id_table: U64,
    pub(super) inode_table: U64,
    pub(super) directory_table: U64,
    pub(super) fragment_table: U64,
    pub(super) lookup_table: U64,
}

/// The beginning of every inode.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct BaseInode {
    pub(super) kind: U16,
    pub(super) mode: U16,
    pub(super) uid: U16,
    pub(super) gid: U16,
    pub(super) mtime: U32,
    pub(super) number: U32,
}

/// `struct squashfs_dir_inode`, behind its beginning.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct Directory {
    pub(super) start: U32,
    pub(super) links: U32,
    pub(super) size: U16,
    pub(super) offset: U16,
    pub(super) parent: U32,
}

/// `struct squashfs_ldir_inode`, behind its beginning.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct LongDirectory {
    pub(super) links: U32,
    pub(super) size: U32,
    pub(super) start: U32,
    pub(super) parent: U32,
    pub(super) indexes: U16,
    pub(super) offset: U16,
    pub(super) xattr: U32,
}

/// `struct squashfs_reg_inode`, behind its beginning.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct File {
    pub(super) start: U32,
    pub(super) fragment: U32,
    pub(super) offset: U32,
    pub(super) size: U32,
}

/// `struct squashfs_lreg_inode`, behind its beginning.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct LongFile {
    pub(super) start: U64,
    pub(super) size: U64,
    pub(super) sparse: U64,
    pub(super) links: U32,
    pub(super) fragment: U32,
    pub(super) offset: U32,
    pub(super) xattr: U32,
}

/// The number of links of an inode, and the length of a link's target or the number of a device.
pub(super) type LinksAnd = [U32; 2];

/// `struct squashfs_dir_header`.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct DirectoryHeader {
    /// The number of entries, less one.
    pub(super) count: U32,
    pub(super) start: U32,
    pub(super) number: U32,
}

/// `struct squashfs_dir_entry`.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct DirectoryEntry {
    pub(super) offset: U16,
    pub(super) number: I16,
    pub(super) kind: U16,
    /// The length of the name, less one.
    pub(super) size: U16,
}

/// `struct squashfs_fragment_entry`.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct Fragment {
    pub(super) start: U64,
    pub(super) size: U32,
    pub(super) unused: U32,
}

/// `struct squashfs_xattr_id_table`.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct AttributesTable {
    pub(super) start: U64,
    pub(super) ids: U32,
    pub(super) unused: U32,
}

/// `struct squashfs_xattr_id`.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct AttributesId {
    pub(super) place: U64,
    pub(super) count: U32,
    pub(super) size: U32,
}

/// `struct squashfs_xattr_entry`.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct AttributeEntry {
    pub(super) kind: U16,
    pub(super) size: U16,
}
