//! The disk that a container holds.

use std::ops::Range;

use uuid::Uuid;

use super::layout::Layout;

/// The length of a sector in bytes, for all formats.
pub const SECTOR_BYTES: u64 = 512;

/// A raw image, as a container's format knows it.
#[derive(Debug, Clone, Copy)]
pub struct Disk<'a> {
    /// Its size in bytes, a multiple of [`SECTOR_BYTES`].
    pub size_bytes: u64,
    /// Start and end (bytes) of each range that may hold data, sorted and not touching; all else is zero.
    pub ranges: &'a [(u64, u64)],
    /// The identifier of the container, derived from the image's seed.
    pub uuid: Uuid,
}

impl Disk<'_> {
    /// Returns the number of blocks of `block_bytes` that cover the disk.
    pub(super) fn block_count(&self, block_bytes: u64) -> u64 {
        self.size_bytes.div_ceil(block_bytes)
    }

    /// Returns the indexes of the blocks of `block_bytes` that hold data, ascending.
    pub(super) fn blocks(&self, block_bytes: u64) -> Vec<u64> {
        let mut blocks = Vec::new();
        let mut next = 0;
        for &(start, end) in self.ranges {
            let end = end.min(self.size_bytes).div_ceil(block_bytes);
            blocks.extend((start / block_bytes).max(next)..end);
            next = next.max(end);
        }
        blocks
    }

    /// Appends the block `index` to `layout`: its data as pieces of the raw image, all else as zeros, up to `block_bytes` even
    /// if the disk ends before.
    pub(super) fn append_block(&self, layout: &mut Layout, block_bytes: u64, index: u64) {
        let begin = layout.size_bytes();
        let block = index * block_bytes..(index + 1) * block_bytes;
        for range in self.data_in(block.clone()) {
            layout.zeros_to(begin + (range.start - block.start));
            layout.raw(range);
        }
        layout.zeros_to(begin + block_bytes);
    }

    /// Returns the parts of the range `wanted` (bytes) that may hold data, ascending.
    pub(super) fn data_in(&self, wanted: Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let wanted = wanted.start..wanted.end.min(self.size_bytes);
        let first = self.ranges.partition_point(|&(_, end)| end <= wanted.start);
        let (start, end) = (wanted.start, wanted.end);
        self.ranges[first..]
            .iter()
            .take_while(move |range| range.0 < end)
            .map(move |&(from, to)| from.max(start)..to.min(end))
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::Piece;
    use super::*;

    #[test]
    fn blocks_cover_the_data_and_nothing_else() {
        let disk = Disk {
            size_bytes: 1000,
            ranges: &[(10, 20), (90, 110), (150, 160), (995, 1000)],
            uuid: Uuid::nil(),
        };
        assert_eq!(disk.blocks(100), [0, 1, 9]);
        assert_eq!((disk.block_count(100), disk.block_count(300)), (10, 4));
        let mut layout = Layout::default();
        disk.append_block(&mut layout, 100, 1);
        disk.append_block(&mut layout, 300, 3);
        let pieces: Vec<_> = layout.pieces().iter().map(|(_, piece)| piece.clone()).collect();
        let wanted = [
            Piece::Raw(100..110),
            Piece::Zeros(40),
            Piece::Raw(150..160),
            Piece::Zeros(40 + 95),
            Piece::Raw(995..1000),
            Piece::Zeros(200),
        ];
        assert_eq!(pieces, wanted);
    }
}
