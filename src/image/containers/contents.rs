//! The file of a layout, read without having been written: for what only wants its compressed form.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use super::super::holes::next_data;
use super::layout::{Layout, Piece};

/// A layout and the raw image under it.
#[derive(Debug, Clone, Copy)]
pub struct Contents<'a> {
    layout: &'a Layout,
    raw: &'a File,
}

impl<'a> Contents<'a> {
    /// Makes the contents of the file that `layout` describes over the data of `raw`.
    pub fn new(layout: &'a Layout, raw: &'a File) -> Self {
        Self { layout, raw }
    }

    /// Returns the size of the file in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.layout.size_bytes()
    }

    /// Returns the pieces from the one that holds the byte `offset` on.
    fn pieces_from(&self, offset: u64) -> &'a [(u64, Piece)] {
        let pieces = self.layout.pieces();
        let next = pieces.partition_point(|(start, _)| *start <= offset);
        &pieces[next.saturating_sub(1)..]
    }

    /// Fills `buffer` with the bytes at `offset`.
    ///
    /// # Errors
    /// If reading fails, or the file ends before.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if offset.saturating_add(buffer.len() as u64) > self.size_bytes() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let mut left = buffer;
        let mut at = offset;
        for (start, piece) in self.pieces_from(offset) {
            let inside = at - start;
            let length = (piece.length_bytes() - inside).min(left.len() as u64) as usize;
            let (here, rest) = left.split_at_mut(length);
            match piece {
                Piece::Bytes(bytes) => here.copy_from_slice(&bytes[inside as usize..inside as usize + length]),
                Piece::Raw(range) => self.raw.read_exact_at(here, range.start + inside)?,
                Piece::Zeros(_) => here.fill(0),
            }
            left = rest;
            at += length as u64;
            if left.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// Has the kernel copy the start of `place` (bytes), which lies in one piece, to the same place of `target`: without a
    /// copy if the file system can share blocks. Returns the number of bytes that it copied, perhaps none; the rest is
    /// left to the caller.
    pub fn copy_start(&self, place: &Range<u64>, target: &File) -> u64 {
        let Some((start, Piece::Raw(range))) = self.pieces_from(place.start).first() else {
            return 0;
        };
        let (mut from, mut to) = (range.start + (place.start - start), place.start);
        while to < place.end {
            let length = (place.end - to) as usize;
            match rustix::fs::copy_file_range(self.raw, Some(&mut from), target, Some(&mut to), length) {
                Ok(copied) if copied > 0 => (),
                _ => break,
            }
        }
        to - place.start
    }

    /// Finds the next data at or behind `offset` and returns its start and end in bytes; both are `limit` if only zeros
    /// come before it.
    ///
    /// # Errors
    /// If the raw image cannot be examined.
    pub fn next_data(&self, offset: u64, limit: u64) -> io::Result<(u64, u64)> {
        for (start, piece) in self.pieces_from(offset) {
            let begin = offset.max(*start);
            let end = (start + piece.length_bytes()).min(limit);
            if begin >= end {
                continue;
            }
            match piece {
                Piece::Bytes(_) => return Ok((begin, end)),
                Piece::Zeros(_) => (),
                Piece::Raw(range) => {
                    let place = |raw: u64| raw - range.start + start;
                    let raw = |place: u64| place - start + range.start;
                    let (from, to) = next_data(self.raw, raw(begin), raw(end))?;
                    if from < to {
                        return Ok((place(from), place(to)));
                    }
                }
            }
        }
        Ok((limit, limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_is_read_as_if_the_file_existed() {
        let raw = tempfile::tempfile().unwrap();
        raw.set_len(8 << 20).unwrap();
        raw.write_all_at(&[7; 100_000], 1 << 20).unwrap();
        let mut layout = Layout::default();
        layout.bytes(b"begin");
        layout.align(4096);
        layout.raw(0..4 << 20);
        layout.bytes(b"end");
        let mut wanted = vec![0; 4096 + (4 << 20)];
        wanted[..5].copy_from_slice(b"begin");
        let data = 4096 + (1 << 20);
        wanted[data..data + 100_000].fill(7);
        wanted.extend(b"end");

        let contents = Contents::new(&layout, &raw);
        let mut read = vec![1; wanted.len()];
        contents.read_exact_at(&mut read, 0).unwrap();
        assert!(read == wanted);
        let mut part = [0; 10];
        contents.read_exact_at(&mut part, wanted.len() as u64 - 10).unwrap();
        assert_eq!(&part, b"\0\0\0\0\0\0\0end");
        assert!(contents.read_exact_at(&mut part, wanted.len() as u64 - 9).is_err());
        let size = layout.size_bytes();
        assert_eq!(contents.next_data(0, size).unwrap(), (0, 5));
        assert_eq!(contents.next_data(5, size).unwrap().0, data as u64);
        assert_eq!(contents.next_data(2 << 20, 3 << 20).unwrap(), (3 << 20, 3 << 20));
        assert_eq!(contents.next_data(2 << 20, size).unwrap(), (size - 3, size));

        let target = tempfile::tempfile().unwrap();
        let place = data as u64 + 10..data as u64 + 100_000;
        let copied = contents.copy_start(&place, &target) as usize;
        assert!(copied as u64 <= place.end - place.start && contents.copy_start(&(0..5), &target) == 0);
        let mut read = vec![1; copied];
        target.read_exact_at(&mut read, place.start).unwrap();
        assert!(read.iter().all(|byte| *byte == 7));
    }
}
