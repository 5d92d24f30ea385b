//! `layer.sums`: a CRC-32 of each piece of each file of a layer, with which the reader that copies a file detects
//! damage by the disk. Little-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | magic `OICSUMS` and a NUL |
//! | 4, 4 | version, 1; bytes of a piece |
//! | 8, 8 | numbers of files and of pieces |
//! | 16 each | a file: its inode number and its size in bytes; sorted by inode |
//! | 4 each | CRC-32 of a piece, those of the first file first |
//! | 4 | CRC-32 of all before |
//!
//! Anything else is damage or of another version: then the layer is made again. `docs/decisions/0016-rot.md` explains
//! why a CRC is enough.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::ops::Range;
use std::path::Path;

use crate::cancel::Cancel;
use crate::durable::{self, PathError};

use super::content_error::ContentError;

const MAGIC: &[u8; 8] = b"OICSUMS\0";
const VERSION: u32 = 1;
/// The length of a piece, which has a checksum of its own: as much as stays in a processor's cache.
pub const PIECE_BYTES: usize = 128 << 10;
/// The length of the header: magic, version, size of a piece, two numbers.
const HEADER_BYTES: usize = 32;
const FILE_BYTES: usize = 16;

/// The checksums of a tree's files, by inode number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sums {
    files: HashMap<u64, Sum>,
    pieces: Vec<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Sum {
    size_bytes: u64,
    pieces: Range<usize>,
}

/// A reason why checksums cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SumsError {
    /// The file cannot be read.
    #[error(transparent)]
    Path(#[from] PathError),
    /// It is damaged, or of another version.
    #[error("its checksums are damaged")]
    Damaged,
}

impl Sums {
    /// Returns the checksums of the file `inode`, which has `size_bytes`, one for each [`PIECE_BYTES`]; `None` if
    /// there are none for such a file.
    pub fn of(&self, inode: u64, size_bytes: u64) -> Option<&[u32]> {
        let sum = self.files.get(&inode).filter(|sum| sum.size_bytes == size_bytes)?;
        self.pieces.get(sum.pieces.clone())
    }

    /// Reads `file`, which has the number `inode`, and adds its checksums. `path` is for messages.
    ///
    /// # Errors
    /// If it cannot be read, or `cancel` is set.
    pub(super) fn add(&mut self, inode: u64, mut file: File, path: &Path, cancel: &Cancel) -> Result<(), ContentError> {
        let first = self.pieces.len();
        let mut size_bytes = 0;
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            cancel.check()?;
            let length = read_piece(&mut file, &mut buffer).map_err(PathError::on("read", path))?;
            let piece = buffer.get(..length).unwrap_or_default();
            if piece.is_empty() {
                break;
            }
            size_bytes += length as u64;
            self.pieces.push(crc32fast::hash(piece));
        }
        let pieces = first..self.pieces.len();
        self.files.insert(inode, Sum { size_bytes, pieces });
        Ok(())
    }

    /// Reads the file `path`.
    ///
    /// # Errors
    /// [`SumsError`]; nothing of an incomplete file is used.
    pub fn read(path: &Path) -> Result<Self, SumsError> {
        let bytes = fs::read(path).map_err(PathError::on("read", path))?;
        Self::decode(&bytes).ok_or(SumsError::Damaged)
    }

    /// Writes the file `path`, whole or not at all.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), PathError> {
        durable::write_file(path, self.encode())
    }

    fn encode(&self) -> Vec<u8> {
        let files: BTreeMap<_, _> = self.files.iter().collect();
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend((PIECE_BYTES as u32).to_le_bytes());
        bytes.extend((files.len() as u64).to_le_bytes());
        bytes.extend((self.pieces.len() as u64).to_le_bytes());
        for (inode, sum) in &files {
            bytes.extend(inode.to_le_bytes());
            bytes.extend(sum.size_bytes.to_le_bytes());
        }
        for sum in files.values() {
            let pieces = self.pieces.get(sum.pieces.clone()).unwrap_or_default();
            bytes.extend(pieces.iter().flat_map(|piece| piece.to_le_bytes()));
        }
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (covered, crc) = bytes.split_last_chunk()?;
        if crc32fast::hash(covered) != u32::from_le_bytes(*crc) {
            return None;
        }
        let (header, rest) = covered.split_at_checked(HEADER_BYTES)?;
        let (magic, numbers) = header.split_first_chunk()?;
        let (versions, counts) = numbers.split_first_chunk::<8>()?;
        let expected = [VERSION.to_le_bytes(), (PIECE_BYTES as u32).to_le_bytes()];
        if magic != MAGIC || versions != expected.as_flattened() {
            return None;
        }
        let number = |bytes: &[u8]| bytes.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        let count = |bytes: &[u8]| usize::try_from(number(bytes)?).ok();
        let (files, pieces) = (count(counts)?, count(counts.get(8..)?)?);
        let (files, rest) = rest.split_at_checked(files.checked_mul(FILE_BYTES)?)?;
        if rest.len() != pieces.checked_mul(4)? {
            return None;
        }
        let mut sums = Self {
            files: HashMap::with_capacity(files.len() / FILE_BYTES),
            pieces: Vec::with_capacity(pieces),
        };
        sums.pieces
            .extend(rest.as_chunks().0.iter().map(|piece| u32::from_le_bytes(*piece)));
        let mut first = 0_usize;
        for file in files.chunks_exact(FILE_BYTES) {
            let (inode, size_bytes) = (number(file)?, number(file.get(8..)?)?);
            let count = usize::try_from(size_bytes.div_ceil(PIECE_BYTES as u64)).ok()?;
            let pieces = first..first.checked_add(count)?;
            first = pieces.end;
            sums.files.insert(inode, Sum { size_bytes, pieces });
        }
        (first == pieces).then_some(sums)
    }
}

/// Fills `buffer` up to the file's end; returns the number of bytes read.
fn read_piece(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(contents: &[Vec<u8>]) -> Sums {
        let directory = tempfile::tempdir().unwrap();
        let mut sums = Sums::default();
        for (inode, content) in (7..).zip(contents) {
            let path = directory.path().join("file");
            fs::write(&path, content).unwrap();
            let file = File::open(&path).unwrap();
            sums.add(inode, file, &path, &Cancel::default()).unwrap();
        }
        sums
    }

    #[test]
    fn what_is_written_is_read_and_damage_is_noticed() {
        let contents = [vec![], b"short".to_vec(), vec![3; 2 * PIECE_BYTES + 1]];
        let sums = sums(&contents);
        assert_eq!(sums.of(8, 5).unwrap(), [crc32fast::hash(b"short")]);
        assert_eq!(sums.of(9, contents[2].len() as u64).unwrap().len(), 3);
        assert!(sums.of(7, 0).unwrap().is_empty());
        assert!(sums.of(8, 6).is_none() && sums.of(10, 0).is_none());
        let bytes = sums.encode();
        let read = Sums::decode(&bytes).unwrap();
        assert_eq!(read.encode(), bytes);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                assert!(Sums::decode(&damaged).is_none(), "byte {at}");
            }
            assert!(Sums::decode(&bytes[..at]).is_none());
        }
    }

    #[test]
    fn another_version_is_not_used() {
        let mut bytes = sums(&[b"x".to_vec()]).encode();
        bytes[8] = 2;
        let end = bytes.len() - 4;
        let crc = crc32fast::hash(&bytes[..end]).to_le_bytes();
        bytes[end..].copy_from_slice(&crc);
        assert!(Sums::decode(&bytes).is_none());
    }

    proptest::proptest! {
        #[test]
        fn never_panics(mut body in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            body.splice(0..0, sums(&[]).encode().into_iter().take(16));
            body.extend(crc32fast::hash(&body).to_le_bytes());
            let _ = Sums::decode(&body);
        }
    }
}
