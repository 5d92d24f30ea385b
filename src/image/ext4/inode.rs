//! An inode of 256 bytes (`Documentation/filesystems/ext4/inodes.rst`).

use super::bytes::{put, put_halves, put_u16, put_u32, put_words};
use super::checksum::Seed;
use super::extents::ROOT_BYTES;
use super::geometry::INODE_BYTES;
use super::xattr::INODE_AREA_BYTES;
use crate::overlay::layer::Timestamp;

/// The last field ends here; what follows is for extended attributes.
const FIELDS_BYTES: usize = INODE_BYTES - INODE_AREA_BYTES;
const EXTRA_BYTES: u16 = (FIELDS_BYTES - 128) as u16;

/// `i_flags`: the directory has an index.
pub(super) const FLAG_INDEX: u32 = 0x1000;
/// `i_flags`: the blocks are found through extents.
pub(super) const FLAG_EXTENTS: u32 = 0x8_0000;

/// What an inode says.
#[derive(Debug, Clone)]
pub(super) struct Inode {
    pub(super) number: u32,
    /// Kind and permissions.
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size_bytes: u64,
    pub(super) links: u16,
    /// All blocks that belong to it, those of maps and attributes too.
    pub(super) blocks: u64,
    pub(super) flags: u32,
    /// Where its blocks lie, or the link's target, or the device's number.
    pub(super) place: [u8; ROOT_BYTES],
    /// The block of its attributes, 0 for none.
    pub(super) attribute_block: u64,
    /// Attributes in the inode.
    pub(super) attributes: Vec<u8>,
    pub(super) modified: Timestamp,
}

impl Inode {
    /// An inode of the file system itself, owned by root.
    pub(super) fn internal(number: u32, mode: u16, modified: Timestamp) -> Self {
        Self {
            number,
            mode,
            uid: 0,
            gid: 0,
            size_bytes: 0,
            links: 1,
            blocks: 0,
            flags: 0,
            place: [0; ROOT_BYTES],
            attribute_block: 0,
            attributes: Vec::new(),
            modified,
        }
    }

    /// The inode's bytes. All times but the one of modification are `epoch`; `seed` is that of the file system.
    pub(super) fn encode(&self, epoch: Timestamp, seed: Seed) -> [u8; INODE_BYTES] {
        let mut bytes = [0; INODE_BYTES];
        put_u16(&mut bytes, 0, self.mode);
        put_halves(&mut bytes, self.uid, 2, 120);
        put_halves(&mut bytes, self.gid, 24, 122);
        put_words(&mut bytes, self.size_bytes, 4, 108);
        put_u16(&mut bytes, 26, self.links);
        let sectors = self.blocks * 8;
        put_u32(&mut bytes, 28, sectors as u32);
        put_u16(&mut bytes, 116, (sectors >> 32) as u16);
        put_u32(&mut bytes, 32, self.flags);
        put(&mut bytes, 40, &self.place);
        put_u32(&mut bytes, 104, self.attribute_block as u32);
        put_u16(&mut bytes, 118, (self.attribute_block >> 32) as u16);
        put_u16(&mut bytes, 128, EXTRA_BYTES);
        for (time, low, extra) in [
            (epoch, 8, 140),
            (epoch, 12, 132),
            (self.modified, 16, 136),
            (epoch, 144, 148),
        ] {
            // 34 bits of seconds: the low 32 are signed, two more count what overflows.
            let seconds = time.seconds;
            let overflow = (seconds.wrapping_sub(i64::from(seconds as i32)) >> 32) as u32 & 3;
            put_u32(&mut bytes, low, seconds as u32);
            put_u32(&mut bytes, extra, time.nanoseconds << 2 | overflow);
        }
        put(&mut bytes, FIELDS_BYTES, &self.attributes);
        if let Some(checksum) = seed.of_inode(self.number).over(&[&bytes]) {
            put_halves(&mut bytes, checksum, 124, 130);
        }
        bytes
    }
}
