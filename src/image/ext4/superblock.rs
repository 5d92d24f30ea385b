//! The superblock, the group descriptors and the head of the journal (`Documentation/filesystems/ext4/super.rst`,
//! `group_descr.rst`, `journal.rst`).

use super::bytes::{put, put_halves, put_u16, put_u32, put_words};
use super::checksum::{Seed, raw};
use super::extents::ROOT_BYTES;
use super::geometry::{BLOCK_BYTES, FIRST_INODE, GROUP_BLOCKS, Geometry, Group, INODE_BYTES};
use super::{Kind, Spec};

const SUPERBLOCK_BYTES: usize = 1024;
/// The inode of the journal.
pub(super) const JOURNAL_INODE: u32 = 8;

const COMPAT_JOURNAL: u32 = 0x4;
const COMPAT_EXT_ATTR: u32 = 0x8;
const COMPAT_RESIZE_INODE: u32 = 0x10;
const COMPAT_DIR_INDEX: u32 = 0x20;
const INCOMPAT_FILETYPE: u32 = 0x2;
const INCOMPAT_EXTENTS: u32 = 0x40;
const INCOMPAT_64BIT: u32 = 0x80;
const INCOMPAT_FLEX_BG: u32 = 0x200;
const RO_SPARSE_SUPER: u32 = 0x1;
const RO_LARGE_FILE: u32 = 0x2;
const RO_HUGE_FILE: u32 = 0x8;
const RO_DIR_NLINK: u32 = 0x20;
const RO_EXTRA_ISIZE: u32 = 0x40;
const RO_METADATA_CSUM: u32 = 0x400;

/// `bg_flags`: neither the table nor the bitmap of inodes was written.
pub(super) const GROUP_INODE_UNINIT: u16 = 1;
/// `bg_flags`: the block bitmap was not written.
pub(super) const GROUP_BLOCK_UNINIT: u16 = 2;
/// `bg_flags`: the inode table reads as zeros where it was not written.
pub(super) const GROUP_ZEROED: u16 = 4;

/// What changes in a superblock with what is in the file system.
#[derive(Debug, Clone)]
pub(super) struct Usage {
    pub(super) free_blocks: u64,
    pub(super) free_inodes: u32,
    /// Where the journal lies, as in its inode, and its size; a copy for repairs.
    pub(super) journal: Option<([u8; ROOT_BYTES], u64)>,
}

/// The superblock (1024 bytes) that lies in `group`.
pub(super) fn superblock(spec: &Spec, geometry: &Geometry, usage: &Usage, group: u32) -> Vec<u8> {
    let mut bytes = vec![0; SUPERBLOCK_BYTES];
    let b = bytes.as_mut_slice();
    put_u32(b, 0x00, geometry.inodes());
    put_words(b, geometry.blocks, 0x04, 0x150);
    // Five percent are root's, as mke2fs has it.
    put_words(b, geometry.blocks / 20, 0x08, 0x154);
    put_words(b, usage.free_blocks, 0x0c, 0x158);
    put_u32(b, 0x10, usage.free_inodes);
    put_u32(b, 0x18, 2);
    put_u32(b, 0x1c, 2);
    put_u32(b, 0x20, GROUP_BLOCKS as u32);
    put_u32(b, 0x24, GROUP_BLOCKS as u32);
    put_u32(b, 0x28, geometry.inodes_per_group);
    let epoch = spec.epoch_seconds.max(1);
    for (low, high) in [(0x30, 0x274), (0x40, 0x277), (0x108, 0x276)] {
        put_u32(b, low, epoch as u32);
        put(b, high, &[(epoch >> 32) as u8]);
    }
    // Checked neither after some number of mounts nor after some time.
    put_u16(b, 0x36, u16::MAX);
    put_u16(b, 0x38, 0xef53);
    // Clean; go on after errors; revision 1.
    put_u16(b, 0x3a, 1);
    put_u16(b, 0x3c, 1);
    put_u32(b, 0x4c, 1);
    put_u32(b, 0x54, FIRST_INODE);
    put_u16(b, 0x58, INODE_BYTES as u16);
    put_u16(b, 0x5a, group as u16);
    put_features(b, geometry);
    put(b, 0x68, spec.uuid.as_bytes());
    let label = spec.label.as_deref().unwrap_or_default().as_bytes();
    put(b, 0x78, &label[..label.len().min(16)]);
    put_u16(b, 0xce, geometry.reserved_descriptor_blocks as u16);
    put(b, 0xec, spec.hash_seed.as_bytes());
    // Half MD4, over unsigned characters.
    put(b, 0xfc, &[1]);
    put_u32(b, 0x160, 2);
    // `user_xattr`, `acl`.
    put_u32(b, 0x100, 0xc);
    put_u16(b, 0x15c, 32);
    put_u16(b, 0x15e, 32);
    if let Some((place, size_bytes)) = &usage.journal {
        put_u32(b, 0xe0, JOURNAL_INODE);
        put(b, 0xfd, &[1]);
        put(b, 0x10c, place);
        put_words(b, *size_bytes, 0x10c + 64, 0x10c + 60);
    }
    if geometry.kind.is_ext4() {
        put_u16(b, 0xfe, geometry.kind.descriptor_bytes() as u16);
        put(b, 0x174, &[4]);
        // The checksums are CRC-32C.
        put(b, 0x175, &[1]);
        let checksum = raw(!0, &b[..SUPERBLOCK_BYTES - 4]);
        put_u32(b, SUPERBLOCK_BYTES - 4, checksum);
    }
    bytes
}

fn put_features(bytes: &mut [u8], geometry: &Geometry) {
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
    put_u32(bytes, 0x5c, compat);
    put_u32(bytes, 0x60, incompat);
    put_u32(bytes, 0x64, ro_compat);
}

/// What a group descriptor says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Descriptor {
    pub(super) group: Group,
    pub(super) free_blocks: u32,
    pub(super) free_inodes: u32,
    pub(super) directories: u32,
    /// Inodes at the end of the table that were never used.
    pub(super) unused_inodes: u32,
    pub(super) flags: u16,
    pub(super) block_bitmap_checksum: u32,
    pub(super) inode_bitmap_checksum: u32,
}

impl Descriptor {
    /// The bytes for group `number`; `seed` is that of the file system.
    pub(super) fn encode(&self, number: u32, kind: Kind, seed: Seed) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        let b = bytes.as_mut_slice();
        put_words(b, self.group.block_bitmap, 0x00, 0x20);
        put_words(b, self.group.inode_bitmap, 0x04, 0x24);
        put_words(b, self.group.inode_table, 0x08, 0x28);
        put_halves(b, self.free_blocks, 0x0c, 0x2c);
        put_halves(b, self.free_inodes, 0x0e, 0x2e);
        put_halves(b, self.directories, 0x10, 0x30);
        if seed.is_active() {
            put_u16(b, 0x12, self.flags);
            put_halves(b, self.block_bitmap_checksum, 0x18, 0x38);
            put_halves(b, self.inode_bitmap_checksum, 0x1a, 0x3a);
            put_halves(b, self.unused_inodes, 0x1c, 0x32);
        }
        bytes.truncate(kind.descriptor_bytes());
        if let Some(checksum) = seed.over(&[&number.to_le_bytes(), &bytes]) {
            put_u16(&mut bytes, 0x1e, checksum as u16);
        }
        bytes
    }
}

/// The first block of an empty journal of `blocks` blocks (big-endian, version 2).
pub(super) fn journal_head(spec: &Spec, blocks: u64) -> Vec<u8> {
    let mut bytes = vec![0; SUPERBLOCK_BYTES];
    let mut put_be = |offset, value: u32| put(&mut bytes, offset, &value.to_be_bytes());
    put_be(0x00, 0xc03b_3998);
    put_be(0x04, 4);
    put_be(0x0c, BLOCK_BYTES as u32);
    put_be(0x10, blocks as u32);
    // The log starts at its block 1 with transaction 1.
    put_be(0x14, 1);
    put_be(0x18, 1);
    put_be(0x40, 1);
    put(&mut bytes, 0x30, spec.uuid.as_bytes());
    bytes
}
