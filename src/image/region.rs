//! The part of the raw file that one partition has.
//!
//! Invariant: nothing is written outside of it.

use std::io;
use std::path::Path;

use super::canvas::{Canvas, Known, Settled};
use crate::durable::PathError;

/// A range of a canvas. Offsets count from its start.
#[derive(Debug, Clone, Copy)]
pub struct Region<'a> {
    canvas: &'a Canvas<'a>,
    offset_bytes: u64,
    size_bytes: u64,
}

impl<'a> Region<'a> {
    /// Makes a region of `size_bytes` from `offset_bytes` of `canvas` on.
    pub fn new(canvas: &'a Canvas<'a>, offset_bytes: u64, size_bytes: u64) -> Self {
        Self {
            canvas,
            offset_bytes,
            size_bytes,
        }
    }

    /// Returns its start in the raw file, in bytes.
    pub fn offset_bytes(&self) -> u64 {
        self.offset_bytes
    }

    /// Returns its size in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Returns the path of the raw file, for messages.
    pub fn path(&self) -> &'a Path {
        self.canvas.path()
    }

    /// Puts `bytes` at `offset_bytes`, as [`Canvas::put`] does.
    ///
    /// # Errors
    /// As there, and if the bytes do not lie inside.
    pub fn put(&self, offset_bytes: u64, bytes: &[u8]) -> Result<(), PathError> {
        self.check(offset_bytes, bytes.len(), "write")?;
        self.canvas.put(self.offset_bytes + offset_bytes, bytes)
    }

    /// Checks that `length` bytes at `offset_bytes`, which the caller is about to `action`, lie inside.
    fn check(&self, offset_bytes: u64, length: usize, action: &'static str) -> Result<(), PathError> {
        let end = offset_bytes.checked_add(length as u64);
        if end.is_none_or(|end| end > self.size_bytes) {
            let message = format!("byte {offset_bytes} lies behind the end of the partition");
            return Err(PathError::on(action, self.path())(io::Error::other(message)));
        }
        Ok(())
    }

    /// Reads the bytes at `offset_bytes` into `buffer`.
    ///
    /// # Errors
    /// If reading fails, or the bytes do not lie inside.
    pub fn read(&self, offset_bytes: u64, buffer: &mut [u8]) -> Result<(), PathError> {
        self.check(offset_bytes, buffer.len(), "read")?;
        self.canvas.read(self.offset_bytes + offset_bytes, buffer)
    }

    /// Makes the region final, as [`Canvas::settle`] does. Ranges count from its start.
    ///
    /// # Errors
    /// As there.
    pub fn settle(&self) -> Result<Settled, PathError> {
        let (start, end) = (self.offset_bytes, self.offset_bytes + self.size_bytes);
        let mut settled = self.canvas.settle((start, end))?;
        for range in settled.put.iter_mut().chain(&mut settled.changed) {
            *range = (range.0 - start, range.1 - start);
        }
        Ok(settled)
    }

    /// Returns the contents with known digests that the earlier image has anywhere.
    pub fn known(&self) -> impl Iterator<Item = &'a Known> {
        self.canvas.known()
    }

    /// Says whether the file already has `known` at `offset_bytes`, as [`Canvas::has`] does.
    pub fn has(&self, offset_bytes: u64, known: Known) -> bool {
        self.canvas.has(self.offset_bytes + offset_bytes, known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_out_of_reach() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(3 << 20).unwrap();
        let canvas = Canvas::new(&file, Path::new("raw"), None);
        let region = Region::new(&canvas, 1 << 20, 1 << 20);
        region.put((1 << 20) - 4, b"last").unwrap();
        for (offset, bytes) in [((1 << 20) - 3, &b"last"[..]), (u64::MAX, b"far")] {
            let error = region.put(offset, bytes).unwrap_err().to_string();
            assert!(error.contains("behind the end of the partition"), "{error}");
        }
        let (mut inside, mut outside) = ([0; 4], [0; 5]);
        region.read((1 << 20) - 4, &mut inside).unwrap();
        assert_eq!(inside, *b"last");
        region.read((1 << 20) - 4, &mut outside).unwrap_err();
        assert_eq!(canvas.finish().unwrap().0.ranges, [((2 << 20) - 4, 2 << 20)]);
    }
}
