//! The map of a file's blocks, as ext2 and ext3 keep it: twelve numbers in the inode, then blocks of numbers in one,
//! two and three steps (`Documentation/filesystems/ext4/blockmap.rst`).

use super::bytes::put_u32;
use super::disk::ROOT_BYTES;
use super::extents::Extent;
use super::geometry::{BLOCK_BYTES, NUMBERS_PER_BLOCK};

/// Blocks that the inode names itself.
const DIRECT: u64 = 12;

/// A block of numbers: its level (1 to 3), and which one of that level it is.
type Table = (usize, u64);

/// Returns the tables that `extents` need, in the order in which they are placed.
fn tables(extents: &[Extent]) -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    let mut add = |table: Table| {
        if !tables.contains(&table) {
            tables.push(table);
        }
    };
    // Only the first block in every lowest table can be the first that needs it.
    for extent in extents {
        let end = u64::from(extent.first) + extent.run.count;
        let mut block = u64::from(extent.first);
        while block < end {
            match path(block) {
                None => block = DIRECT.min(end),
                Some((path, within)) => {
                    path.into_iter().flatten().for_each(&mut add);
                    block += NUMBERS_PER_BLOCK - within;
                }
            }
        }
    }
    tables
}

/// Returns the tables that lead to `block` of a file, the topmost first, and its slot in the last; `None` if it needs
/// no table.
fn path(block: u64) -> Option<([Option<Table>; 3], u64)> {
    const N: u64 = NUMBERS_PER_BLOCK;
    let rest = block.checked_sub(DIRECT)?;
    let within = rest % N;
    // Level 1 tables are numbered through all three trees, level 2 tables through two.
    let lowest = (1, rest / N);
    if rest < N {
        return Some(([Some(lowest), None, None], within));
    }
    let rest = rest - N;
    let middle = (2, rest / (N * N));
    if rest < N * N {
        return Some(([Some(middle), Some(lowest), None], within));
    }
    Some(([Some((3, 0)), Some(middle), Some(lowest)], within))
}

/// Returns the number of blocks of numbers that `extents` need besides the inode.
pub(super) fn table_blocks(extents: &[Extent]) -> u64 {
    tables(extents).len() as u64
}

/// Makes the map: the bytes in the inode, and the blocks of numbers with their places, which are `places`
/// ([`table_blocks`] of them).
pub(super) fn build(extents: &[Extent], places: &[u64]) -> ([u8; ROOT_BYTES], Vec<(u64, Vec<u8>)>) {
    let mut root = [0; ROOT_BYTES];
    let tables = tables(extents);
    let mut blocks: Vec<_> = places
        .iter()
        .map(|place| (*place, vec![0; BLOCK_BYTES as usize]))
        .collect();
    let index_of = |table: Table| tables.iter().position(|other| *other == table);
    for extent in extents {
        for at in 0..extent.run.count {
            let (block, number) = (u64::from(extent.first) + at, (extent.run.start + at) as u32);
            let Some((path, within)) = path(block) else {
                put_u32(&mut root, block as usize * 4, number);
                continue;
            };
            let mut above: Option<usize> = None;
            for table in path.into_iter().flatten() {
                let Some(index) = index_of(table) else { continue };
                let place = places.get(index).map_or(0, |place| *place as u32);
                match above.and_then(|above| blocks.get_mut(above)) {
                    Some((_, bytes)) => put_u32(bytes, slot(table) * 4, place),
                    None => put_u32(&mut root, (DIRECT as usize + table.0 - 1) * 4, place),
                }
                above = Some(index);
            }
            if let Some((_, bytes)) = above.and_then(|above| blocks.get_mut(above)) {
                put_u32(bytes, within as usize * 4, number);
            }
        }
    }
    (root, blocks)
}

/// Returns the slot of a table in the one above it. The inode itself names index 0 of each level.
fn slot((_, index): Table) -> usize {
    (index.saturating_sub(1) % NUMBERS_PER_BLOCK) as usize
}

#[cfg(test)]
mod tests {
    use super::super::space::Run;
    use super::*;

    #[test]
    fn every_level_is_reached() {
        const N: u64 = NUMBERS_PER_BLOCK;
        let at = |block: u64| Extent {
            first: block as u32,
            run: Run {
                start: 5000 + block,
                count: 1,
            },
        };
        let extents = [0, 11, 12, 12 + N, 12 + 2 * N, 12 + N + N * N, 12 + N + 2 * N * N].map(at);
        assert_eq!(table_blocks(&extents), 9);
        let places: Vec<_> = (100..109).collect();
        let (root, blocks) = build(&extents, &places);
        let number =
            |bytes: &[u8], index: usize| u32::from_le_bytes(bytes[index * 4..index * 4 + 4].try_into().unwrap());
        let follow = |path: &[usize]| {
            path.iter().skip(1).fold(number(&root, path[0]), |at, index| {
                let block = blocks.iter().find(|(place, _)| *place == u64::from(at)).unwrap();
                number(&block.1, *index)
            })
        };
        let paths: [&[usize]; 7] = [
            &[0],
            &[11],
            &[12, 0],
            &[13, 0, 0],
            &[13, 1, 0],
            &[14, 0, 0, 0],
            &[14, 1, 0, 0],
        ];
        for (extent, path) in extents.iter().zip(paths) {
            assert_eq!(u64::from(follow(path)), extent.run.start, "{path:?}");
        }
    }
}
