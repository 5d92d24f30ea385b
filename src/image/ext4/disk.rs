//! The records of an ext4 file system as they lie on disk, each declared once
//! (`Documentation/filesystems/ext4`: `super.rst`, `group_descr.rst`, `inodes.rst`, `journal.rst`).
//!
//! Little-endian, the journal big-endian; no field is aligned, so that nothing lies between them. Fields are named as
//! the kernel names them, without the prefix. `unused` stands for fields that are always zero here.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromZeros, Immutable, IntoBytes, big_endian};

use super::extents::ROOT_BYTES;
use super::geometry::INODE_BYTES;
use super::xattr::INODE_AREA_BYTES;

/// `struct ext4_super_block`.
#[derive(Debug, FromZeros, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct Superblock {
    pub(super) inodes_count: U32,
    pub(super) blocks_count_lo: U32,
    pub(super) r_blocks_count_lo: U32,
    pub(super) free_blocks_count_lo: U32,
    pub(super) free_inodes_count: U32,
    pub(super) first_data_block: U32,
    pub(super) log_block_size: U32,
    pub(super) log_cluster_size: U32,
    pub(super) blocks_per_group: U32,
    pub(super) clusters_per_group: U32,
    pub(super) inodes_per_group: U32,
    pub(super) mtime: U32,
    pub(super) wtime: U32,
    pub(super) mnt_count: U16,
    pub(super) max_mnt_count: U16,
    pub(super) magic: U16,
    pub(super) state: U16,
    pub(super) errors: U16,
    pub(super) minor_rev_level: U16,
    pub(super) lastcheck: U32,
    pub(super) checkinterval: U32,
    pub(super) creator_os: U32,
    pub(super) rev_level: U32,
    pub(super) def_resuid: U16,
    pub(super) def_resgid: U16,
    pub(super) first_ino: U32,
    pub(super) inode_size: U16,
    pub(super) block_group_nr: U16,
    pub(super) feature_compat: U32,
    pub(super) feature_incompat: U32,
    pub(super) feature_ro_compat: U32,
    pub(super) uuid: [u8; 16],
    pub(super) volume_name: [u8; 16],
    pub(super) last_mounted: [u8; 64],
    pub(super) algorithm_usage_bitmap: U32,
    pub(super) prealloc_blocks: u8,
    pub(super) prealloc_dir_blocks: u8,
    pub(super) reserved_gdt_blocks: U16,
    pub(super) journal_uuid: [u8; 16],
    pub(super) journal_inum: U32,
    pub(super) journal_dev: U32,
    pub(super) last_orphan: U32,
    pub(super) hash_seed: [u8; 16],
    pub(super) def_hash_version: u8,
    pub(super) jnl_backup_type: u8,
    pub(super) desc_size: U16,
    pub(super) default_mount_opts: U32,
    pub(super) first_meta_bg: U32,
    pub(super) mkfs_time: U32,
    /// `i_block` of the journal's inode, then its size.
    pub(super) jnl_blocks: [u8; ROOT_BYTES],
    pub(super) jnl_size_hi: U32,
    pub(super) jnl_size_lo: U32,
    pub(super) blocks_count_hi: U32,
    pub(super) r_blocks_count_hi: U32,
    pub(super) free_blocks_count_hi: U32,
    pub(super) min_extra_isize: U16,
    pub(super) want_extra_isize: U16,
    pub(super) flags: U32,
    pub(super) unused: [u8; 16],
    pub(super) log_groups_per_flex: u8,
    pub(super) checksum_type: u8,
    pub(super) unused_too: [u8; 254],
    pub(super) wtime_hi: u8,
    pub(super) mtime_hi: u8,
    pub(super) mkfs_time_hi: u8,
    pub(super) lastcheck_hi: u8,
    pub(super) unused_behind: [u8; 388],
    pub(super) checksum: U32,
}

const _: () = assert!(size_of::<Superblock>() == 1024);

/// `struct ext4_group_desc`; the first half of it without the feature `64bit`.
#[derive(Debug, FromZeros, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct GroupDescriptor {
    pub(super) block_bitmap_lo: U32,
    pub(super) inode_bitmap_lo: U32,
    pub(super) inode_table_lo: U32,
    pub(super) free_blocks_count_lo: U16,
    pub(super) free_inodes_count_lo: U16,
    pub(super) used_dirs_count_lo: U16,
    pub(super) flags: U16,
    pub(super) exclude_bitmap_lo: U32,
    pub(super) block_bitmap_csum_lo: U16,
    pub(super) inode_bitmap_csum_lo: U16,
    pub(super) itable_unused_lo: U16,
    pub(super) checksum: U16,
    pub(super) block_bitmap_hi: U32,
    pub(super) inode_bitmap_hi: U32,
    pub(super) inode_table_hi: U32,
    pub(super) free_blocks_count_hi: U16,
    pub(super) free_inodes_count_hi: U16,
    pub(super) used_dirs_count_hi: U16,
    pub(super) itable_unused_hi: U16,
    pub(super) exclude_bitmap_hi: U32,
    pub(super) block_bitmap_csum_hi: U16,
    pub(super) inode_bitmap_csum_hi: U16,
    pub(super) unused: U32,
}

const _: () = assert!(size_of::<GroupDescriptor>() == 64);

/// `struct ext4_inode`, and the attributes behind it.
#[derive(Debug, FromZeros, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct InodeRecord {
    pub(super) mode: U16,
    pub(super) uid: U16,
    pub(super) size_lo: U32,
    pub(super) atime: U32,
    pub(super) ctime: U32,
    pub(super) mtime: U32,
    pub(super) dtime: U32,
    pub(super) gid: U16,
    pub(super) links_count: U16,
    pub(super) blocks_lo: U32,
    pub(super) flags: U32,
    pub(super) osd1: U32,
    pub(super) block: [u8; ROOT_BYTES],
    pub(super) generation: U32,
    pub(super) file_acl_lo: U32,
    pub(super) size_high: U32,
    pub(super) obso_faddr: U32,
    pub(super) blocks_high: U16,
    pub(super) file_acl_high: U16,
    pub(super) uid_high: U16,
    pub(super) gid_high: U16,
    pub(super) checksum_lo: U16,
    pub(super) reserved: U16,
    /// The first field behind the 128 bytes that every inode has.
    pub(super) extra_isize: U16,
    pub(super) checksum_hi: U16,
    pub(super) ctime_extra: U32,
    pub(super) mtime_extra: U32,
    pub(super) atime_extra: U32,
    pub(super) crtime: U32,
    pub(super) crtime_extra: U32,
    pub(super) version_hi: U32,
    pub(super) projid: U32,
    pub(super) attributes: [u8; INODE_AREA_BYTES],
}

const _: () = assert!(size_of::<InodeRecord>() == INODE_BYTES);

/// `journal_superblock_t`, version 2.
#[derive(Debug, FromZeros, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct JournalSuperblock {
    pub(super) magic: big_endian::U32,
    pub(super) block_type: big_endian::U32,
    pub(super) transaction: big_endian::U32,
    pub(super) block_size: big_endian::U32,
    pub(super) max_len: big_endian::U32,
    pub(super) first: big_endian::U32,
    pub(super) sequence: big_endian::U32,
    pub(super) start: big_endian::U32,
    pub(super) errno: big_endian::U32,
    pub(super) features: [big_endian::U32; 3],
    pub(super) uuid: [u8; 16],
    pub(super) nr_users: big_endian::U32,
    pub(super) unused: [u8; 956],
}

const _: () = assert!(size_of::<JournalSuperblock>() == 1024);

/// Returns the low 32 bits of `value`.
pub(super) fn low(value: u64) -> U32 {
    U32::new(value as u32)
}

/// Returns the high 32 bits of `value`.
pub(super) fn high(value: u64) -> U32 {
    U32::new((value >> 32) as u32)
}

/// Returns the low 16 bits of `value`.
pub(super) fn low_half(value: u32) -> U16 {
    U16::new(value as u16)
}

/// Returns the high 16 bits of `value`.
pub(super) fn high_half(value: u32) -> U16 {
    U16::new((value >> 16) as u16)
}
