//! The first bytes in which two files differ.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::durable::PathError;

/// Number of bytes that are compared at once.
const CHUNK_BYTES: usize = 1 << 20;

/// A range of bytes that differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first byte that differs.
    pub start: u64,
    /// The place behind the last byte that differs, before the two are the same again.
    pub end: u64,
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes {} to {}", self.start, self.end.saturating_sub(1))
    }
}

/// Finds the first bytes in which two files differ; `None` if one of the files does not exist.
pub(super) fn first_range(a: &Path, b: &Path) -> Result<Option<Range>, PathError> {
    if !a.exists() || !b.exists() {
        return Ok(None);
    }
    let open = |path: &Path| File::open(path).map_err(PathError::on("open", path));
    differing(&open(a)?, &open(b)?).map_err(PathError::on("compare", a))
}

fn differing(a: &File, b: &File) -> io::Result<Option<Range>> {
    let (mut left, mut right) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
    let (mut at, mut start) = (0_u64, None);
    loop {
        let (n, m) = (read_at(a, &mut left, at)?, read_at(b, &mut right, at)?);
        let common = n.min(m);
        for (offset, (x, y)) in left[..common].iter().zip(&right[..common]).enumerate() {
            let position = at + offset as u64;
            match (start, x == y) {
                (None, false) => start = Some(position),
                (Some(start), true) => return Ok(Some(Range { start, end: position })),
                _ => {}
            }
        }
        at += common as u64;
        if n != m {
            let end = at + (n.max(m) - common) as u64;
            return Ok(Some(Range {
                start: start.unwrap_or(at),
                end,
            }));
        }
        if common == 0 {
            return Ok(start.map(|start| Range { start, end: at }));
        }
    }
}

/// Fills `buffer` from `at` on, as far as the file goes; gives the number of bytes.
fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], at + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_first_range_is_found_across_chunks() {
        let directory = tempfile::tempdir().unwrap();
        let (a, b) = (directory.path().join("a"), directory.path().join("b"));
        let mut bytes = vec![7; 2 * CHUNK_BYTES + 10];
        let compare = |left: &[u8], right: &[u8]| {
            fs::write(&a, left).unwrap();
            fs::write(&b, right).unwrap();
            first_range(&a, &b).unwrap()
        };
        let same = bytes.clone();
        assert_eq!(compare(&same, &bytes), None);
        bytes[CHUNK_BYTES - 2..CHUNK_BYTES + 3].fill(8);
        let (start, end) = (CHUNK_BYTES as u64 - 2, CHUNK_BYTES as u64 + 3);
        assert_eq!(compare(&same, &bytes), Some(Range { start, end }));
        assert_eq!(compare(&same[..5], &same[..9]), Some(Range { start: 5, end: 9 }));
        assert_eq!(compare(b"xy", b"xz"), Some(Range { start: 1, end: 2 }));
    }
}
