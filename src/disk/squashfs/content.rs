//! The contents of files: blocks, and an end that shares a block with those of others.

use zerocopy::little_endian::U32;

use super::super::DiskError;
use super::Squashfs;
use super::disk::Fragment;
use super::inode::{Contents, NONE};
use super::unpack::Stored;
use crate::sync::Arc;

const CONTENTS: &str = "the contents of a file";
const FRAGMENTS: &str = "the table of ends of files";
/// The bit of a block's length that says that it is not compressed.
const PLAIN: u32 = 1 << 24;
/// The number of lengths of blocks that are read at once.
const LENGTHS_AT_ONCE: u64 = 4096;

impl Squashfs {
    /// Fills `buffer` from `offset` of a file of `size_bytes` with these `contents`; the range lies within its size.
    pub(super) fn read_content(
        &self,
        contents: &mut Contents<'_>,
        size_bytes: u64,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<(), DiskError> {
        let block_bytes = self.block_bytes();
        let blocks = match contents.fragment.0 {
            NONE => size_bytes.div_ceil(block_bytes),
            _ => size_bytes / block_bytes,
        };
        let mut number = (offset / block_bytes).min(blocks);
        let mut place = contents.start.saturating_add(skipped_bytes(contents, number)?);
        let mut rest = buffer;
        while !rest.is_empty() {
            let start = number * block_bytes;
            let end = (start + block_bytes).min(size_bytes);
            let stored = if number < blocks {
                Some(contents.lengths.record::<U32>()?.get())
            } else {
                None
            };
            if offset < end {
                let within = offset.saturating_sub(start) as usize;
                let length = ((end - start) as usize - within).min(rest.len());
                let (part, behind) = rest.split_at_mut(length);
                match stored {
                    Some(0) => part.fill(0),
                    Some(length) => self.copy(&self.stored(place, length)?, within, part)?,
                    None => self.end(contents.fragment, within, part)?,
                }
                rest = behind;
            }
            place = place.saturating_add(u64::from(stored.unwrap_or(0) & (PLAIN - 1)));
            number += 1;
        }
        Ok(())
    }

    /// Returns the block at `place` with this `length`, as it is in lists of lengths.
    fn stored(&self, place: u64, length: u32) -> Result<Arc<Vec<u8>>, DiskError> {
        let stored = Stored {
            place,
            length: (length & (PLAIN - 1)) as usize,
            is_packed: length & PLAIN == 0,
        };
        self.block(CONTENTS, stored, self.block_bytes() as usize)
    }

    /// Fills `part` from the byte `within` of the end of a file, which lies at `offset` of the fragment `number`.
    fn end(&self, (number, offset): (u32, u32), within: usize, part: &mut [u8]) -> Result<(), DiskError> {
        if number >= self.superblock.fragments.get() {
            let table = self.superblock.fragment_table.get();
            return Err(self
                .area
                .damaged(FRAGMENTS, table, "the end of a file lies in none of them"));
        }
        let list = self.superblock.fragment_table.get();
        let fragment: Fragment = self.in_table(FRAGMENTS, list, number.into())?;
        let block = self.stored(fragment.start.get(), fragment.size.get())?;
        self.copy(&block, offset as usize + within, part)
    }

    /// Fills `part` from the byte `from` of `block`.
    fn copy(&self, block: &[u8], from: usize, part: &mut [u8]) -> Result<(), DiskError> {
        let found = block.get(from..).and_then(|found| found.get(..part.len()));
        let found = found.ok_or_else(|| self.area.damaged(CONTENTS, 0, "a block of them is too short"))?;
        part.copy_from_slice(found);
        Ok(())
    }
}

/// Goes over the next `count` blocks of a file; returns their length on disk in bytes.
fn skipped_bytes(contents: &mut Contents<'_>, count: u64) -> Result<u64, DiskError> {
    let (mut left, mut bytes) = (count, 0_u64);
    while left > 0 {
        let now = left.min(LENGTHS_AT_ONCE);
        let lengths = contents.lengths.bytes(now as usize * size_of::<u32>())?;
        let lengths = lengths.as_chunks::<4>().0.iter();
        let sum: u64 = lengths
            .map(|length| u64::from(u32::from_le_bytes(*length) & (PLAIN - 1)))
            .sum();
        (left, bytes) = (left - now, bytes.saturating_add(sum));
    }
    Ok(bytes)
}
