//! The records of an ext4 file system as they lie on disk, each declared once
//! (`Documentation/filesystems/ext4`: `super.rst`, `group_descr.rst`, `inodes.rst`, `journal.rst`).
//!
//! Little-endian, the journal big-endian; no field is aligned, so that nothing lies between them. Fields are named as
//! the kernel names them, without the prefix. `unused` stands for fields that are always zero here.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, big_endian};

use super::geometry::INODE_BYTES;

/// The 60 bytes in an inode that say where its blocks lie.
pub(crate) const ROOT_BYTES: usize = 60;
/// Bytes for attributes in an inode of 256 bytes, behind its last field.
pub(crate) const INODE_AREA_BYTES: usize = 256 - 160;

/// `struct ext4_super_block`.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct Superblock {
    pub(crate) inodes_count: U32,
    pub(crate) blocks_count_lo: U32,
    pub(crate) r_blocks_count_lo: U32,
    pub(crate) free_blocks_count_lo: U32,
    pub(crate) free_inodes_count: U32,
    pub(crate) first_data_block: U32,
    pub(crate) log_block_size: U32,
    pub(crate) log_cluster_size: U32,
    pub(crate) blocks_per_group: U32,
    pub(crate) clusters_per_group: U32,
    pub(crate) inodes_per_group: U32,
    pub(crate) mtime: U32,
    pub(crate) wtime: U32,
    pub(crate) mnt_count: U16,
    pub(crate) max_mnt_count: U16,
    pub(crate) magic: U16,
    pub(crate) state: U16,
    pub(crate) errors: U16,
    pub(crate) minor_rev_level: U16,
    pub(crate) lastcheck: U32,
    pub(crate) checkinterval: U32,
    pub(crate) creator_os: U32,
    pub(crate) rev_level: U32,
    pub(crate) def_resuid: U16,
    pub(crate) def_resgid: U16,
    pub(crate) first_ino: U32,
    pub(crate) inode_size: U16,
    pub(crate) block_group_nr: U16,
    pub(crate) feature_compat: U32,
    pub(crate) feature_incompat: U32,
    pub(crate) feature_ro_compat: U32,
    pub(crate) uuid: [u8; 16],
    pub(crate) volume_name: [u8; 16],
    pub(crate) last_mounted: [u8; 64],
    pub(crate) algorithm_usage_bitmap: U32,
    pub(crate) prealloc_blocks: u8,
    pub(crate) prealloc_dir_blocks: u8,
    pub(crate) reserved_gdt_blocks: U16,
    pub(crate) journal_uuid: [u8; 16],
    pub(crate) journal_inum: U32,
    pub(crate) journal_dev: U32,
    pub(crate) last_orphan: U32,
    pub(crate) hash_seed: [u8; 16],
    pub(crate) def_hash_version: u8,
    pub(crate) jnl_backup_type: u8,
    pub(crate) desc_size: U16,
    pub(crate) default_mount_opts: U32,
    pub(crate) first_meta_bg: U32,
    pub(crate) mkfs_time: U32,
    /// `i_block` of the journal's inode, then its size.
    pub(crate) jnl_blocks: [u8; ROOT_BYTES],
    pub(crate) jnl_size_hi: U32,
    pub(crate) jnl_size_lo: U32,
    pub(crate) blocks_count_hi: U32,
    pub(crate) r_blocks_count_hi: U32,
    pub(crate) free_blocks_count_hi: U32,
    pub(crate) min_extra_isize: U16,
    pub(crate) want_extra_isize: U16,
    pub(crate) flags: U32,
    pub(crate) unused: [u8; 16],
    pub(crate) log_groups_per_flex: u8,
    pub(crate) checksum_type: u8,
    pub(crate) unused_too: [u8; 214],
    /// The groups with copies of the superblock (feature `sparse_super2`).
    pub(crate) backup_groups: [U32; 2],
    pub(crate) unused_between: [u8; 28],
    /// The start of all checksums, where it is not that of the UUID (feature `metadata_csum_seed`).
    pub(crate) checksum_seed: U32,
    pub(crate) wtime_hi: u8,
    pub(crate) mtime_hi: u8,
    pub(crate) mkfs_time_hi: u8,
    pub(crate) lastcheck_hi: u8,
    pub(crate) unused_behind: [u8; 388],
    pub(crate) checksum: U32,
}

const _: () = assert!(size_of::<Superblock>() == 1024);

/// `struct ext4_group_desc`; the first half of it without the feature `64bit`.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct GroupDescriptor {
    pub(crate) block_bitmap_lo: U32,
    pub(crate) inode_bitmap_lo: U32,
    pub(crate) inode_table_lo: U32,
    pub(crate) free_blocks_count_lo: U16,
    pub(crate) free_inodes_count_lo: U16,
    pub(crate) used_dirs_count_lo: U16,
    pub(crate) flags: U16,
    pub(crate) exclude_bitmap_lo: U32,
    pub(crate) block_bitmap_csum_lo: U16,
    pub(crate) inode_bitmap_csum_lo: U16,
    pub(crate) itable_unused_lo: U16,
    pub(crate) checksum: U16,
    pub(crate) block_bitmap_hi: U32,
    pub(crate) inode_bitmap_hi: U32,
    pub(crate) inode_table_hi: U32,
    pub(crate) free_blocks_count_hi: U16,
    pub(crate) free_inodes_count_hi: U16,
    pub(crate) used_dirs_count_hi: U16,
    pub(crate) itable_unused_hi: U16,
    pub(crate) exclude_bitmap_hi: U32,
    pub(crate) block_bitmap_csum_hi: U16,
    pub(crate) inode_bitmap_csum_hi: U16,
    pub(crate) unused: U32,
}

const _: () = assert!(size_of::<GroupDescriptor>() == 64);

/// `struct ext4_inode`, and the attributes behind it.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct InodeRecord {
    pub(crate) mode: U16,
    pub(crate) uid: U16,
    pub(crate) size_lo: U32,
    pub(crate) atime: U32,
    pub(crate) ctime: U32,
    pub(crate) mtime: U32,
    pub(crate) dtime: U32,
    pub(crate) gid: U16,
    pub(crate) links_count: U16,
    pub(crate) blocks_lo: U32,
    pub(crate) flags: U32,
    pub(crate) osd1: U32,
    pub(crate) block: [u8; ROOT_BYTES],
    pub(crate) generation: U32,
    pub(crate) file_acl_lo: U32,
    pub(crate) size_high: U32,
    pub(crate) obso_faddr: U32,
    pub(crate) blocks_high: U16,
    pub(crate) file_acl_high: U16,
    pub(crate) uid_high: U16,
    pub(crate) gid_high: U16,
    pub(crate) checksum_lo: U16,
    pub(crate) reserved: U16,
    /// The first field behind the 128 bytes that every inode has.
    pub(crate) extra_isize: U16,
    pub(crate) checksum_hi: U16,
    pub(crate) ctime_extra: U32,
    pub(crate) mtime_extra: U32,
    pub(crate) atime_extra: U32,
    pub(crate) crtime: U32,
    pub(crate) crtime_extra: U32,
    pub(crate) version_hi: U32,
    pub(crate) projid: U32,
    pub(crate) attributes: [u8; INODE_AREA_BYTES],
}

const _: () = assert!(size_of::<InodeRecord>() == INODE_BYTES);

/// `journal_superblock_t`, version 2.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct JournalSuperblock {
    pub(crate) magic: big_endian::U32,
    pub(crate) block_type: big_endian::U32,
    pub(crate) transaction: big_endian::U32,
    pub(crate) block_size: big_endian::U32,
    pub(crate) max_len: big_endian::U32,
    pub(crate) first: big_endian::U32,
    pub(crate) sequence: big_endian::U32,
    pub(crate) start: big_endian::U32,
    pub(crate) errno: big_endian::U32,
    pub(crate) features: [big_endian::U32; 3],
    pub(crate) uuid: [u8; 16],
    pub(crate) nr_users: big_endian::U32,
    pub(crate) unused: [u8; 956],
}

const _: () = assert!(size_of::<JournalSuperblock>() == 1024);

/// `struct ext4_extent_header`: the head of each node of a tree of extents.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct ExtentHeader {
    pub(crate) magic: U16,
    pub(crate) entries: U16,
    pub(crate) max: U16,
    pub(crate) depth: U16,
    pub(crate) generation: U32,
}

/// `struct ext4_extent`: an entry of a node of depth 0.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct ExtentLeaf {
    pub(crate) block: U32,
    pub(crate) len: U16,
    pub(crate) start_hi: U16,
    pub(crate) start_lo: U32,
}

/// `struct ext4_extent_idx`: an entry of the other nodes.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct ExtentIndex {
    pub(crate) block: U32,
    pub(crate) leaf_lo: U32,
    pub(crate) leaf_hi: U16,
    pub(crate) unused: U16,
}

const _: () = assert!(size_of::<ExtentHeader>() == 12 && size_of::<ExtentLeaf>() == 12);
const _: () = assert!(size_of::<ExtentIndex>() == 12);

/// `struct ext4_dir_entry_2`, whose name follows.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct DirectoryEntry {
    pub(crate) inode: U32,
    pub(crate) rec_len: U16,
    pub(crate) name_len: u8,
    pub(crate) file_type: u8,
}

const _: () = assert!(size_of::<DirectoryEntry>() == 8);

/// `struct ext4_xattr_entry`, whose name follows.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct AttributeEntry {
    pub(crate) name_len: u8,
    pub(crate) name_index: u8,
    pub(crate) value_offs: U16,
    pub(crate) value_inum: U32,
    pub(crate) value_size: U32,
    pub(crate) hash: U32,
}

const _: () = assert!(size_of::<AttributeEntry>() == 16);

/// Returns the low 32 bits of `value`.
pub(crate) fn low(value: u64) -> U32 {
    U32::new(value as u32)
}

/// Returns the high 32 bits of `value`.
pub(crate) fn high(value: u64) -> U32 {
    U32::new((value >> 32) as u32)
}

/// Returns the low 16 bits of `value`.
pub(crate) fn low_half(value: u32) -> U16 {
    U16::new(value as u16)
}

/// Returns the high 16 bits of `value`.
pub(crate) fn high_half(value: u32) -> U16 {
    U16::new((value >> 16) as u16)
}
