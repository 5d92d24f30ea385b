//! Which blocks are in use.

/// Blocks in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// The first block.
    pub(super) start: u64,
    /// How many.
    pub(super) count: u64,
}

impl Run {
    /// The block behind the last one.
    pub(super) fn end(self) -> u64 {
        self.start + self.count
    }
}

/// One bit per block of the file system: it is in use.
#[derive(Debug)]
pub(super) struct Space {
    words: Vec<u64>,
    blocks: u64,
}

impl Space {
    /// `blocks` blocks, all free.
    pub(super) fn new(blocks: u64) -> Self {
        Self {
            words: vec![0; usize::try_from(blocks.div_ceil(64)).unwrap_or(usize::MAX)],
            blocks,
        }
    }

    /// Marks `run`, which is cut at the end of the file system.
    pub(super) fn take(&mut self, run: Run) {
        let end = run.end().min(self.blocks);
        let mut block = run.start;
        while block < end {
            let (word, bit) = ((block / 64) as usize, block % 64);
            let count = (64 - bit).min(end - block);
            self.words[word] |= (u64::MAX >> (64 - count)) << bit;
            block += count;
        }
    }

    /// The first free run at or behind `from`, no longer than `most`.
    fn next_free(&self, from: u64, most: u64) -> Option<Run> {
        let start = self.find(from, false).filter(|start| *start < self.blocks)?;
        let limit = start.saturating_add(most).min(self.blocks);
        let end = self.find_until(start, limit);
        Some(Run {
            start,
            count: end - start,
        })
    }

    /// The first block at or behind `from` that is in use (or free).
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

    /// The first block in use behind `start`, at most `limit`.
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

    /// Takes `count` blocks at or behind `cursor`, in as few runs as lie in the way, and moves
    /// `cursor` behind them. `None` if the end is reached; nothing is to be made of it then.
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

    /// Takes `count` blocks in a row at or behind `from`; gives the first.
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

    /// Takes the last `count` blocks in a row before `end`, and moves `end` to the first of them.
    pub(super) fn allocate_row_before(&mut self, end: &mut u64, count: u64) -> Option<u64> {
        let mut start = end.checked_sub(count)?;
        // What is in use lies behind the start of a group, and is seldom in the way.
        while self.used_in(Run { start, count }) > 0 {
            start = start.checked_sub(1)?;
        }
        self.take(Run { start, count });
        *end = start;
        Some(start)
    }

    /// Where the last `count` free blocks before `end` begin.
    pub(super) fn start_of_last_free(&self, end: u64, count: u64) -> Option<u64> {
        let (mut start, mut found) = (end, 0);
        while found < count {
            let length = (start.checked_sub(1)? % 64 + 1).min(count - found);
            start -= length;
            found += length - self.used_in(Run { start, count: length });
        }
        Some(start)
    }

    /// How many blocks of `run` are in use.
    pub(super) fn used_in(&self, run: Run) -> u64 {
        let end = run.end().min(self.blocks);
        let mut used = 0;
        let mut block = run.start;
        while block < end {
            let count = (64 - block % 64).min(end - block);
            let bits = self.words[(block / 64) as usize] >> (block % 64) & (u64::MAX >> (64 - count));
            used += u64::from(bits.count_ones());
            block += count;
        }
        used
    }

    /// The bitmap of `bits` blocks from `start` (a multiple of 64); what lies behind the end is in use.
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
