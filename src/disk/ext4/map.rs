//! The places of a file's blocks: a tree of extents (`Documentation/filesystems/ext4/ifork.rst`, "Extent Tree"), or the
//! lists of ext2 and ext3 (`blockmap.rst`); and its contents.

use zerocopy::FromBytes;

use super::super::DiskError;
use super::inode::Inode;
use super::{Ext, IS_CHECKED};
use crate::image::ext4::disk::{ExtentHeader, ExtentIndex, ExtentLeaf};
use crate::image::ext4::extents::{EXTENT_BLOCKS, MAGIC};
use crate::image::ext4::inode::FLAG_EXTENTS;

const NODE: &str = "a node of a tree of extents";
const TABLE: &str = "a list of block numbers";
const CONTENT: &str = "the contents of a file";
/// The most levels of a tree of extents below its root (`EXT4_MAX_EXTENT_DEPTH`).
const DEPTH_MAX: u16 = 5;
const ENTRY_BYTES: usize = size_of::<ExtentHeader>();
/// Blocks that the inode of a list names itself; three tables follow.
const DIRECT: u64 = 12;
/// The steps through holes after which the search for data gives up.
const HOLES_MAX: usize = 256;

/// Blocks of a file that lie in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// The first one's number in the file system; `None` for a hole, and for blocks that were never written.
    pub(super) place: Option<u64>,
    /// Their number, at least 1.
    pub(super) blocks: u64,
}

impl Run {
    fn hole(blocks: u64) -> Self {
        Self {
            place: None,
            blocks: blocks.max(1),
        }
    }
}

impl Ext {
    /// Finds the blocks of `inode` from its block `number` on.
    pub(super) fn run(&self, inode: &Inode, number: u64) -> Result<Run, DiskError> {
        let run = match inode.has(FLAG_EXTENTS) {
            true => self.extent(inode, number)?,
            false => self.listed(inode, number)?,
        };
        if let Some(place) = run.place
            && place.checked_add(run.blocks).is_none_or(|end| end > self.head.blocks)
        {
            return Err(self.wrong(inode, "its blocks lie behind the last block"));
        }
        Ok(run)
    }

    fn extent(&self, inode: &Inode, number: u64) -> Result<Run, DiskError> {
        let mut node = inode.record.block.to_vec();
        let mut offset = inode.offset;
        let mut below: Option<u16> = None;
        // The first block behind what the node describes.
        let mut limit = 1_u64 << 32;
        loop {
            let damaged = |problem: &str| {
                let problem = format!("inode {}: {problem}", inode.number);
                self.area.damaged(NODE, offset, problem)
            };
            let (header, entries) = entries(&node).map_err(damaged)?;
            let depth = header.depth.get();
            if depth > DEPTH_MAX || below.is_some_and(|expected| depth != expected) {
                return Err(damaged("its depth is impossible"));
            }
            let first = |entry: &&[u8]| {
                entry
                    .first_chunk()
                    .map_or(0, |bytes| u64::from(u32::from_le_bytes(*bytes)))
            };
            let behind = entries
                .iter()
                .position(|entry| first(entry) > number)
                .unwrap_or(entries.len());
            let next = entries.get(behind).map_or(limit, |entry| first(entry).min(limit));
            let Some(entry) = behind.checked_sub(1).and_then(|index| entries.get(index)) else {
                return Ok(Run::hole(next.saturating_sub(number)));
            };
            if depth == 0 {
                let Ok(leaf) = ExtentLeaf::read_from_bytes(entry) else {
                    return Err(damaged("it is cut short"));
                };
                return leaf_run(&leaf, number, next).map_err(damaged);
            }
            let Ok(index) = ExtentIndex::read_from_bytes(entry) else {
                return Err(damaged("it is cut short"));
            };
            let block = u64::from(index.leaf_hi.get()) << 32 | u64::from(index.leaf_lo.get());
            (limit, below, offset) = (next, Some(depth - 1), self.offset(block));
            node = self.block(NODE, block)?;
            self.check_node(inode, &node, offset)?;
        }
    }

    /// Compares the checksum of a node in a block of its own, which follows the last possible entry.
    fn check_node(&self, inode: &Inode, node: &[u8], offset: u64) -> Result<(), DiskError> {
        let Ok((header, _)) = ExtentHeader::read_from_prefix(node) else {
            return Ok(());
        };
        let end = ENTRY_BYTES * (1 + usize::from(header.max.get()));
        let Some((covered, sum)) = node.split_at_checked(end) else {
            return Ok(());
        };
        let (Some(expected), Some(sum)) = (inode.seed.over(&[covered]), sum.first_chunk()) else {
            return Ok(());
        };
        match IS_CHECKED && u32::from_le_bytes(*sum) != expected {
            true => Err(self
                .area
                .damaged(NODE, offset, format!("inode {}: its checksum is wrong", inode.number))),
            false => Ok(()),
        }
    }

    /// Finds a block through lists: twelve numbers in the inode, then tables in one, two and three steps.
    fn listed(&self, inode: &Inode, number: u64) -> Result<Run, DiskError> {
        let in_inode = |index: u64| inode.number_in_place(index as usize).unwrap_or_default();
        if number < DIRECT {
            let numbers: Vec<u32> = (0..DIRECT).map(in_inode).collect();
            return Ok(listed_run(&numbers, number));
        }
        let per_table = self.head.block_bytes / 4;
        let (mut rest, mut level) = (number - DIRECT, 1);
        while rest >= per_table.pow(level) {
            rest -= per_table.pow(level);
            level += 1;
            if level > 3 {
                // No file is that long; its size says otherwise, so the rest is a hole.
                return Ok(Run::hole(u64::MAX >> 16));
            }
        }
        let mut table = u64::from(in_inode(DIRECT + u64::from(level) - 1));
        loop {
            level -= 1;
            let each = per_table.pow(level);
            if table == 0 {
                return Ok(Run::hole(each * per_table - rest));
            }
            let block = self.block(TABLE, table)?;
            let numbers: Vec<u32> = block
                .as_chunks()
                .0
                .iter()
                .map(|bytes| u32::from_le_bytes(*bytes))
                .collect();
            if level == 0 {
                return Ok(listed_run(&numbers, rest));
            }
            table = numbers.get((rest / each) as usize).copied().unwrap_or_default().into();
            rest %= each;
        }
    }

    /// Reads the contents of `inode` as read(2) does; returns fewer bytes than asked only at the end.
    pub(super) fn read_content(&self, inode: &Inode, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError> {
        if inode.is_encrypted() {
            let number = inode.number;
            return Err(DiskError::Unsupported(format!(
                "inode {number} of the file system is encrypted"
            )));
        }
        let length = inode.size_bytes.saturating_sub(offset).min(buffer.len() as u64) as usize;
        let buffer = &mut buffer[..length];
        if inode.is_inline() {
            let content = self.inline_content(inode)?;
            let found = content.get(offset as usize..).and_then(|rest| rest.get(..length));
            buffer.copy_from_slice(found.ok_or_else(|| self.wrong(inode, "its contents are cut short"))?);
            return Ok(length);
        }
        let block_bytes = self.head.block_bytes;
        let mut done = 0;
        while done < length {
            let at = offset + done as u64;
            let run = self.run(inode, at / block_bytes)?;
            let available = run.blocks.saturating_mul(block_bytes) - at % block_bytes;
            let count = available.min((length - done) as u64) as usize;
            let part = &mut buffer[done..done + count];
            match run.place {
                Some(place) => self.area.read(CONTENT, self.offset(place) + at % block_bytes, part)?,
                None => part.fill(0),
            }
            done += count;
        }
        Ok(length)
    }

    /// Returns the contents that are in the inode: in the place of its map, then in an attribute.
    pub(super) fn inline_content(&self, inode: &Inode) -> Result<Vec<u8>, DiskError> {
        let rest = self.inline_rest(inode)?;
        Ok([inode.record.block.as_slice(), &rest].concat())
    }

    /// Returns the offset of the first byte of `inode` from `offset` on that is not in a hole, or a smaller one.
    pub(super) fn data_from(&self, inode: &Inode, offset: u64) -> Result<u64, DiskError> {
        let block_bytes = self.head.block_bytes;
        let mut at = offset;
        for _ in 0..HOLES_MAX {
            if at >= inode.size_bytes || inode.is_inline() {
                break;
            }
            let run = self.run(inode, at / block_bytes)?;
            if run.place.is_some() {
                break;
            }
            at = (at / block_bytes)
                .saturating_add(run.blocks)
                .saturating_mul(block_bytes);
        }
        Ok(at)
    }
}

/// Returns the header of a node, and its entries; otherwise what is wrong with it.
fn entries(node: &[u8]) -> Result<(ExtentHeader, Vec<&[u8]>), &'static str> {
    let Ok((header, rest)) = ExtentHeader::read_from_prefix(node) else {
        return Err("it is cut short");
    };
    let count = usize::from(header.entries.get());
    if header.magic != MAGIC {
        return Err("its magic number is wrong");
    }
    let entries: Vec<&[u8]> = rest.chunks_exact(ENTRY_BYTES).take(count).collect();
    if entries.len() < count || header.max < header.entries {
        return Err("it has more entries than room");
    }
    Ok((header, entries))
}

/// Returns the blocks from `number` on that `leaf` describes, or the hole behind it up to `next`.
fn leaf_run(leaf: &ExtentLeaf, number: u64, next: u64) -> Result<Run, &'static str> {
    let (first, length) = (u64::from(leaf.block.get()), u64::from(leaf.len.get()));
    // A length above the limit: reserved, but not written.
    let (length, is_written) = match length > EXTENT_BLOCKS {
        true => (length - EXTENT_BLOCKS, false),
        false => (length, true),
    };
    if length == 0 {
        return Err("it has an extent without blocks");
    }
    let within = number - first;
    if within >= length {
        return Ok(Run::hole(next.saturating_sub(number)));
    }
    let start = u64::from(leaf.start_hi.get()) << 32 | u64::from(leaf.start_lo.get());
    Ok(Run {
        place: is_written.then_some(start + within),
        blocks: length - within,
    })
}

/// Returns the blocks in a row from `index` on in a list of numbers, where 0 stands for a hole.
fn listed_run(numbers: &[u32], index: u64) -> Run {
    let rest = numbers.get(index as usize..).unwrap_or_default();
    let start = rest.first().copied().unwrap_or_default();
    let in_row = (start..).zip(rest).take_while(|(expected, number)| match start {
        0 => **number == 0,
        _ => **number == *expected,
    });
    Run {
        place: (start != 0).then_some(start.into()),
        blocks: in_row.count().max(1) as u64,
    }
}
