//! Places for inodes: each lies within one block if it fits into one, so that data behind it do too.

use std::collections::{BTreeSet, VecDeque};

use super::disk::{BLOCK_BYTES, SLOT_BYTES};

/// The number of blocks with room that are looked at: more would put what is used together far apart.
const OPEN_MAX: usize = 64;

/// Blocks in which inodes get places. Offsets are in bytes from the first one.
#[derive(Debug, Default)]
pub(super) struct Slots {
    blocks: u64,
    /// Blocks with room: the room in bytes, and the block.
    open: BTreeSet<(usize, u64)>,
    /// The same blocks, the oldest first.
    ages: VecDeque<u64>,
    /// The room of the blocks in `open`, by age.
    rooms: VecDeque<usize>,
}

impl Slots {
    /// Returns a place for `length` bytes: in the block where they leave the least room.
    pub(super) fn take(&mut self, length: usize) -> u64 {
        let length = length.next_multiple_of(SLOT_BYTES);
        if let Some((room, block)) = self.open.range((length, 0)..).next().copied() {
            self.resize(block, room, room - length);
            return block * BLOCK_BYTES as u64 + (BLOCK_BYTES - room) as u64;
        }
        let first = self.blocks;
        self.blocks += length.div_ceil(BLOCK_BYTES) as u64;
        let room = length.next_multiple_of(BLOCK_BYTES) - length;
        if room > 0 {
            self.open(self.blocks - 1, room);
        }
        first * BLOCK_BYTES as u64
    }

    /// Returns the number of blocks.
    pub(super) fn blocks(&self) -> u64 {
        self.blocks
    }

    fn open(&mut self, block: u64, room: usize) {
        self.open.insert((room, block));
        self.ages.push_back(block);
        self.rooms.push_back(room);
        if self.ages.len() > OPEN_MAX
            && let (Some(block), Some(room)) = (self.ages.pop_front(), self.rooms.pop_front())
        {
            self.open.remove(&(room, block));
        }
    }

    /// Notes that `block` has `left` bytes of its `room` left.
    fn resize(&mut self, block: u64, room: usize, left: usize) {
        self.open.remove(&(room, block));
        let Some(at) = self.ages.iter().position(|open| *open == block) else {
            return;
        };
        if left == 0 {
            self.ages.remove(at);
            self.rooms.remove(at);
        } else if let Some(room) = self.rooms.get_mut(at) {
            *room = left;
            self.open.insert((left, block));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_do_not_overlap_and_lie_within_blocks() {
        let mut slots = Slots::default();
        let mut taken: Vec<(u64, u64)> = Vec::new();
        for i in 0..5000_usize {
            let length = if i % 500 == 0 { 9000 } else { 32 + i * 37 % 4000 };
            let start = slots.take(length);
            let end = start + length as u64;
            assert!(start.is_multiple_of(32));
            let block = BLOCK_BYTES as u64;
            assert!(length > BLOCK_BYTES || start / block == (end - 1) / block);
            taken.push((start, end));
        }
        taken.sort_unstable();
        assert!(taken.windows(2).all(|pair| pair[0].1 <= pair[1].0));
        let used: u64 = taken.iter().map(|(start, end)| end - start).sum();
        assert!(slots.blocks() * BLOCK_BYTES as u64 * 9 / 10 < used, "little is wasted");
    }
}
