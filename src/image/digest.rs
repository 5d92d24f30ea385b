//! The digest of an image: the one that Linux computes for a file with fs-verity, a tree of SHA-256 over blocks.
//!
//! A block of zeros has one known digest, whether it is a hole or written, and so has each part of the tree above zeros
//! alone: a hole costs nothing, however long it is. The digests of the lowest level are kept in the record of an image,
//! so the next digest costs what has changed. `docs/image-digest.md` describes it byte by byte.

mod verity;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _};
use std::path::Path;

use serde::{Serialize, Serializer};
use sha2::Digest as _;

use super::error::ImageError;
use super::holes::next_data;
use crate::durable::{self, PathError};
use crate::package::Sha256;
use crate::parallel;
use crate::progress::Unit;
use crate::sync::{Mutex, lock};
use crate::work::Work;

use verity::{BLOCK_BYTES, Hash, UNIT_BYTES};

/// The digest of an image: its fs-verity digest with SHA-256, blocks of 4096 bytes and no salt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The tree of digests of an image, as far as it is not known from the image's size: two images are equal if their trees
/// are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestTree {
    size_bytes: u64,
    /// The digests of units by their numbers. Whole units of zeros are left out, the last unit never is.
    units: BTreeMap<u64, Hash>,
}

impl DigestTree {
    /// Length in bytes of a unit.
    pub(super) const UNIT_BYTES: u64 = UNIT_BYTES;

    /// Returns the digests of the units that have bytes in `range` (bytes), in order; units of zeros may all have one that
    /// no other unit has.
    pub(super) fn units_in(&self, range: &Range<u64>) -> impl Iterator<Item = &Hash> {
        let numbers = range.start / UNIT_BYTES..range.end.div_ceil(UNIT_BYTES);
        numbers.map(|number| self.units.get(&number).unwrap_or(&[0; size_of::<Hash>()]))
    }

    /// Returns the tree of an image of `size_bytes` zeros.
    pub fn of_zeros(size_bytes: u64) -> Self {
        let mut tree = Self {
            size_bytes,
            units: BTreeMap::new(),
        };
        if let Some(last) = verity::units_of(size_bytes).checked_sub(1) {
            tree.put(last, tree.hash(&vec![0; tree.unit_length(last)]));
        }
        tree
    }

    /// Makes a tree of its parts, as [`Self::units`] gives them; `None` if they are not the parts of a tree.
    pub(super) fn of_units(size_bytes: u64, units: impl Iterator<Item = (u64, Hash)>) -> Option<Self> {
        let count = verity::units_of(size_bytes);
        let mut tree = Self {
            size_bytes,
            units: BTreeMap::new(),
        };
        for (number, digest) in units {
            let is_next = tree.units.last_key_value().is_none_or(|(last, _)| *last < number);
            if !is_next || number >= count {
                return None;
            }
            tree.units.insert(number, digest);
        }
        let last = tree.units.last_key_value().map(|(last, _)| *last);
        (last == count.checked_sub(1)).then_some(tree)
    }

    /// Lists the numbers and digests of the units that are not whole units of zeros, in order, and of the last one.
    pub(super) fn units(&self) -> impl ExactSizeIterator<Item = (u64, &Hash)> {
        self.units.iter().map(|(number, digest)| (*number, digest))
    }

    /// Lists start and end (bytes) of each range that may hold other bytes than zeros; sorted, not touching. It depends on
    /// the bytes alone, not on the holes of a file.
    pub(super) fn data_ranges(&self) -> Vec<(u64, u64)> {
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for number in self.units.keys() {
            let (start, end) = (number * UNIT_BYTES, ((number + 1) * UNIT_BYTES).min(self.size_bytes));
            match ranges.last_mut() {
                Some((_, last)) if *last == start => *last = end,
                _ => ranges.push((start, end)),
            }
        }
        ranges
    }

    /// Returns the digest.
    pub fn digest(&self) -> Digest {
        Digest(verity::digest(self.size_bytes, &self.units))
    }

    /// Returns the size of the image in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Hashes the units of `file` that have bytes in the sorted `ranges` (start and end in bytes), on the threads of
    /// `work`; the others are as in this tree. `path` is for messages.
    ///
    /// # Errors
    /// If reading fails, or the user asked to stop.
    pub(super) fn update(
        mut self,
        file: &File,
        path: &Path,
        ranges: &[(u64, u64)],
        work: Work<'_>,
    ) -> Result<Self, ImageError> {
        let ranges = ranges.iter().filter(|(start, end)| start < end);
        let numbers: BTreeSet<u64> = ranges
            .flat_map(|(start, end)| start / UNIT_BYTES..end.min(&self.size_bytes).div_ceil(UNIT_BYTES))
            .collect();
        let total = numbers.len() as u64 * UNIT_BYTES;
        let task = work.start("Hash image", Unit::Bytes, Some(total));
        let queue = Mutex::new(numbers.into_iter());
        let tree = &self;
        let hash = || {
            let (mut buffer, mut done) = (vec![0; UNIT_BYTES as usize], Vec::new());
            loop {
                work.cancel.check()?;
                let Some(number) = lock(&queue).next() else {
                    return Ok(done);
                };
                let bytes = &mut buffer[..tree.unit_length(number)];
                file.read_exact_at(bytes, number * UNIT_BYTES)
                    .map_err(PathError::on("read", path))?;
                done.push((number, tree.hash(bytes)));
                task.advance(UNIT_BYTES);
            }
        };
        let hashed = parallel::run(work.threads.clamp(1, 64), hash).into_iter();
        let hashed: Vec<Vec<_>> = hashed.collect::<Result<_, ImageError>>()?;
        for (number, digest) in hashed.into_iter().flatten() {
            self.put(number, digest);
        }
        Ok(self)
    }

    /// Sets the digest of unit `number`.
    fn put(&mut self, number: u64, digest: Hash) {
        let is_last = number + 1 == verity::units_of(self.size_bytes);
        if verity::is_zero_unit(&digest) && !is_last {
            self.units.remove(&number);
        } else {
            self.units.insert(number, digest);
        }
    }

    /// Returns the digest of a unit of this image with the content `bytes`.
    fn hash(&self, bytes: &[u8]) -> Hash {
        match self.size_bytes <= BLOCK_BYTES as u64 {
            true => verity::single_block(bytes),
            false => verity::unit(bytes),
        }
    }

    /// Returns the length of unit `number` in bytes.
    fn unit_length(&self, number: u64) -> usize {
        let start = (number * UNIT_BYTES).min(self.size_bytes);
        (self.size_bytes - start).min(UNIT_BYTES) as usize
    }
}

/// Hashes the file or block device `path`, on the threads of `work`; holes are not read.
///
/// # Errors
/// If it is something else, reading fails, or the user asked to stop.
pub fn of_file(path: &Path, work: Work<'_>) -> Result<DigestTree, ImageError> {
    let (file, size_bytes) = open(path).map_err(PathError::on("hash", path))?;
    let ranges = data_ranges(&file, size_bytes).map_err(PathError::on("find the data of", path))?;
    DigestTree::of_zeros(size_bytes).update(&file, path, &ranges, work)
}

/// Computes the SHA-256 (FIPS 180-4) of the file `path`, holes as zeros. One thread hashes every byte, so the time is
/// that of the file's size.
///
/// # Errors
/// If reading fails, or the user asked to stop.
pub fn sha256(path: &Path, work: Work<'_>) -> Result<Sha256, ImageError> {
    let (mut file, size_bytes) = open(path).map_err(PathError::on("hash", path))?;
    file.rewind().map_err(PathError::on("read", path))?;
    let task = work.start("SHA-256 of the image", Unit::Bytes, Some(size_bytes));
    let mut hasher = sha2::Sha256::default();
    durable::each_piece::<ImageError>(file, path, &[work.cancel], |piece| {
        hasher.update(piece);
        task.advance(piece.len() as u64);
        Ok(())
    })?;
    Ok(Sha256(hasher.finalize().into()))
}

/// Opens `path` and returns its size in bytes.
fn open(path: &Path) -> io::Result<(File, u64)> {
    let kind = path.metadata()?.file_type();
    if !kind.is_file() && !kind.is_block_device() {
        let problem = "it is neither a regular file nor a block device";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    }
    let mut file = File::open(path)?;
    // The size in the metadata of a block device is 0.
    let size_bytes = file.seek(SeekFrom::End(0))?;
    Ok((file, size_bytes))
}

/// Lists start and end (bytes) of each part of `file` that is no hole.
pub(super) fn data_ranges(file: &File, size_bytes: u64) -> io::Result<Vec<(u64, u64)>> {
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < size_bytes {
        let (start, end) = next_data(file, at, size_bytes)?;
        if start < end {
            ranges.push((start, end));
        }
        at = end;
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests;
