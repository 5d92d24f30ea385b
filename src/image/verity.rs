//! dm-verity: the hash tree of a partition, on a partition of its own. `veritysetup format` makes the same bytes.
//!
//! A part of the tree above zeros alone is known beforehand, so holes are neither read nor hashed. In the file of an
//! earlier image with the same tree, only what lies above changed data is computed again.

mod format;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use uuid::Uuid;

use super::canvas::Known;
use super::region::Region;
use crate::cancel::Cancelled;
use crate::durable::PathError;
use crate::package::Sha256;
use crate::parallel;
use crate::progress::Unit;
use crate::sync::{Mutex, lock};
use crate::work::Work;

use format::{BLOCK_BYTES, BRANCHES, Hash, Hasher, Layout, Level, Node};

/// Bytes of data below one block of the lowest level.
const UNIT_BYTES: u64 = BRANCHES * BLOCK_BYTES as u64;
/// Blocks of digests that are written at once where data has only zeros.
const NODES_AT_ONCE: u64 = 64;

/// What tells a hash tree from others over the same data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The UUID in its superblock.
    pub uuid: Uuid,
    /// The salt of all its digests.
    pub salt: [u8; 32],
}

/// The digest at the top of a hash tree: it stands for all data below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootHash(Hash);

impl RootHash {
    /// The number of its hexadecimal digits.
    pub const DIGITS: u64 = 64;

    /// Returns the GUIDs that the partitions of data and of digests have, so that systemd finds them by the root hash
    /// alone: its first and its last 128 bits (UAPI.2, Discoverable Partitions Specification, "Partition Types").
    pub fn partition_uuids(&self) -> (Uuid, Uuid) {
        let half = |from: usize| Uuid::from_bytes(std::array::from_fn(|at| self.0[from + at]));
        (half(0), half(16))
    }
}

impl fmt::Display for RootHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// The reason why no hash tree was written.
#[derive(Debug, thiserror::Error)]
pub enum VerityError {
    /// The tree does not fit.
    #[error("a hash tree over {} MiB needs {} MiB", data_bytes >> 20, needed_bytes.div_ceil(1 << 20))]
    Small {
        /// Size of the data in bytes.
        data_bytes: u64,
        /// Size of the tree in bytes.
        needed_bytes: u64,
    },
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] PathError),
    /// The user asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// Returns the bytes that a partition needs for the hash tree over `data_bytes`, superblock included.
pub fn size_bytes(data_bytes: u64) -> u64 {
    Layout::new(data_bytes, &Hasher::new(&[])).size_bytes()
}

/// Writes the hash tree of `data` to `tree`, on the threads of `work`; the content of `data` is complete, and stays as it
/// is from now on. Returns the root hash.
///
/// # Errors
/// [`VerityError`]; `tree` then holds a part of it.
pub fn write(data: Region<'_>, tree: Region<'_>, identity: Identity, work: Work<'_>) -> Result<RootHash, VerityError> {
    let hasher = Hasher::new(&identity.salt);
    let layout = Layout::new(data.size_bytes(), &hasher);
    if layout.size_bytes() > tree.size_bytes() {
        return Err(VerityError::Small {
            data_bytes: data.size_bytes(),
            needed_bytes: layout.size_bytes(),
        });
    }
    let settled = data.settle()?;
    let superblock = layout.superblock(&identity);
    let known = Known {
        digest: Sha256::of(tree_of(&superblock, data)),
        offset_bytes: 0,
        length_bytes: layout.size_bytes(),
    };
    let (ground, ranges) = match tree.has(0, known) {
        true => (Ground::Earlier, settled.changed),
        false => (Ground::Zeros, settled.put),
    };
    let writer = Writer {
        data,
        tree,
        layout,
        hasher,
        ground,
        work,
    };
    let root = writer.write(&blocks_below(&ranges, writer.layout.data_blocks()))?;
    if ground == Ground::Zeros {
        tree.put(0, &superblock)?;
    }
    Ok(root)
}

/// Returns the bytes that name the tree with this `superblock` over `data` in the record of an image.
fn tree_of(superblock: &[u8], data: Region<'_>) -> Vec<u8> {
    let places = [data.offset_bytes(), data.size_bytes()].map(u64::to_le_bytes);
    [b"hash tree\0", superblock, places.as_flattened()].concat()
}

/// The blocks of digests that need to be computed, by their number in the lowest level, each with the ranges (bytes) of
/// the data below it.
type Touched = BTreeMap<u64, Vec<Range<u64>>>;

/// Finds the blocks of digests above the sorted `ranges` (start and end in bytes) of `data_blocks`.
fn blocks_below(ranges: &[(u64, u64)], data_blocks: u64) -> Touched {
    let mut touched = Touched::new();
    let block = BLOCK_BYTES as u64;
    for (start, end) in ranges {
        let end = end.next_multiple_of(block).min(data_blocks * block);
        let mut at = start / block * block;
        while at < end {
            let number = at / UNIT_BYTES;
            let until = end.min((number + 1) * UNIT_BYTES);
            let below = touched.entry(number).or_default();
            match below.last_mut() {
                Some(last) if last.end >= at => last.end = until.max(last.end),
                _ => below.push(at..until),
            }
            at = until;
        }
    }
    touched
}

/// What the tree holds before it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ground {
    /// Nothing. Data that is not touched is zero.
    Zeros,
    /// The tree of the same data before some of it was touched.
    Earlier,
}

struct Writer<'a> {
    data: Region<'a>,
    tree: Region<'a>,
    layout: Layout,
    hasher: Hasher,
    ground: Ground,
    work: Work<'a>,
}

impl Writer<'_> {
    /// Writes all levels above the `touched` blocks, and, if there was no tree, all others.
    fn write(&self, touched: &Touched) -> Result<RootHash, VerityError> {
        let Some((lowest, upper)) = self.layout.levels.split_first() else {
            let mut block = [0; BLOCK_BYTES];
            self.data.read(0, &mut block)?;
            return Ok(RootHash(self.hasher.block(&block)));
        };
        let mut digests = self.lowest(lowest, touched)?;
        self.fill(lowest, digests.iter().map(|(number, _)| *number))?;
        for level in upper {
            self.work.cancel.check()?;
            digests = self.upper(level, &digests)?;
            self.fill(level, digests.iter().map(|(number, _)| *number))?;
        }
        let top = upper.last().unwrap_or(lowest);
        match digests.as_slice() {
            [(_, root), ..] => Ok(RootHash(*root)),
            [] => Ok(RootHash(self.hasher.block(&self.node(top, 0)?))),
        }
    }

    /// Hashes the data of the `touched` blocks of the lowest level; returns the blocks' numbers and digests, in order.
    fn lowest(&self, level: &Level, touched: &Touched) -> Result<Vec<(u64, Hash)>, VerityError> {
        let total = touched.values().flatten().map(|range| range.end - range.start).sum();
        let task = self.work.start("Hash partition", Unit::Bytes, Some(total));
        let queue = Mutex::new(touched.iter());
        let hash = || {
            let (mut buffer, mut done) = (vec![0; UNIT_BYTES as usize], Vec::new());
            loop {
                self.work.cancel.check()?;
                let Some((number, ranges)) = lock(&queue).next() else {
                    return Ok(done);
                };
                let mut node = self.node(level, *number)?;
                for range in ranges {
                    let bytes = &mut buffer[..(range.end - range.start) as usize];
                    self.data.read(range.start, bytes)?;
                    let first = (range.start / BLOCK_BYTES as u64 % BRANCHES) as usize;
                    let places = node.as_chunks_mut().0.iter_mut().skip(first);
                    for (block, place) in bytes.chunks(BLOCK_BYTES).zip(places) {
                        *place = self.hasher.block(block);
                    }
                    task.advance(range.end - range.start);
                }
                done.push((*number, self.put(level, *number, &node)?));
            }
        };
        let done = parallel::run(self.work.threads.clamp(1, 64), hash).into_iter();
        let done: Vec<Vec<_>> = done.collect::<Result<_, VerityError>>()?;
        let mut done = done.concat();
        done.sort_unstable();
        Ok(done)
    }

    /// Puts the `digests` of the level below, by their numbers and in order, into the blocks of `level`; returns those
    /// blocks' numbers and digests, in order.
    fn upper(&self, level: &Level, digests: &[(u64, Hash)]) -> Result<Vec<(u64, Hash)>, VerityError> {
        let siblings = digests.chunk_by(|(one, _), (other, _)| one / BRANCHES == other / BRANCHES);
        let parent = |children: &[(u64, Hash)]| {
            let number = children.first().map_or(0, |(number, _)| number / BRANCHES);
            let mut node = self.node(level, number)?;
            for (child, digest) in children {
                node.as_chunks_mut().0[(child % BRANCHES) as usize] = *digest;
            }
            Ok::<_, VerityError>((number, self.put(level, number, &node)?))
        };
        siblings.map(parent).collect()
    }

    /// Returns block `number` of `level` as it was before.
    fn node(&self, level: &Level, number: u64) -> Result<Node, PathError> {
        match self.ground {
            Ground::Zeros => Ok(level.node_of_zeros(number)),
            Ground::Earlier => {
                let mut node = [0; BLOCK_BYTES];
                self.tree.read(place(level, number), &mut node)?;
                Ok(node)
            }
        }
    }

    /// Puts block `number` of `level` to its place; returns its digest.
    fn put(&self, level: &Level, number: u64, node: &Node) -> Result<Hash, PathError> {
        self.tree.put(place(level, number), node)?;
        Ok(self.hasher.block(node))
    }

    /// Puts all blocks of `level` to their places but those with the `done` numbers, which are in order.
    fn fill(&self, level: &Level, done: impl Iterator<Item = u64>) -> Result<(), VerityError> {
        if self.ground == Ground::Earlier {
            return Ok(());
        }
        let last = level.nodes() - 1;
        let of_last = level.node_of_zeros(last);
        let inner = level.node_of_zeros(0).repeat(NODES_AT_ONCE.min(last) as usize);
        let mut at = 0;
        for next in done.chain([last + 1]) {
            while at < next {
                self.work.cancel.check()?;
                let bytes = match (next.min(last) - at).min(NODES_AT_ONCE) {
                    0 => &of_last[..],
                    count => &inner[..count as usize * BLOCK_BYTES],
                };
                self.tree.put(place(level, at), bytes)?;
                at += (bytes.len() / BLOCK_BYTES) as u64;
            }
            at = next + 1;
        }
        Ok(())
    }
}

/// Returns the place of block `number` of `level` in the hash partition, in bytes.
fn place(level: &Level, number: u64) -> u64 {
    level.offset_bytes + number * BLOCK_BYTES as u64
}

#[cfg(test)]
mod tests;
