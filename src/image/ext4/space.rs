//! The blocks that are in use.

/// Blocks in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// The first block.
    pub(super) start: u64,
    /// Their number.
    pub(super) count: u64,
}

impl Run {
    /// Returns the block behind the last one.
    pub(super) fn end(self) -> u64 {
        self.start + self.count
    }
}

/// Blocks of a part whose blocks in use are counted: those of a block group.
const PART_BLOCKS: u64 = 32 << 10;

/// One bit per block of the file system, set if it is in use.
#[derive(Debug)]
pub(super) struct Space {
    words: Vec<u64>,
    /// The number of blocks in use of each part of [`PART_BLOCKS`]: most groups of a large file system are asked once.
    in_use: Vec<u64>,
    blocks: u64,
}

impl Space {
    /// Makes a space of `blocks` blocks, all free.
    pub(super) fn new(blocks: u64) -> Self {
        Self {
            words: vec![0; usize::try_from(blocks.div_ceil(64)).unwrap_or(usize::MAX)],
            in_use: vec![0; usize::try_from(blocks.div_ceil(PART_BLOCKS)).unwrap_or(usize::MAX)],
            blocks,
        }
    }

    /// Marks `run` as in use, cut at the end of the file system.
    pub(super) fn take(&mut self, run: Run) {
        let end = run.end().min(self.blocks);
        let mut block = run.start;
        while block < end {
            let (word, bit) = ((block / 64) as usize, block % 64);
            let count = (64 - bit).min(end - block);
            let mask = (u64::MAX >> (64 - count)) << bit;
            self.in_use[(block / PART_BLOCKS) as usize] += u64::from((mask & !self.words[word]).count_ones());
            self.words[word] |= mask;
            block += count;
        }
    }

    /// Finds the first free run at or behind `from`, no longer than `most` blocks.
    fn next_free(&self, from: u64, most: u64) -> Option<Run> {
        let start = self.find(from, false).filter(|start| *start < self.blocks)?;
        let limit = start.saturating_add(most).min(self.blocks);
        let end = self.find_until(start, limit);
        Some(Run {
            start,
            count: end - start,
        })
    }

    /// Finds the first block at or behind `from` that is in use, or free if `in_use` is false.
    fn find(&self, from: u64, in_use: bool) -> Option<u64> {
        let mut mask = u64::MAX << (from % 64);
        for (index, word) in self.words.iter().enumerate().skip((from / 64) as usize) {
            let matching = if in_use { *word } else { !*word } & mask;
            if matching != 0 {
                return Some(index as u64 * 64 + u64::from(matching.trailing_zeros()));
            }
            mask = u64::MAX;
        }
        None
    }

    /// Returns the first block in use at or behind `start`, at most `limit`.
    fn find_until(&self, start: u64, limit: u64) -> u64 {
        let mut block = start;
        while block < limit {
            let word = self.words[(block / 64) as usize] >> (block % 64);
            if word != 0 {
                return limit.min(block + u64::from(word.trailing_zeros()));
            }
            block = (block / 64 + 1) * 64;
        }
        limit
    }

    /// Takes `count` blocks at or behind `cursor`, in as few runs as the blocks in use allow, and moves `cursor` behind
    /// them. `None` if the end is reached; the space is then of no further use.
    pub(super) fn allocate(&mut self, cursor: &mut u64, count: u64) -> Option<Vec<Run>> {
        let mut runs = Vec::new();
        let mut left = count;
        while left > 0 {
            let run = self.next_free(*cursor, left)?;
            self.take(run);
            *cursor = run.end();
            left -= run.count;
            runs.push(run);
        }
        Some(runs)
    }

    /// Takes `count` blocks in a row at or behind `from` and returns the first.
    pub(super) fn allocate_row(&mut self, from: u64, count: u64) -> Option<u64> {
        let mut from = from;
        loop {
            let run = self.next_free(from, count)?;
            if run.count == count {
                self.take(run);
                return Some(run.start);
            }
            from = run.end();
        }
    }

    /// Takes the last `count` blocks in a row before `end`, moves `end` to the first of them and returns it.
    pub(super) fn allocate_row_before(&mut self, end: &mut u64, count: u64) -> Option<u64> {
        let mut start = end.checked_sub(count)?;
        // Blocks in use lie at the start of a group, and are seldom in the way.
        while self.used_in(Run { start, count }) > 0 {
            start = start.checked_sub(1)?;
        }
        self.take(Run { start, count });
        *end = start;
        Some(start)
    }

    /// Returns the first of the last `count` free blocks before `end`.
    pub(super) fn start_of_last_free(&self, end: u64, count: u64) -> Option<u64> {
        let (mut start, mut found) = (end, 0);
        while found < count {
            let length = (start.checked_sub(1)? % 64 + 1).min(count - found);
            start -= length;
            found += length - self.used_in(Run { start, count: length });
        }
        Some(start)
    }

    /// Returns the number of blocks of `run` that are in use.
    pub(super) fn used_in(&self, run: Run) -> u64 {
        let end = run.end().min(self.blocks);
        let mut used = 0;
        let mut block = run.start;
        while block < end {
            if block.is_multiple_of(PART_BLOCKS) && end - block >= PART_BLOCKS {
                used += self.in_use[(block / PART_BLOCKS) as usize];
                block += PART_BLOCKS;
                continue;
            }
            let count = (64 - block % 64).min(end - block);
            let bits = self.words[(block / 64) as usize] >> (block % 64) & (u64::MAX >> (64 - count));
            used += u64::from(bits.count_ones());
            block += count;
        }
        used
    }

    /// Returns the bitmap of `bits` blocks from `start` (a multiple of 64); blocks behind the end count as in use.
    pub(super) fn bitmap(&self, start: u64, bits: u64) -> Vec<u8> {
        let words = (start / 64)..(start + bits) / 64;
        let mut bytes = Vec::with_capacity((bits / 8) as usize);
        for index in words {
            let first = index * 64;
            let mut word = self.words.get(index as usize).copied().unwrap_or(u64::MAX);
            if first < self.blocks && self.blocks - first < 64 {
                word |= u64::MAX << (self.blocks - first);
            }
            bytes.extend(word.to_le_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_lead_around_what_is_in_use() {
        let mut space = Space::new(1000);
        space.take(Run { start: 10, count: 100 });
        space.take(Run { start: 130, count: 1 });
        let mut cursor = 5;
        let runs = space.allocate(&mut cursor, 30).unwrap();
        let runs: Vec<_> = runs.iter().map(|run| (run.start, run.count)).collect();
        assert_eq!(runs, [(5, 5), (110, 20), (131, 5)]);
        assert_eq!(cursor, 136);
        assert_eq!(space.allocate_row(0, 6), Some(136));
        assert_eq!(space.allocate_row(0, 5), Some(0));
        assert_eq!(space.used_in(Run { start: 0, count: 1000 }), 142);
        assert_eq!(space.used_in(Run { start: 130, count: 5 }), 5);
        assert!(space.allocate(&mut cursor, 900).is_none());
        assert!(space.allocate_row(0, 900).is_none());
    }

    #[test]
    fn whole_parts_are_counted() {
        let mut space = Space::new(3 * PART_BLOCKS + 100);
        for (start, count) in [(5, 70), (40, 100), (PART_BLOCKS - 1, 2), (3 * PART_BLOCKS + 90, 50)] {
            space.take(Run { start, count });
        }
        let used = |start, count| space.used_in(Run { start, count });
        assert_eq!(used(0, PART_BLOCKS), 136);
        assert_eq!(used(PART_BLOCKS, PART_BLOCKS), 1);
        assert_eq!(used(0, 4 * PART_BLOCKS), 136 + 1 + 10);
        assert_eq!(used(6, 3 * PART_BLOCKS), 135 + 1);
    }

    #[test]
    fn rows_and_room_are_found_from_the_end() {
        let mut space = Space::new(1000);
        space.take(Run { start: 900, count: 50 });
        let mut end = 1000;
        assert_eq!(space.allocate_row_before(&mut end, 20), Some(980));
        assert_eq!(space.allocate_row_before(&mut end, 40), Some(860));
        assert_eq!(end, 860);
        assert_eq!(space.allocate_row_before(&mut end, 900), None);
        assert_eq!(space.start_of_last_free(1000, 30), Some(950));
        assert_eq!(space.start_of_last_free(1000, 31), Some(859));
        assert_eq!(space.start_of_last_free(900, 200), Some(660));
        assert_eq!(space.start_of_last_free(1000, 0), Some(1000));
        assert_eq!(space.start_of_last_free(1000, 891), None);
    }

    #[test]
    fn bitmaps_end_with_the_file_system() {
        let mut space = Space::new(70);
        space.take(Run { start: 3, count: 1 });
        let bitmap = space.bitmap(0, 128);
        assert_eq!(bitmap[..9], [8, 0, 0, 0, 0, 0, 0, 0, 0xc0]);
        assert_eq!(bitmap[9..], [0xff; 7]);
    }
}
