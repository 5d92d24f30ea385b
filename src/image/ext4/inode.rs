//! An inode of 256 bytes (`Documentation/filesystems/ext4/inodes.rst`).

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromZeros as _, IntoBytes as _};

use super::checksum::Seed;
use super::disk::{INODE_AREA_BYTES, InodeRecord, ROOT_BYTES, high, high_half, low, low_half};
use super::geometry::INODE_BYTES;
use crate::overlay::layer::Timestamp;

/// Bytes of the fields; extended attributes follow them.
const FIELDS_BYTES: usize = INODE_BYTES - INODE_AREA_BYTES;
const EXTRA_BYTES: u16 = (FIELDS_BYTES - 128) as u16;

/// `i_flags`: the directory has an index.
pub(crate) const FLAG_INDEX: u32 = 0x1000;
/// `i_flags`: the blocks are found through extents.
pub(crate) const FLAG_EXTENTS: u32 = 0x8_0000;

/// The values of an inode.
#[derive(Debug, Clone)]
pub(super) struct Inode {
    /// Number in the file system, from 1.
    pub(super) number: u32,
    /// Kind and permissions.
    pub(super) mode: u16,
    /// Owner.
    pub(super) uid: u32,
    /// Group.
    pub(super) gid: u32,
    /// Length of the contents.
    pub(super) size_bytes: u64,
    /// Number of names.
    pub(super) links: u16,
    /// Number of all its blocks, those of maps and attributes included.
    pub(super) blocks: u64,
    /// `i_flags`.
    pub(super) flags: u32,
    /// The map of its blocks, or the link's target, or the device's number.
    pub(super) place: [u8; ROOT_BYTES],
    /// The block of its attributes, 0 for none.
    pub(super) attribute_block: u64,
    /// Attributes in the inode.
    pub(super) attributes: Vec<u8>,
    /// Time of modification.
    pub(super) modified: Timestamp,
}

impl Inode {
    /// Makes an inode of the file system itself, owned by root.
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

    /// Makes the inode's bytes. All times but the one of modification are `epoch`; `seed` is the file system's.
    pub(super) fn encode(&self, epoch: Timestamp, seed: Seed) -> [u8; INODE_BYTES] {
        let sectors = self.blocks * 8;
        let (seconds, extra) = (low(epoch.seconds as u64), extra_time(epoch));
        let mut record = InodeRecord {
            mode: U16::new(self.mode),
            uid: low_half(self.uid),
            uid_high: high_half(self.uid),
            gid: low_half(self.gid),
            gid_high: high_half(self.gid),
            size_lo: low(self.size_bytes),
            size_high: high(self.size_bytes),
            links_count: U16::new(self.links),
            blocks_lo: low(sectors),
            blocks_high: U16::new((sectors >> 32) as u16),
            flags: U32::new(self.flags),
            block: self.place,
            file_acl_lo: low(self.attribute_block),
            file_acl_high: U16::new((self.attribute_block >> 32) as u16),
            extra_isize: U16::new(EXTRA_BYTES),
            atime: seconds,
            atime_extra: extra,
            ctime: seconds,
            ctime_extra: extra,
            mtime: low(self.modified.seconds as u64),
            mtime_extra: extra_time(self.modified),
            crtime: seconds,
            crtime_extra: extra,
            ..InodeRecord::new_zeroed()
        };
        let attributes = record.attributes.iter_mut().zip(&self.attributes);
        attributes.for_each(|(place, byte)| *place = *byte);
        if let Some(checksum) = seed.of_inode(self.number, 0).over(&[record.as_bytes()]) {
            record.checksum_lo = low_half(checksum);
            record.checksum_hi = high_half(checksum);
        }
        zerocopy::transmute!(record)
    }
}

/// Returns the part of a time that does not fit 32 bits: nanoseconds, and two bits that count the overflows of the
/// seconds.
fn extra_time(time: Timestamp) -> U32 {
    // 34 bits of seconds: the low 32 are signed.
    let overflow = (time.seconds.wrapping_sub(i64::from(time.seconds as i32)) >> 32) as u32 & 3;
    U32::new(time.nanoseconds << 2 | overflow)
}
