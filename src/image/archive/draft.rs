//! An archive while everything in it gets a place.

use std::path::{Path, PathBuf};

use crate::image::stream::Piece;
use crate::image::tree::Index;

/// An archive, laid out.
#[derive(Debug)]
pub(super) struct Draft {
    /// What lies between the contents, each run of bytes with its place.
    heads: Vec<(u64, Vec<u8>)>,
    pieces: Vec<Piece>,
    size_bytes: u64,
    block_bytes: u64,
    lost: Vec<(&'static str, PathBuf)>,
}

impl Draft {
    /// Begins an archive whose parts begin at multiples of `block_bytes`.
    pub(super) fn new(block_bytes: u64) -> Self {
        Self {
            heads: Vec::new(),
            pieces: Vec::new(),
            size_bytes: 0,
            block_bytes,
            lost: Vec::new(),
        }
    }

    /// Appends `bytes`, and zeros up to the next block.
    pub(super) fn head(&mut self, bytes: &[u8]) {
        let padded = (bytes.len() as u64).next_multiple_of(self.block_bytes);
        let zeros = (padded - bytes.len() as u64) as usize;
        let end = self.size_bytes;
        if self
            .heads
            .last()
            .is_none_or(|(place, run)| place + run.len() as u64 != end)
        {
            self.heads.push((end, Vec::new()));
        }
        if let Some((_, run)) = self.heads.last_mut() {
            run.extend_from_slice(bytes);
            run.resize(run.len() + zeros, 0);
        }
        self.size_bytes += padded;
    }

    /// Appends the `length_bytes` bytes of a file, and zeros up to the next block.
    pub(super) fn content(&mut self, file: Index, length_bytes: u64) {
        if length_bytes == 0 {
            return;
        }
        self.pieces.push(Piece {
            file,
            offset_bytes: 0,
            length_bytes,
            place_bytes: self.size_bytes,
        });
        self.size_bytes += length_bytes.next_multiple_of(self.block_bytes);
    }

    /// Notes that the format has no place for `what` of the file `path`.
    pub(super) fn lose(&mut self, what: &'static str, path: &Path) {
        self.lost.push((what, path.to_owned()));
    }

    /// Returns what lies between the contents, each run of bytes with its place.
    pub(super) fn heads(&self) -> &[(u64, Vec<u8>)] {
        &self.heads
    }

    /// Returns the contents of files.
    pub(super) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Returns its size in bytes.
    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Returns what its parts are multiples of, in bytes.
    pub(super) fn block_bytes(&self) -> u64 {
        self.block_bytes
    }

    /// Returns what it does not have, and of which files.
    pub(super) fn lost(&self) -> &[(&'static str, PathBuf)] {
        &self.lost
    }
}
