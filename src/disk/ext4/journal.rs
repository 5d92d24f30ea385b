//! The journal of a file system that was not unmounted (`Documentation/filesystems/ext4/journal.rst`): its committed
//! transactions are replayed in memory. Nothing is copied: a read of a block that the journal has a newer version of is
//! answered from the journal's block.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use zerocopy::big_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::super::DiskError;
use super::super::area::Area;
use super::super::medium::Medium;
use super::inode::Inode;
use super::{Ext, IS_CHECKED};
use crate::image::ext4::checksum::raw;
use crate::image::ext4::disk::JournalSuperblock;
use crate::image::ext4::superblock::JOURNAL_MAGIC;

const JOURNAL: &str = "the journal of ext4";
/// The most blocks of a journal that is read, as e2fsprogs has it.
const BLOCKS_MAX: u64 = 10_240_000;
/// The offset of the checksum in the journal's superblock, and in a commit block.
const SUPERBLOCK_CHECKSUM_AT: usize = 0xfc;
const COMMIT_CHECKSUM_AT: usize = 16;

/// `h_blocktype`.
const DESCRIPTOR: u32 = 1;
const COMMIT: u32 = 2;
const REVOKE: u32 = 5;

/// `s_feature_incompat`: numbers of blocks have 64 bits.
const FEATURE_64BIT: u32 = 0x2;
/// The same: checksums, of 16 and of 32 bits in a tag.
const FEATURE_CSUM_V2: u32 = 0x8;
const FEATURE_CSUM_V3: u32 = 0x10;
/// All features that this reader knows: besides those, revoked blocks and asynchronous commits.
const FEATURES_KNOWN: u32 = 0x1 | FEATURE_64BIT | 0x4 | FEATURE_CSUM_V2 | FEATURE_CSUM_V3;

/// `t_flags`: the block began with the magic number, which is zero in the journal.
const TAG_ESCAPED: u32 = 1;
const TAG_SAME_UUID: u32 = 2;
const TAG_LAST: u32 = 8;

/// `journal_header_t`.
#[derive(Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Header {
    magic: U32,
    kind: U32,
    sequence: U32,
}

/// A block that a transaction writes.
#[derive(Debug)]
struct Tag {
    block: u64,
    /// The place of its contents in the file system, in blocks.
    place: u64,
    is_escaped: bool,
}

/// A committed transaction.
#[derive(Debug, Default)]
struct Transaction {
    tags: Vec<Tag>,
    revoked: Vec<u64>,
}

/// Replays the journal of `ext`; returns the area that shows the result, and the number of blocks that it replaces.
pub(super) fn replay(ext: &Ext) -> Result<(Area, u64), DiskError> {
    let Some(number) = ext.head.journal_inode() else {
        return Err(DiskError::Unsupported(
            "the file system was not unmounted, and its journal is on another disk".into(),
        ));
    };
    let inode = ext.inode(number)?;
    let mut journal = Journal::open(ext, &inode)?;
    let transactions = journal.transactions()?;
    let mut revoked: HashMap<u64, usize> = HashMap::new();
    for (index, transaction) in transactions.iter().enumerate() {
        revoked.extend(transaction.revoked.iter().map(|block| (*block, index)));
    }
    let mut patches = BTreeMap::new();
    for (index, tag) in transactions
        .iter()
        .enumerate()
        .flat_map(|(index, t)| t.tags.iter().map(move |tag| (index, tag)))
    {
        // What a later transaction revokes is older than the block's contents.
        if revoked.get(&tag.block).is_none_or(|by| *by < index) {
            let patch = Patch {
                offset: ext.area.start() + ext.offset(tag.place),
                is_escaped: tag.is_escaped,
            };
            patches.insert(tag.block, patch);
        }
    }
    let blocks = patches.len() as u64;
    let replayed = Replayed {
        below: Arc::clone(ext.area.medium()),
        start: ext.area.start(),
        block_bytes: ext.head.block_bytes,
        patches,
    };
    Ok((ext.area.through(Arc::new(replayed)), blocks))
}

/// A journal that is being read.
#[derive(Debug)]
struct Journal<'a> {
    ext: &'a Ext,
    inode: &'a Inode,
    superblock: JournalSuperblock,
    /// The next block to read, and the number of blocks that may still be read.
    next: u64,
    left: u64,
}

impl<'a> Journal<'a> {
    fn open(ext: &'a Ext, inode: &'a Inode) -> Result<Self, DiskError> {
        let mut bytes = vec![0; size_of::<JournalSuperblock>()];
        let read = ext.read_content(inode, 0, &mut bytes)?;
        let superblock = JournalSuperblock::read_from_bytes(&bytes[..read]);
        let superblock = superblock.map_err(|_| ext.wrong(inode, "the journal is cut short"))?;
        let damaged = |problem: &str| ext.wrong(inode, format!("the journal's superblock: {problem}"));
        if superblock.magic != JOURNAL_MAGIC || !matches!(superblock.block_type.get(), 3 | 4) {
            return Err(damaged("its magic number is wrong"));
        }
        // Version 1 has no features.
        let features = if superblock.block_type == 3 {
            0
        } else {
            superblock.features[1].get()
        };
        if features & !FEATURES_KNOWN != 0 {
            return Err(DiskError::Unsupported(format!(
                "the file system was not unmounted, and its journal has features that oic does not replay ({features:#x})"
            )));
        }
        bytes[SUPERBLOCK_CHECKSUM_AT..SUPERBLOCK_CHECKSUM_AT + 4].fill(0);
        let has_checksums = features & (FEATURE_CSUM_V2 | FEATURE_CSUM_V3) != 0;
        let stored = superblock.as_bytes()[SUPERBLOCK_CHECKSUM_AT..]
            .first_chunk()
            .map(|sum| u32::from_be_bytes(*sum));
        if IS_CHECKED && has_checksums && stored != Some(raw(!0, &bytes)) {
            return Err(damaged("its checksum is wrong"));
        }
        let (first, end) = (u64::from(superblock.first.get()), u64::from(superblock.max_len.get()));
        let start = u64::from(superblock.start.get());
        let is_within = (first..end).contains(&start) || start == 0;
        if u64::from(superblock.block_size.get()) != ext.head.block_bytes
            || first == 0
            || !is_within
            || end > BLOCKS_MAX
        {
            return Err(damaged("its places are impossible"));
        }
        Ok(Self {
            ext,
            inode,
            next: start,
            // Without a start, the log is empty.
            left: if start == 0 { 0 } else { end.saturating_sub(first) },
            superblock,
        })
    }

    fn features(&self) -> u32 {
        if self.superblock.block_type == 3 {
            0
        } else {
            self.superblock.features[1].get()
        }
    }

    fn has_checksums(&self) -> bool {
        self.features() & (FEATURE_CSUM_V2 | FEATURE_CSUM_V3) != 0
    }

    /// Takes the next block of the log, which goes round; returns its place in the file system, `None` behind the end.
    fn take(&mut self) -> Result<Option<u64>, DiskError> {
        if self.left == 0 {
            return Ok(None);
        }
        let place = self.ext.run(self.inode, self.next)?.place;
        self.left -= 1;
        self.next += 1;
        if self.next >= u64::from(self.superblock.max_len.get()) {
            self.next = self.superblock.first.get().into();
        }
        place
            .map(Some)
            .ok_or_else(|| self.ext.wrong(self.inode, "the journal has a hole"))
    }

    /// Reads the log up to its end: the first block that does not continue it.
    fn transactions(&mut self) -> Result<Vec<Transaction>, DiskError> {
        let (mut done, mut open) = (Vec::new(), Transaction::default());
        let mut sequence = self.superblock.sequence.get();
        while let Some(place) = self.take()? {
            let block = self.ext.block(JOURNAL, place)?;
            let Ok((header, _)) = Header::read_from_prefix(&block) else {
                break;
            };
            if header.magic != JOURNAL_MAGIC || header.sequence != sequence {
                break;
            }
            match header.kind.get() {
                DESCRIPTOR if self.tail_is_right(&block) => {
                    if !self.describe(&block, sequence, &mut open.tags)? {
                        break;
                    }
                }
                REVOKE if self.tail_is_right(&block) => open.revoked.extend(self.revoked(&block)),
                COMMIT if self.sum_is_right(&block, COMMIT_CHECKSUM_AT) => {
                    done.push(std::mem::take(&mut open));
                    sequence = sequence.wrapping_add(1);
                }
                _ => break,
            }
        }
        Ok(done)
    }

    /// Adds the blocks that a descriptor names, whose contents follow it in the log. Returns `false` if the log ends
    /// before.
    fn describe(&mut self, block: &[u8], sequence: u32, tags: &mut Vec<Tag>) -> Result<bool, DiskError> {
        let is_v3 = self.features() & FEATURE_CSUM_V3 != 0;
        let has_high = self.features() & FEATURE_64BIT != 0;
        let extra = if self.features() & FEATURE_CSUM_V2 != 0 { 2 } else { 0 };
        let tag_bytes = match (is_v3, has_high) {
            (true, _) => 16,
            (false, true) => 12 + extra,
            (false, false) => 8 + extra,
        };
        let end = block.len() - if self.has_checksums() { 4 } else { 0 };
        let mut at = size_of::<Header>();
        while let Some(tag) = block.get(at..at + tag_bytes).filter(|_| at + tag_bytes <= end) {
            let word = |index: usize| {
                tag.as_chunks::<4>()
                    .0
                    .get(index)
                    .map_or(0, |bytes| u32::from_be_bytes(*bytes))
            };
            let flags = if is_v3 { word(1) } else { word(1) & 0xffff };
            let high = if has_high || is_v3 { u64::from(word(2)) } else { 0 };
            let number = high << 32 | u64::from(word(0));
            if number >= self.ext.head.blocks {
                return Err(self
                    .ext
                    .wrong(self.inode, "the journal names a block behind the last one"));
            }
            let Some(place) = self.take()? else { return Ok(false) };
            let sum = if is_v3 { word(3) } else { word(1) >> 16 };
            self.check_data(place, sequence, sum, is_v3)?;
            tags.push(Tag {
                block: number,
                place,
                is_escaped: flags & TAG_ESCAPED != 0,
            });
            at += tag_bytes + if flags & TAG_SAME_UUID == 0 { 16 } else { 0 };
            if flags & TAG_LAST != 0 {
                break;
            }
        }
        Ok(true)
    }

    /// Compares the checksum of the contents at `place` with that of its tag.
    fn check_data(&self, place: u64, sequence: u32, sum: u32, is_v3: bool) -> Result<(), DiskError> {
        if !IS_CHECKED || !self.has_checksums() {
            return Ok(());
        }
        let block = self.ext.block(JOURNAL, place)?;
        let expected = raw(raw(self.seed(), &sequence.to_be_bytes()), &block);
        let is_right = if is_v3 {
            expected == sum
        } else {
            expected as u16 == sum as u16
        };
        match is_right {
            true => Ok(()),
            false => Err(self
                .ext
                .area
                .damaged(JOURNAL, self.ext.offset(place), "the checksum of a block is wrong")),
        }
    }

    fn seed(&self) -> u32 {
        raw(!0, &self.superblock.uuid)
    }

    /// Returns the blocks that a revoke block names.
    fn revoked(&self, block: &[u8]) -> Vec<u64> {
        let behind = block.get(size_of::<Header>()..).unwrap_or_default();
        let Some((count, _)) = behind.split_first_chunk::<4>() else {
            return Vec::new();
        };
        // The count includes the header and itself.
        let end = (u32::from_be_bytes(*count) as usize).min(block.len());
        let numbers = block.get(size_of::<Header>() + 4..end).unwrap_or_default();
        match self.features() & FEATURE_64BIT != 0 {
            true => numbers
                .as_chunks()
                .0
                .iter()
                .map(|bytes| u64::from_be_bytes(*bytes))
                .collect(),
            false => numbers
                .as_chunks()
                .0
                .iter()
                .map(|bytes| u32::from_be_bytes(*bytes).into())
                .collect(),
        }
    }

    /// Compares the checksum at the end of a descriptor or revoke block.
    fn tail_is_right(&self, block: &[u8]) -> bool {
        self.sum_is_right(block, block.len() - 4)
    }

    /// Compares the checksum at `at`; right where there are none.
    fn sum_is_right(&self, block: &[u8], at: usize) -> bool {
        if !IS_CHECKED || !self.has_checksums() {
            return true;
        }
        let mut covered = block.to_vec();
        let stored = covered.get_mut(at..at + 4).map(|place| {
            let stored = u32::from_be_bytes([place[0], place[1], place[2], place[3]]);
            place.fill(0);
            stored
        });
        stored == Some(raw(self.seed(), &covered))
    }
}

/// The newer contents of a block.
#[derive(Debug)]
struct Patch {
    /// Their offset on the disk, in bytes.
    offset: u64,
    is_escaped: bool,
}

/// A disk with the blocks of a journal in their places.
#[derive(Debug)]
struct Replayed {
    below: Arc<dyn Medium>,
    /// The offset of the file system on the disk.
    start: u64,
    block_bytes: u64,
    /// By the number of the block.
    patches: BTreeMap<u64, Patch>,
}

impl Medium for Replayed {
    fn size_bytes(&self) -> u64 {
        self.below.size_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        self.below.read_at(offset, buffer)?;
        let end = offset + buffer.len() as u64;
        let Some(last) = end.checked_sub(self.start + 1).filter(|_| !buffer.is_empty()) else {
            return Ok(());
        };
        let first = offset.saturating_sub(self.start) / self.block_bytes;
        for (block, patch) in self.patches.range(first..=last / self.block_bytes) {
            let place = self.start + block * self.block_bytes;
            let (from, to) = (place.max(offset), (place + self.block_bytes).min(end));
            let part = &mut buffer[(from - offset) as usize..(to - offset) as usize];
            self.below.read_at(patch.offset + (from - place), part)?;
            if patch.is_escaped {
                let magic = JOURNAL_MAGIC.to_be_bytes();
                let hidden = magic.iter().skip((from - place) as usize);
                part.iter_mut().zip(hidden).for_each(|(byte, own)| *byte = *own);
            }
        }
        Ok(())
    }

    fn is_plain(&self) -> bool {
        self.below.is_plain()
    }
}
