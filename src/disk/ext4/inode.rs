//! Inodes (`Documentation/filesystems/ext4/inodes.rst`).

use zerocopy::IntoBytes as _;

use super::super::DiskError;
use super::{Ext, IS_CHECKED};
use crate::image::ext4::checksum::Seed;
use crate::image::ext4::disk::InodeRecord;
use crate::overlay::layer::{Attributes, FileKind, Timestamp};

const INODE: &str = "an inode";
/// The bytes that every inode has.
const OLD_BYTES: usize = 128;
/// The offsets of the two halves of the checksum.
const CHECKSUM_AT: usize = 124;
const CHECKSUM_HIGH_AT: usize = 130;

/// `i_flags`: the contents are encrypted.
const FLAG_ENCRYPTED: u32 = 0x800;
/// `i_flags`: the inode holds the value of an extended attribute.
const FLAG_ATTRIBUTE: u32 = 0x20_0000;
/// `i_flags`: the contents are in the inode.
const FLAG_INLINE: u32 = 0x1000_0000;

/// An inode that is in use.
#[derive(Debug, Clone)]
pub(super) struct Inode {
    /// Number, from 1.
    pub(super) number: u32,
    /// Offset in bytes.
    pub(super) offset: u64,
    /// Kind of file.
    pub(super) kind: FileKind,
    /// Its fields.
    pub(super) record: InodeRecord,
    /// The bytes behind its fields: extended attributes.
    pub(super) rest: Vec<u8>,
    /// Length of the contents.
    pub(super) size_bytes: u64,
    /// The seed of its checksums.
    pub(super) seed: Seed,
}

impl Inode {
    /// Returns whether all `flags` are set.
    pub(super) fn has(&self, flags: u32) -> bool {
        self.record.flags.get() & flags == flags
    }

    /// Returns whether the contents are in the inode.
    pub(super) fn is_inline(&self) -> bool {
        self.has(FLAG_INLINE)
    }

    /// Returns whether the inode holds the value of an extended attribute.
    pub(super) fn is_attribute(&self) -> bool {
        self.has(FLAG_ATTRIBUTE)
    }

    /// Returns whether names or contents are encrypted.
    pub(super) fn is_encrypted(&self) -> bool {
        self.has(FLAG_ENCRYPTED)
    }

    /// Returns the metadata.
    pub(super) fn attributes(&self) -> Attributes {
        let record = &self.record;
        let wide = |low: u16, high: u16| u32::from(high) << 16 | u32::from(low);
        Attributes {
            kind: self.kind,
            permissions: u32::from(record.mode.get()) & 0o7777,
            uid: wide(record.uid.get(), record.uid_high.get()),
            gid: wide(record.gid.get(), record.gid_high.get()),
            size_bytes: self.size_bytes,
            modified: self.modified(),
            links: record.links_count.get().into(),
            device: self.device(),
        }
    }

    fn modified(&self) -> Timestamp {
        // The lower 32 bits are signed.
        let seconds = i64::from(self.record.mtime.get() as i32);
        let extra = self.record.mtime_extra.get();
        Timestamp {
            seconds: seconds + (i64::from(extra & 3) << 32),
            nanoseconds: (extra >> 2).min(999_999_999),
        }
    }

    /// Returns the major and the minor number of a device: in the old form, or behind zeros in the new one.
    fn device(&self) -> (u32, u32) {
        if !matches!(self.kind, FileKind::CharDevice | FileKind::BlockDevice) {
            return (0, 0);
        }
        let word = |index: usize| self.number_in_place(index).unwrap_or_default();
        match (word(0), word(1)) {
            (0, new) => ((new & 0xf_ff00) >> 8, new & 0xff | (new >> 12) & 0xf_ff00),
            (old, _) => ((old >> 8) & 0xff, old & 0xff),
        }
    }

    /// Returns the number `index` of `i_block`, of 15.
    pub(super) fn number_in_place(&self, index: usize) -> Option<u32> {
        let bytes = self.record.block.as_chunks::<4>().0.get(index)?;
        Some(u32::from_le_bytes(*bytes))
    }
}

impl Ext {
    /// Reads inode `number`, which is in use.
    pub(super) fn inode(&self, number: u32) -> Result<Inode, DiskError> {
        let Some(offset) = self.head.inode_offset(&self.area, number)? else {
            let problem = format!("there is no inode {number}");
            return Err(self.area.damaged(INODE, 0, problem));
        };
        let bytes = self.area.bytes(INODE, offset, self.head.inode_bytes)?;
        let damaged = |problem: &str| {
            let problem = format!("inode {number}: {problem}");
            self.area.damaged(INODE, offset, problem)
        };
        let mut record: InodeRecord = zerocopy::FromZeros::new_zeroed();
        let extra = match self.head.inode_bytes {
            OLD_BYTES => 0,
            _ => usize::from(u16::from_le_bytes([bytes[OLD_BYTES], bytes[OLD_BYTES + 1]])),
        };
        let fields = OLD_BYTES + extra;
        if fields > bytes.len() || !fields.is_multiple_of(4) {
            return Err(damaged("the length of its fields is impossible"));
        }
        // Fields that this inode does not have stay zero.
        let known = fields.min(size_of::<InodeRecord>());
        record.as_mut_bytes()[..known].copy_from_slice(&bytes[..known]);
        let seed = self.head.seed.of_inode(number, record.generation.get());
        if IS_CHECKED && !checksum_is_right(&bytes, fields, &record, seed) {
            return Err(damaged("its checksum is wrong"));
        }
        let Some(kind) = FileKind::from_mode(record.mode.get().into()) else {
            return Err(damaged("it is of no known kind"));
        };
        let is_large = kind == FileKind::Regular || kind == FileKind::Directory && self.head.has_large_directories();
        let high = if is_large { u64::from(record.size_high.get()) } else { 0 };
        let size_bytes = high << 32 | u64::from(record.size_lo.get());
        if i64::try_from(size_bytes).is_err() {
            return Err(damaged("its size is impossible"));
        }
        Ok(Inode {
            number,
            offset,
            kind,
            rest: bytes.get(fields..).unwrap_or_default().to_vec(),
            size_bytes,
            seed,
            record,
        })
    }
}

/// Compares the checksum of an inode of `bytes`, whose fields end at `fields`; right where there are no checksums.
fn checksum_is_right(bytes: &[u8], fields: usize, record: &InodeRecord, seed: Seed) -> bool {
    let mut covered = bytes.to_vec();
    covered[CHECKSUM_AT..CHECKSUM_AT + 2].fill(0);
    let has_high = fields >= CHECKSUM_HIGH_AT + 2;
    if has_high {
        covered[CHECKSUM_HIGH_AT..CHECKSUM_HIGH_AT + 2].fill(0);
    }
    let Some(sum) = seed.over(&[&covered]) else { return true };
    let low = sum as u16 == record.checksum_lo.get();
    low && (!has_high || (sum >> 16) as u16 == record.checksum_hi.get())
}
