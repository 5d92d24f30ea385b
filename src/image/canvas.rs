//! The raw file while it is written: all writers write through it.
//!
//! A new file is all holes, and zeros leave it so. In the file of an earlier image, only bytes that differ are written,
//! and in the end the ranges that no writer has put are cleared. Both ways give the same bytes.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::FallocateFlags;

use super::tree::is_zero;
use crate::durable::PathError;
use crate::package::Sha256;
use crate::sync::{Mutex, lock};

/// The unit, in bytes, that is compared, and written or not, as a whole.
const UNIT_BYTES: usize = 64 << 10;

/// Part of a file's bytes, known by the digest of all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// SHA-256 of the file.
    pub digest: Sha256,
    /// The start of the part in the file.
    pub offset_bytes: u64,
    /// Its length, with the zeros that fill its last block.
    pub length_bytes: u64,
}

/// The contents of an image, as far as they are needed to make the next one in its place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drawn {
    /// Start and end (bytes) of each range that was put, sorted and not touching. All else is zero.
    pub ranges: Vec<(u64, u64)>,
    /// Contents with known digests, by their offset in the image (bytes).
    pub known: HashMap<u64, Known>,
}

/// A range of a canvas to which no more is put.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    /// Start and end (bytes) of each range that was put, sorted and not touching. All else is zero.
    pub put: Vec<(u64, u64)>,
    /// The same of each range in which it differs from the earlier image, or from zeros.
    pub changed: Vec<(u64, u64)>,
}

/// A raw file to be filled.
#[derive(Debug)]
pub struct Canvas<'a> {
    file: &'a File,
    path: &'a Path,
    before: Option<&'a Drawn>,
    drawn: Mutex<Drawn>,
    written_bytes: AtomicU64,
    /// Start and end (bytes) of each range that was written, in no order.
    changed: Mutex<Vec<(u64, u64)>>,
}

impl<'a> Canvas<'a> {
    /// Makes a canvas of `file`, which has its final size and holds what `before` says, or zeros alone. `path` is for
    /// messages.
    pub fn new(file: &'a File, path: &'a Path, before: Option<&'a Drawn>) -> Self {
        Self {
            file,
            path,
            before,
            drawn: Mutex::default(),
            written_bytes: AtomicU64::new(0),
            changed: Mutex::default(),
        }
    }

    /// Returns the file's path.
    pub(super) fn path(&self) -> &Path {
        self.path
    }

    /// Puts `bytes` at `offset_bytes`; only units that differ from the file are written.
    ///
    /// # Errors
    /// If reading or writing fails.
    pub fn put(&self, offset_bytes: u64, bytes: &[u8]) -> Result<(), PathError> {
        self.note(offset_bytes, bytes.len() as u64, None);
        match self.before {
            None => self.write_where(offset_bytes, bytes, |_, unit| !is_zero(unit)),
            Some(_) => {
                let mut old = vec![0; bytes.len()];
                self.read(offset_bytes, &mut old)?;
                self.write_where(offset_bytes, bytes, |at, unit| {
                    old.get(at..at + unit.len()) != Some(unit)
                })
            }
        }
    }

    /// Writes the units of `bytes` for which `is_needed` returns true, adjacent ones in one call.
    fn write_where(
        &self,
        offset_bytes: u64,
        bytes: &[u8],
        is_needed: impl Fn(usize, &[u8]) -> bool,
    ) -> Result<(), PathError> {
        let mut waiting = 0..0;
        for (at, unit) in (0..).step_by(UNIT_BYTES).zip(bytes.chunks(UNIT_BYTES)) {
            if !is_needed(at, unit) {
                continue;
            }
            if waiting.end != at {
                self.write(offset_bytes + waiting.start as u64, &bytes[waiting])?;
                waiting = at..at;
            }
            waiting.end = at + unit.len();
        }
        self.write(offset_bytes + waiting.start as u64, &bytes[waiting])
    }

    fn write(&self, offset_bytes: u64, bytes: &[u8]) -> Result<(), PathError> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.written_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        lock(&self.changed).push((offset_bytes, offset_bytes + bytes.len() as u64));
        self.file
            .write_all_at(bytes, offset_bytes)
            .map_err(PathError::on("write", self.path))
    }

    /// Says whether the file already has `known` at `offset_bytes`; then the caller need not put it. Either way it is
    /// remembered for the next image.
    pub fn has(&self, offset_bytes: u64, known: Known) -> bool {
        let is_there = self
            .before
            .is_some_and(|before| before.known.get(&offset_bytes) == Some(&known));
        let length = if is_there { known.length_bytes } else { 0 };
        self.note(offset_bytes, length, Some(known));
        is_there
    }

    /// Returns the contents with known digests that the earlier image has.
    pub fn known(&self) -> impl Iterator<Item = &'a Known> {
        self.before.into_iter().flat_map(|before| before.known.values())
    }

    fn note(&self, offset_bytes: u64, length_bytes: u64, known: Option<Known>) {
        let mut drawn = lock(&self.drawn);
        if let Some(known) = known {
            drawn.known.insert(offset_bytes, known);
        }
        if length_bytes == 0 {
            return;
        }
        let end = offset_bytes + length_bytes;
        match drawn.ranges.last_mut() {
            Some((_, last)) if *last == offset_bytes => *last = end,
            _ => drawn.ranges.push((offset_bytes, end)),
        }
    }

    /// Says whether something was put into the range (start and end in bytes).
    pub(super) fn is_put(&self, range: (u64, u64)) -> bool {
        let drawn = lock(&self.drawn);
        drawn
            .ranges
            .iter()
            .any(|(start, end)| *start < range.1 && range.0 < *end)
    }

    /// Returns the number of bytes written so far.
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes.load(Ordering::Relaxed)
    }

    /// Reads the bytes at `offset_bytes` into `buffer`.
    ///
    /// # Errors
    /// If reading fails.
    pub fn read(&self, offset_bytes: u64, buffer: &mut [u8]) -> Result<(), PathError> {
        let read = self.file.read_exact_at(buffer, offset_bytes);
        read.map_err(PathError::on("read", self.path))
    }

    /// Clears what is left of the earlier image in `range` (start and end in bytes), to which nothing is put from now on.
    /// Returns what it holds.
    ///
    /// # Errors
    /// If clearing fails.
    pub fn settle(&self, range: (u64, u64)) -> Result<Settled, PathError> {
        let put = within(&lock(&self.drawn).ranges, range);
        self.clear_all_but(&put, range)?;
        let changed = within(&lock(&self.changed), range);
        Ok(Settled { put, changed })
    }

    /// Clears what is left of the earlier image in `range` outside of the sorted ranges `put`.
    fn clear_all_but(&self, put: &[(u64, u64)], range: (u64, u64)) -> Result<(), PathError> {
        let Some(before) = self.before else { return Ok(()) };
        for (start, end) in without(&within(&before.ranges, range), put) {
            clear(self.file, start, end - start).map_err(PathError::on("clear a part of", self.path))?;
            lock(&self.changed).push((start, end));
        }
        Ok(())
    }

    /// Clears what is left of the earlier image. Returns the contents of this one, and the ranges (start and end in
    /// bytes, sorted, not touching) in which it differs from the earlier image, or from zeros.
    ///
    /// # Errors
    /// If clearing fails.
    pub fn finish(&self) -> Result<(Drawn, Vec<(u64, u64)>), PathError> {
        let mut drawn = std::mem::take(&mut *lock(&self.drawn));
        drawn.ranges = joined(drawn.ranges);
        self.clear_all_but(&drawn.ranges, (0, u64::MAX))?;
        let changed = std::mem::take(&mut *lock(&self.changed));
        Ok((drawn, joined(changed)))
    }
}

/// Returns the parts of `ranges` that lie in `range`, sorted and joined.
fn within(ranges: &[(u64, u64)], range: (u64, u64)) -> Vec<(u64, u64)> {
    let parts = ranges
        .iter()
        .map(|(start, end)| (*start.max(&range.0), *end.min(&range.1)));
    joined(parts.filter(|(start, end)| start < end).collect())
}

/// Sorts `ranges` and joins those that touch or overlap.
fn joined(mut ranges: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    ranges.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (start, end) in ranges {
        match joined.last_mut() {
            Some((_, last)) if start <= *last => *last = end.max(*last),
            _ => joined.push((start, end)),
        }
    }
    joined
}

/// Returns the parts of `ranges` that are in none of `others`; both are sorted.
fn without(ranges: &[(u64, u64)], others: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut left = Vec::new();
    let mut others = others.iter().copied().peekable();
    for &(mut start, end) in ranges {
        while let Some((other_start, other_end)) = others.peek().copied().filter(|(other_start, _)| *other_start < end)
        {
            if start < other_start {
                left.push((start, other_start));
            }
            start = start.max(other_end);
            if other_end > end {
                break;
            }
            others.next();
        }
        if start < end {
            left.push((start, end));
        }
    }
    left
}

/// Makes `length_bytes` of `file` from `offset_bytes` on read as zeros, as a hole where the file system can.
fn clear(file: &File, offset_bytes: u64, length_bytes: u64) -> io::Result<()> {
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match rustix::fs::fallocate(file, hole, offset_bytes, length_bytes) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
            let zeros = vec![0; UNIT_BYTES];
            let mut done = 0;
            while done < length_bytes {
                let count = (length_bytes - done).min(zeros.len() as u64);
                file.write_all_at(&zeros[..count as usize], offset_bytes + done)?;
                done += count;
            }
            Ok(())
        }
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_subtracted() {
        let joined = joined(vec![(5, 7), (0, 3), (3, 4), (6, 9)]);
        assert_eq!(joined, [(0, 4), (5, 9)]);
        assert_eq!(
            without(&[(0, 10), (20, 30), (40, 50)], &[(2, 4), (8, 25), (45, 60)]),
            [(0, 2), (4, 8), (25, 30), (40, 45)]
        );
        assert_eq!(without(&[(0, 10), (12, 14)], &[(0, 20)]), []);
        assert_eq!(without(&[(3, 4)], &[]), [(3, 4)]);
    }

    #[test]
    fn an_earlier_image_makes_no_difference() {
        let fill = |file: &File, before: Option<&Drawn>, value: u8, places: &[u64]| {
            let canvas = Canvas::new(file, Path::new("raw"), before);
            for place in places {
                let bytes: Vec<u8> = (0..200_000).map(|i| if i < 100_000 { value } else { 0 }).collect();
                canvas.put(*place, &bytes).unwrap();
            }
            let written = canvas.written_bytes();
            let (drawn, changed) = canvas.finish().unwrap();
            (drawn, written, changed)
        };
        let new = || {
            let file = tempfile::tempfile().unwrap();
            file.set_len(4 << 20).unwrap();
            file
        };
        let (reused, fresh) = (new(), new());
        let written_of_each = 2 * UNIT_BYTES as u64;
        let (drawn, _, changed) = fill(&reused, None, 1, &[0, 1 << 20, 2 << 20]);
        let places = [0, 1 << 20, 2 << 20];
        assert_eq!(changed, places.map(|at| (at, at + written_of_each)));
        assert_eq!(fill(&reused, Some(&drawn), 1, &places).2, []);
        let (drawn, written, changed) = fill(&reused, Some(&drawn), 1, &[0, 1 << 20]);
        assert_eq!((written, changed), (0, vec![(2 << 20, (2 << 20) + 200_000)]));
        fill(&reused, Some(&drawn), 2, &[4096, 3 << 20]);
        fill(&fresh, None, 2, &[4096, 3 << 20]);
        let read = |file: &File| {
            let mut bytes = vec![0; 4 << 20];
            file.read_exact_at(&mut bytes, 0).unwrap();
            bytes
        };
        assert!(read(&reused) == read(&fresh));
    }
}
