//! The superblock, the group descriptors and the head of the journal (`Documentation/filesystems/ext4/super.rst`,
//! `group_descr.rst`, `journal.rst`).

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromZeros as _, IntoBytes as _};

use super::checksum::{Seed, raw};
use super::disk::{GroupDescriptor, JournalSuperblock, ROOT_BYTES, Superblock, high, high_half, low, low_half};
use super::geometry::{BLOCK_BYTES, FIRST_INODE, GROUP_BLOCKS, Geometry, Group, INODE_BYTES};
use super::{Kind, Spec};

/// `s_magic`.
pub(crate) const MAGIC: u16 = 0xef53;
/// The magic number at the start of each block of a journal that is not data.
pub(crate) const JOURNAL_MAGIC: u32 = 0xc03b_3998;
/// The inode of the journal.
pub(crate) const JOURNAL_INODE: u32 = 8;

pub(crate) const COMPAT_JOURNAL: u32 = 0x4;
const COMPAT_EXT_ATTR: u32 = 0x8;
const COMPAT_RESIZE_INODE: u32 = 0x10;
const COMPAT_DIR_INDEX: u32 = 0x20;
pub(crate) const INCOMPAT_FILETYPE: u32 = 0x2;
pub(crate) const INCOMPAT_EXTENTS: u32 = 0x40;
pub(crate) const INCOMPAT_64BIT: u32 = 0x80;
pub(crate) const INCOMPAT_FLEX_BG: u32 = 0x200;
pub(crate) const RO_SPARSE_SUPER: u32 = 0x1;
const RO_LARGE_FILE: u32 = 0x2;
const RO_HUGE_FILE: u32 = 0x8;
const RO_DIR_NLINK: u32 = 0x20;
const RO_EXTRA_ISIZE: u32 = 0x40;
pub(crate) const RO_METADATA_CSUM: u32 = 0x400;

/// `bg_flags`: neither the table nor the bitmap of inodes was written.
pub(super) const GROUP_INODE_UNINIT: u16 = 1;
/// `bg_flags`: the block bitmap was not written.
pub(super) const GROUP_BLOCK_UNINIT: u16 = 2;
/// `bg_flags`: the inode table reads as zeros where it was not written.
pub(super) const GROUP_ZEROED: u16 = 4;

/// The values of a superblock that depend on the contents of the file system.
#[derive(Debug, Clone)]
pub(super) struct Usage {
    /// Free blocks of the file system.
    pub(super) free_blocks: u64,
    /// Free inodes of the file system.
    pub(super) free_inodes: u32,
    /// The map in the journal's inode, and the journal's size in bytes; a copy for repairs.
    pub(super) journal: Option<([u8; ROOT_BYTES], u64)>,
}

/// Makes the superblock (1024 bytes) that lies in `group`.
pub(super) fn superblock(spec: &Spec, geometry: &Geometry, usage: &Usage, group: u32) -> Vec<u8> {
    // Five percent are root's, as mke2fs has it.
    let reserved_blocks = geometry.blocks / 20;
    let epoch = spec.epoch_seconds.max(1);
    let epoch_hi = (epoch >> 32) as u8;
    let (feature_compat, feature_incompat, feature_ro_compat) = features(geometry);
    let mut block = Superblock {
        inodes_count: U32::new(geometry.inodes()),
        blocks_count_lo: low(geometry.blocks),
        blocks_count_hi: high(geometry.blocks),
        r_blocks_count_lo: low(reserved_blocks),
        r_blocks_count_hi: high(reserved_blocks),
        free_blocks_count_lo: low(usage.free_blocks),
        free_blocks_count_hi: high(usage.free_blocks),
        free_inodes_count: U32::new(usage.free_inodes),
        // 1024 bytes shifted by 2: blocks of 4096.
        log_block_size: U32::new(2),
        log_cluster_size: U32::new(2),
        blocks_per_group: low(GROUP_BLOCKS),
        clusters_per_group: low(GROUP_BLOCKS),
        inodes_per_group: U32::new(geometry.inodes_per_group),
        wtime: low(epoch),
        wtime_hi: epoch_hi,
        lastcheck: low(epoch),
        lastcheck_hi: epoch_hi,
        mkfs_time: low(epoch),
        mkfs_time_hi: epoch_hi,
        // Checked neither after some number of mounts nor after some time.
        max_mnt_count: U16::new(u16::MAX),
        magic: U16::new(MAGIC),
        // Clean; go on after errors; revision 1.
        state: U16::new(1),
        errors: U16::new(1),
        rev_level: U32::new(1),
        first_ino: U32::new(FIRST_INODE),
        inode_size: U16::new(INODE_BYTES as u16),
        block_group_nr: low_half(group),
        feature_compat: U32::new(feature_compat),
        feature_incompat: U32::new(feature_incompat),
        feature_ro_compat: U32::new(feature_ro_compat),
        uuid: *spec.uuid.as_bytes(),
        volume_name: volume_name(spec.label.as_deref().unwrap_or_default()),
        reserved_gdt_blocks: U16::new(geometry.reserved_descriptor_blocks as u16),
        hash_seed: *spec.hash_seed.as_bytes(),
        // Half MD4, over unsigned characters.
        def_hash_version: 1,
        flags: U32::new(2),
        // `user_xattr`, `acl`.
        default_mount_opts: U32::new(0xc),
        min_extra_isize: U16::new(32),
        want_extra_isize: U16::new(32),
        ..Superblock::new_zeroed()
    };
    add_journal(&mut block, usage);
    if geometry.kind.is_ext4() {
        block.desc_size = U16::new(geometry.kind.descriptor_bytes() as u16);
        block.log_groups_per_flex = 4;
        // The checksums are CRC-32C.
        block.checksum_type = 1;
        let covered = block.as_bytes().split_last_chunk::<4>();
        block.checksum = U32::new(covered.map_or(0, |(covered, _)| raw(!0, covered)));
    }
    block.as_bytes().to_vec()
}

/// Says where the journal lies, and gives a copy of its place for repairs.
fn add_journal(block: &mut Superblock, usage: &Usage) {
    if let Some((place, size_bytes)) = usage.journal {
        block.journal_inum = U32::new(JOURNAL_INODE);
        block.jnl_backup_type = 1;
        block.jnl_blocks = place;
        block.jnl_size_lo = low(size_bytes);
        block.jnl_size_hi = high(size_bytes);
    }
}

/// Gives the first 16 bytes of `label`, filled up with zeros.
fn volume_name(label: &str) -> [u8; 16] {
    let mut name = [0; 16];
    name.iter_mut()
        .zip(label.bytes())
        .for_each(|(place, byte)| *place = byte);
    name
}

/// Returns the feature words: compatible, incompatible, compatible for reading.
fn features(geometry: &Geometry) -> (u32, u32, u32) {
    let mut compat = COMPAT_EXT_ATTR | COMPAT_RESIZE_INODE | COMPAT_DIR_INDEX;
    let mut incompat = INCOMPAT_FILETYPE;
    let mut ro_compat = RO_SPARSE_SUPER | RO_LARGE_FILE;
    if geometry.journal_blocks > 0 {
        compat |= COMPAT_JOURNAL;
    }
    if geometry.kind == Kind::Ext4 {
        incompat |= INCOMPAT_EXTENTS | INCOMPAT_64BIT | INCOMPAT_FLEX_BG;
        ro_compat |= RO_HUGE_FILE | RO_DIR_NLINK | RO_EXTRA_ISIZE | RO_METADATA_CSUM;
    }
    (compat, incompat, ro_compat)
}

/// The values of a group descriptor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Descriptor {
    /// The places of the group's metadata.
    pub(super) group: Group,
    /// Free blocks of the group.
    pub(super) free_blocks: u32,
    /// Free inodes of the group.
    pub(super) free_inodes: u32,
    /// Inodes of directories in the group.
    pub(super) directories: u32,
    /// Inodes at the end of the table that were never used.
    pub(super) unused_inodes: u32,
    /// `bg_flags`.
    pub(super) flags: u16,
    /// Checksum of the block bitmap.
    pub(super) block_bitmap_checksum: u32,
    /// Checksum of the inode bitmap.
    pub(super) inode_bitmap_checksum: u32,
}

impl Descriptor {
    /// Makes the bytes for group `number`; `seed` is the file system's.
    pub(super) fn encode(&self, number: u32, kind: Kind, seed: Seed) -> Vec<u8> {
        let mut record = GroupDescriptor {
            block_bitmap_lo: low(self.group.block_bitmap),
            block_bitmap_hi: high(self.group.block_bitmap),
            inode_bitmap_lo: low(self.group.inode_bitmap),
            inode_bitmap_hi: high(self.group.inode_bitmap),
            inode_table_lo: low(self.group.inode_table),
            inode_table_hi: high(self.group.inode_table),
            free_blocks_count_lo: low_half(self.free_blocks),
            free_blocks_count_hi: high_half(self.free_blocks),
            free_inodes_count_lo: low_half(self.free_inodes),
            free_inodes_count_hi: high_half(self.free_inodes),
            used_dirs_count_lo: low_half(self.directories),
            used_dirs_count_hi: high_half(self.directories),
            ..GroupDescriptor::new_zeroed()
        };
        if seed.is_active() {
            record.flags = U16::new(self.flags);
            record.block_bitmap_csum_lo = low_half(self.block_bitmap_checksum);
            record.block_bitmap_csum_hi = high_half(self.block_bitmap_checksum);
            record.inode_bitmap_csum_lo = low_half(self.inode_bitmap_checksum);
            record.inode_bitmap_csum_hi = high_half(self.inode_bitmap_checksum);
            record.itable_unused_lo = low_half(self.unused_inodes);
            record.itable_unused_hi = high_half(self.unused_inodes);
        }
        let bytes = kind.descriptor_bytes();
        if let Some(checksum) = seed.over(&[&number.to_le_bytes(), &record.as_bytes()[..bytes]]) {
            record.checksum = low_half(checksum);
        }
        record.as_bytes()[..bytes].to_vec()
    }
}

/// Makes the first block of an empty journal of `blocks` blocks (big-endian, version 2).
pub(super) fn journal_head(spec: &Spec, blocks: u64) -> Vec<u8> {
    let head = JournalSuperblock {
        magic: JOURNAL_MAGIC.into(),
        block_type: 4.into(),
        block_size: (BLOCK_BYTES as u32).into(),
        max_len: (blocks as u32).into(),
        // The log starts at its block 1 with transaction 1.
        first: 1.into(),
        sequence: 1.into(),
        nr_users: 1.into(),
        uuid: *spec.uuid.as_bytes(),
        ..JournalSuperblock::new_zeroed()
    };
    head.as_bytes().to_vec()
}
