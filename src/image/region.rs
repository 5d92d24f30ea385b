//! The part of the raw file that one partition has.
//!
//! Invariant: nothing is written outside of it.

use std::io;
use std::path::Path;

use super::canvas::{Canvas, Known, Settled};
use super::luks::xts::Xts;
use crate::durable::PathError;

/// A range of a canvas. Offsets count from its start.
#[derive(Debug, Clone, Copy)]
pub struct Region<'a> {
    canvas: &'a Canvas<'a>,
    offset_bytes: u64,
    size_bytes: u64,
    /// What encrypts each unit of [`UNIT_BYTES`] on its way to the canvas.
    cipher: Option<&'a Xts>,
}

/// The unit of encryption in bytes.
const UNIT_BYTES: u64 = super::luks::SECTOR_BYTES;
/// The unit by which sectors count for the cipher, in bytes.
const SECTOR_BYTES: u64 = 512;

impl<'a> Region<'a> {
    /// Makes a region of `size_bytes` from `offset_bytes` of `canvas` on.
    pub fn new(canvas: &'a Canvas<'a>, offset_bytes: u64, size_bytes: u64) -> Self {
        Self {
            canvas,
            offset_bytes,
            size_bytes,
            cipher: None,
        }
    }

    /// Returns the region behind the first `start_bytes`, to which all is written encrypted by `cipher`. What nothing is
    /// written to reads as noise in the running system; here it reads as zeros.
    pub fn encrypted<'b>(self, start_bytes: u64, cipher: &'b Xts) -> Region<'b>
    where
        'a: 'b,
    {
        Region {
            canvas: self.canvas,
            offset_bytes: self.offset_bytes + start_bytes,
            size_bytes: self.size_bytes.saturating_sub(start_bytes) / UNIT_BYTES * UNIT_BYTES,
            cipher: Some(cipher),
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
        match self.cipher {
            None => self.canvas.put(self.offset_bytes + offset_bytes, bytes),
            Some(cipher) => self.put_encrypted(offset_bytes, bytes, cipher),
        }
    }

    /// Encrypts `bytes` and puts them. Writers that share a unit take turns.
    fn put_encrypted(&self, offset_bytes: u64, bytes: &[u8], cipher: &Xts) -> Result<(), PathError> {
        let start = offset_bytes / UNIT_BYTES * UNIT_BYTES;
        let end = (offset_bytes + bytes.len() as u64).next_multiple_of(UNIT_BYTES);
        let mut units = vec![0; (end - start) as usize];
        let within = (offset_bytes - start) as usize;
        if within != 0 || units.len() != within + bytes.len() {
            self.read_encrypted(start, &mut units, cipher)?;
        }
        units[within..within + bytes.len()].copy_from_slice(bytes);
        for (at, unit) in (start..)
            .step_by(UNIT_BYTES as usize)
            .zip(units.chunks_mut(UNIT_BYTES as usize))
        {
            cipher.encrypt(at / SECTOR_BYTES, unit);
        }
        self.canvas.put(self.offset_bytes + start, &units)
    }

    /// Reads whole units and decrypts those that something was put into; the others are zeros.
    fn read_encrypted(&self, start: u64, units: &mut [u8], cipher: &Xts) -> Result<(), PathError> {
        for (at, unit) in (start..)
            .step_by(UNIT_BYTES as usize)
            .zip(units.chunks_mut(UNIT_BYTES as usize))
        {
            let place = self.offset_bytes + at;
            if self.canvas.is_put((place, place + UNIT_BYTES)) {
                self.canvas.read(place, unit)?;
                cipher.decrypt(at / SECTOR_BYTES, unit);
            } else {
                unit.fill(0);
            }
        }
        Ok(())
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
        let Some(cipher) = self.cipher else {
            return self.canvas.read(self.offset_bytes + offset_bytes, buffer);
        };
        let start = offset_bytes / UNIT_BYTES * UNIT_BYTES;
        let end = (offset_bytes + buffer.len() as u64).next_multiple_of(UNIT_BYTES);
        let mut units = vec![0; (end - start) as usize];
        self.read_encrypted(start, &mut units, cipher)?;
        let within = (offset_bytes - start) as usize;
        buffer.copy_from_slice(&units[within..within + buffer.len()]);
        Ok(())
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
        let known = match self.cipher {
            // The same bytes under another key are other bytes.
            Some(cipher) => Known {
                digest: cipher.mark(&known.digest),
                ..known
            },
            None => known,
        };
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
