//! The raw file while it is written: whoever writes, writes through it.
//!
//! A new file is all holes, and zeros leave it so. In the file of an earlier image only what differs is written,
//! and in the end what nobody put there is taken away. Either way the same bytes come out.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::FallocateFlags;

use super::frontier::{Frontier, Hold};
use super::tree::is_zero;
use crate::durable::PathError;
use crate::package::Sha256;

/// What is looked at, and written or not, as a whole.
const UNIT_BYTES: usize = 64 << 10;

/// Part of a file's bytes, known by the digest of all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// SHA-256 of the file.
    pub digest: Sha256,
    /// Where in the file the part begins.
    pub offset_bytes: u64,
    /// Its length, with the zeros that fill its last block.
    pub length_bytes: u64,
}

/// What is in an image, as far as it is needed to make the next one in its place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drawn {
    /// Start and end (bytes) of what was put; sorted, apart from each other. All else is zero.
    pub ranges: Vec<(u64, u64)>,
    /// Contents with known digests, by where they lie (bytes).
    pub known: HashMap<u64, Known>,
}

/// A raw file to be filled.
#[derive(Debug)]
pub struct Canvas<'a> {
    file: &'a File,
    path: &'a Path,
    before: Option<&'a Drawn>,
    drawn: Mutex<Drawn>,
    written_bytes: AtomicU64,
    /// Where the first byte lies that may have changed.
    changed_from: AtomicU64,
    frontier: Frontier,
}

impl<'a> Canvas<'a> {
    /// `file` has its size. It reads as zeros, or holds what `before` says. `path` is for messages.
    pub fn new(file: &'a File, path: &'a Path, before: Option<&'a Drawn>) -> Self {
        Self {
            file,
            path,
            before,
            drawn: Mutex::default(),
            written_bytes: AtomicU64::new(0),
            changed_from: AtomicU64::new(u64::MAX),
            frontier: Frontier::default(),
        }
    }

    /// The file's name.
    pub(super) fn path(&self) -> &Path {
        self.path
    }

    /// Says that something will be put at `offset_bytes` or behind it, until what is returned is dropped.
    pub fn hold(&self, offset_bytes: u64) -> Hold<'_> {
        self.frontier.hold(offset_bytes)
    }

    /// Waits until nobody puts anything at `offset_bytes` any more, and tells up to where that is so. `None` after
    /// [`Self::abandon`].
    pub(super) fn wait_beyond(&self, offset_bytes: u64) -> Option<u64> {
        self.frontier.wait_beyond(offset_bytes)
    }

    /// Says that the file will not be finished.
    pub(super) fn abandon(&self) {
        self.frontier.abandon();
    }

    /// Makes the bytes from `offset_bytes` on be `bytes`.
    ///
    /// # Errors
    /// If reading or writing fails.
    pub fn put(&self, offset_bytes: u64, bytes: &[u8]) -> Result<(), PathError> {
        self.note(offset_bytes, bytes.len() as u64, None);
        match self.before {
            None => self.write_where(offset_bytes, bytes, |_, unit| !is_zero(unit)),
            Some(_) => {
                let mut old = vec![0; bytes.len()];
                self.file
                    .read_exact_at(&mut old, offset_bytes)
                    .map_err(PathError::on("read", self.path))?;
                self.write_where(offset_bytes, bytes, |at, unit| {
                    old.get(at..at + unit.len()) != Some(unit)
                })
            }
        }
    }

    /// Writes the units of `bytes` for which `is_needed`, as many as stand together at once.
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
        self.changed_from.fetch_min(offset_bytes, Ordering::Relaxed);
        self.file
            .write_all_at(bytes, offset_bytes)
            .map_err(PathError::on("write", self.path))
    }

    /// Whether the file has `known` at `offset_bytes` already; then nothing is to be put there. Either way it is
    /// remembered for the next image.
    pub fn has(&self, offset_bytes: u64, known: Known) -> bool {
        let is_there = self
            .before
            .is_some_and(|before| before.known.get(&offset_bytes) == Some(&known));
        let length = if is_there { known.length_bytes } else { 0 };
        self.note(offset_bytes, length, Some(known));
        is_there
    }

    fn note(&self, offset_bytes: u64, length_bytes: u64, known: Option<Known>) {
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
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

    /// How many bytes were written so far.
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes.load(Ordering::Relaxed)
    }

    /// Takes away what is left of the earlier image; tells what is in this one, and how many bytes of the file are as
    /// they were, counted from its start.
    ///
    /// # Errors
    /// If that fails.
    pub fn finish(&self) -> Result<(Drawn, u64), PathError> {
        let mut drawn = std::mem::take(&mut *self.drawn.lock().unwrap_or_else(PoisonError::into_inner));
        drawn.ranges = joined(drawn.ranges);
        let mut changed_from = self.changed_from.load(Ordering::Relaxed);
        if let Some(before) = self.before {
            for (start, end) in without(&before.ranges, &drawn.ranges) {
                clear(self.file, start, end - start).map_err(PathError::on("clear a part of", self.path))?;
                changed_from = changed_from.min(start);
            }
        }
        Ok((drawn, changed_from))
    }
}

/// Sorted, and those that touch are one.
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

/// What of `ranges` is in none of `others`; both are sorted.
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

/// Makes bytes of a file read as zeros.
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
            let (drawn, unchanged) = canvas.finish().unwrap();
            (drawn, written, unchanged)
        };
        let new = || {
            let file = tempfile::tempfile().unwrap();
            file.set_len(4 << 20).unwrap();
            file
        };
        let (reused, fresh) = (new(), new());
        let (drawn, ..) = fill(&reused, None, 1, &[0, 1 << 20, 2 << 20]);
        assert_eq!(fill(&reused, Some(&drawn), 1, &[0, 1 << 20, 2 << 20]).2, u64::MAX);
        let (drawn, written, unchanged) = fill(&reused, Some(&drawn), 1, &[0, 1 << 20]);
        assert_eq!((written, unchanged), (0, 2 << 20));
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
