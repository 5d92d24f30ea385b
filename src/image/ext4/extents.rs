//! The map of a file's blocks as a tree of extents (`Documentation/filesystems/ext4/ifork.rst`, "Extent Tree").

use zerocopy::IntoBytes as _;
use zerocopy::little_endian::{U16, U32};

use super::bytes::{put, put_u32};
use super::checksum::Seed;
use super::disk::{ExtentHeader, ExtentIndex, ExtentLeaf, ROOT_BYTES, low};
use super::geometry::BLOCK_BYTES;
use super::space::Run;

/// Blocks that one extent has at most; more would mean "not initialised".
pub(crate) const EXTENT_BLOCKS: u64 = 32768;
pub(crate) const MAGIC: u16 = 0xf30a;
const ENTRY_BYTES: usize = 12;
const ROOT_ENTRIES: usize = ROOT_BYTES / ENTRY_BYTES - 1;
/// Entries of a block of the tree; the checksum follows them.
const BLOCK_ENTRIES: usize = (BLOCK_BYTES as usize - ENTRY_BYTES) / ENTRY_BYTES;

/// Blocks of a file that lie in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// The number of the first block within the file.
    pub(super) first: u32,
    /// Their place in the file system.
    pub(super) run: Run,
}

/// Splits `extents` into pieces of at most [`EXTENT_BLOCKS`] blocks.
fn split(extents: &[Extent]) -> Vec<Extent> {
    let pieces = extents.iter().flat_map(|extent| {
        (0..extent.run.count).step_by(EXTENT_BLOCKS as usize).map(|at| Extent {
            first: extent.first + at as u32,
            run: Run {
                start: extent.run.start + at,
                count: EXTENT_BLOCKS.min(extent.run.count - at),
            },
        })
    });
    pieces.collect()
}

/// Returns the number of blocks that the tree of `extents` takes besides the inode.
pub(super) fn tree_blocks(extents: &[Extent]) -> u64 {
    let mut entries: usize = extents
        .iter()
        .map(|e| e.run.count.div_ceil(EXTENT_BLOCKS) as usize)
        .sum();
    let mut blocks = 0;
    while entries > ROOT_ENTRIES {
        entries = entries.div_ceil(BLOCK_ENTRIES);
        blocks += entries as u64;
    }
    blocks
}

/// Makes the tree: the bytes in the inode, and the other blocks with their places, which are `places` ([`tree_blocks`]
/// of them). `seed` is the inode's.
pub(super) fn build(extents: &[Extent], places: &[u64], seed: Seed) -> ([u8; ROOT_BYTES], Vec<(u64, Vec<u8>)>) {
    let mut entries: Vec<(u32, [u8; ENTRY_BYTES])> = split(extents)
        .iter()
        .map(|extent| (extent.first, leaf_entry(extent)))
        .collect();
    let mut blocks = Vec::new();
    let mut places = places.iter();
    let mut depth = 0;
    while entries.len() > ROOT_ENTRIES {
        let level = entries.chunks(BLOCK_ENTRIES).zip(&mut places).map(|(entries, place)| {
            let mut block = vec![0; BLOCK_BYTES as usize];
            node(&mut block, entries, BLOCK_ENTRIES, depth);
            let end = ENTRY_BYTES * (1 + BLOCK_ENTRIES);
            if let Some(checksum) = seed.over(&[&block[..end]]) {
                put_u32(&mut block, end, checksum);
            }
            blocks.push((*place, block));
            let first = entries.first().map_or(0, |(first, _)| *first);
            (first, index_entry(first, *place))
        });
        entries = level.collect();
        depth += 1;
    }
    let mut root = [0; ROOT_BYTES];
    node(&mut root, &entries, ROOT_ENTRIES, depth);
    (root, blocks)
}

fn node(bytes: &mut [u8], entries: &[(u32, [u8; ENTRY_BYTES])], most: usize, depth: u16) {
    let header = ExtentHeader {
        magic: U16::new(MAGIC),
        entries: U16::new(entries.len() as u16),
        max: U16::new(most as u16),
        depth: U16::new(depth),
        generation: U32::ZERO,
    };
    put(bytes, 0, header.as_bytes());
    for (place, (_, entry)) in (ENTRY_BYTES..).step_by(ENTRY_BYTES).zip(entries) {
        put(bytes, place, entry);
    }
}

fn leaf_entry(extent: &Extent) -> [u8; ENTRY_BYTES] {
    zerocopy::transmute!(ExtentLeaf {
        block: U32::new(extent.first),
        len: U16::new(extent.run.count as u16),
        start_hi: U16::new((extent.run.start >> 32) as u16),
        start_lo: low(extent.run.start),
    })
}

fn index_entry(first: u32, block: u64) -> [u8; ENTRY_BYTES] {
    zerocopy::transmute!(ExtentIndex {
        block: U32::new(first),
        leaf_lo: low(block),
        leaf_hi: U16::new((block >> 32) as u16),
        unused: U16::ZERO,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_grow_in_depth() {
        let extents = |count: u32| -> Vec<Extent> {
            let one = |i: u32| Extent {
                first: i * 2,
                run: Run {
                    start: u64::from(i) * 3,
                    count: 1,
                },
            };
            (0..count).map(one).collect()
        };
        let blocks: Vec<_> = [0, 4, 5, 340, 341, 1361]
            .map(|count| tree_blocks(&extents(count)))
            .into();
        assert_eq!(blocks, [0, 0, 1, 1, 2, 6]);
        let places: Vec<_> = (100..106).collect();
        let (root, made) = build(&extents(1361), &places, Seed::new(&[0; 16], true));
        assert_eq!((root[2], root[6], made.len()), (1, 2, 6));
        let whole = Extent {
            first: 0,
            run: Run {
                start: 7,
                count: EXTENT_BLOCKS * 2 + 1,
            },
        };
        let (root, _) = build(&[whole], &[], Seed::new(&[0; 16], true));
        assert_eq!(root[2], 3);
    }
}
