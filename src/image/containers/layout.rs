//! The order of a file's bytes: what a container's format decides.

use std::ops::Range;

use super::super::tree::is_zero;

/// Bytes of a piece that are zeros as a whole or not at all: a run of zeros is worth a piece of its own from here on.
const ZEROS_BYTES: usize = 64 << 10;

/// A part of a file. It begins where the part before it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// These bytes.
    Bytes(Vec<u8>),
    /// A range (bytes) of the raw image.
    Raw(Range<u64>),
    /// A number of zeros, which a file can have as a hole.
    Zeros(u64),
}

impl Piece {
    /// Returns its length in bytes.
    pub fn length_bytes(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Raw(range) => range.end - range.start,
            Self::Zeros(length) => *length,
        }
    }
}

/// The pieces of a file, from its first byte to its last. No piece is empty, and pieces of the raw image ascend in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    /// Each piece, with its offset in the file in bytes.
    pieces: Vec<(u64, Piece)>,
    size_bytes: u64,
}

impl Layout {
    /// Returns the size of the file in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Returns the pieces in their order, each with its offset in the file in bytes.
    pub fn pieces(&self) -> &[(u64, Piece)] {
        &self.pieces
    }

    /// Appends `bytes`; long runs of zeros among them become [`Piece::Zeros`].
    pub fn bytes(&mut self, bytes: &[u8]) {
        for unit in bytes.chunks(ZEROS_BYTES) {
            if unit.len() == ZEROS_BYTES && is_zero(unit) {
                self.zeros(unit.len() as u64);
                continue;
            }
            match self.pieces.last_mut() {
                Some((_, Piece::Bytes(last))) => last.extend_from_slice(unit),
                _ => self.pieces.push((self.size_bytes, Piece::Bytes(unit.to_vec()))),
            }
            self.size_bytes += unit.len() as u64;
        }
    }

    /// Appends the range `range` (bytes) of the raw image.
    pub fn raw(&mut self, range: Range<u64>) {
        let length = range.end.saturating_sub(range.start);
        if length == 0 {
            return;
        }
        match self.pieces.last_mut() {
            Some((_, Piece::Raw(last))) if last.end == range.start => last.end = range.end,
            _ => self.pieces.push((self.size_bytes, Piece::Raw(range))),
        }
        self.size_bytes += length;
    }

    /// Appends `length` zeros.
    pub fn zeros(&mut self, length: u64) {
        if length == 0 {
            return;
        }
        match self.pieces.last_mut() {
            Some((_, Piece::Zeros(last))) => *last += length,
            _ => self.pieces.push((self.size_bytes, Piece::Zeros(length))),
        }
        self.size_bytes += length;
    }

    /// Appends zeros up to `offset_bytes`, if the file is shorter.
    pub fn zeros_to(&mut self, offset_bytes: u64) {
        self.zeros(offset_bytes.saturating_sub(self.size_bytes));
    }

    /// Appends zeros up to the next multiple of `unit_bytes`.
    pub fn align(&mut self, unit_bytes: u64) {
        self.zeros_to(self.size_bytes.next_multiple_of(unit_bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_follow_each_other_without_gaps() {
        let mut layout = Layout::default();
        layout.bytes(b"head");
        layout.bytes(b"er");
        layout.align(512);
        layout.raw(0..10);
        layout.raw(10..20);
        layout.raw(30..30);
        layout.raw(30..40);
        layout.bytes(&[0; ZEROS_BYTES]);
        layout.zeros(1);
        layout.zeros_to(7);
        let zeros = ZEROS_BYTES as u64 + 1;
        let wanted = [
            (0, Piece::Bytes(b"header".to_vec())),
            (6, Piece::Zeros(506)),
            (512, Piece::Raw(0..20)),
            (532, Piece::Raw(30..40)),
            (542, Piece::Zeros(zeros)),
        ];
        assert_eq!((layout.pieces(), layout.size_bytes()), (&wanted[..], 542 + zeros));
        assert!(
            layout
                .pieces()
                .windows(2)
                .all(|pair| pair[0].0 + pair[0].1.length_bytes() == pair[1].0)
        );
    }
}
