//! Pieces of compressed files: read, decompressed, and kept for a moment.

use std::io::Read as _;
use std::num::NonZeroUsize;

use lru::LruCache;

use super::super::DiskError;
use super::super::lz4;
use super::Erofs;
use super::cluster::{Form, Piece};
use super::inode::Inode;
use crate::image::erofs::disk::INCOMPAT_ZERO_PADDING;
use crate::sync::{Arc, Mutex, lock};

const PACKED: &str = "a compressed piece of a file";
/// The number of decompressed pieces that are kept.
const PIECES_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(7);
/// The largest window of Zstandard, as a power of two, that the kernel reads.
const WINDOW_BITS_MAX: u32 = 20;
/// The most ends of files in ends of files.
const DEPTH_MAX: u32 = 1;

/// The pieces that were decompressed last.
pub(super) struct Pieces(Mutex<LruCache<Key, Arc<Vec<u8>>>>);

/// The number of an inode, and an offset in its data.
type Key = (u64, u64);

impl Default for Pieces {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(PIECES_MAX)))
    }
}

impl std::fmt::Debug for Pieces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pieces")
    }
}

impl Erofs {
    /// Fills `buffer` with the data of the compressed `inode` from `offset` on; they lie within its size.
    pub(super) fn unpack(&self, inode: &Inode, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        self.unpack_at(inode, offset, buffer, 0)
    }

    fn unpack_at(&self, inode: &Inode, offset: u64, buffer: &mut [u8], depth: u32) -> Result<(), DiskError> {
        let map = self.map(inode)?;
        if let Some(start) = map.whole {
            return self.fragment(inode, start.saturating_add(offset), buffer, depth);
        }
        let (mut at, mut rest) = (offset, buffer);
        while !rest.is_empty() {
            let piece = self.piece(inode, &map, at)?;
            let length = (piece.end - at).min(rest.len() as u64) as usize;
            let (part, behind) = rest.split_at_mut(length);
            if piece.form == Form::Fragment {
                self.fragment(inode, piece.place.saturating_add(at - piece.start), part, depth)?;
            } else {
                let data = self.data(inode, &piece)?;
                let from = (at - piece.start) as usize;
                let found = data.get(from..from + length);
                part.copy_from_slice(found.ok_or_else(|| self.wrong(inode, "a piece of it is too short"))?);
            }
            (at, rest) = (at + length as u64, behind);
        }
        Ok(())
    }

    /// Fills `buffer` from the offset `at` of the common file of ends.
    fn fragment(&self, inode: &Inode, at: u64, buffer: &mut [u8], depth: u32) -> Result<(), DiskError> {
        let nid = self.superblock.packed_nid.get();
        if depth >= DEPTH_MAX || nid == 0 {
            return Err(self.wrong(inode, "its end lies nowhere"));
        }
        let common = self.inode(nid)?;
        if at.saturating_add(buffer.len() as u64) > common.size_bytes {
            return Err(self.wrong(inode, "its end lies behind the common file"));
        }
        match common.layout.is_packed() {
            true => self.unpack_at(&common, at, buffer, depth + 1),
            false => self.read_content(&common, at, buffer),
        }
    }

    /// Returns the data of `piece`.
    fn data(&self, inode: &Inode, piece: &Piece) -> Result<Arc<Vec<u8>>, DiskError> {
        let key = (inode.nid, piece.start);
        if let Some(data) = lock(&self.pieces.0).get(&key) {
            return Ok(Arc::clone(data));
        }
        let packed = self.area.bytes(PACKED, piece.place, piece.length as usize)?;
        let length = (piece.end - piece.start) as usize;
        let damaged = |problem: String| self.area.damaged(PACKED, piece.place, problem);
        let data = match piece.form {
            Form::Plain { is_rotated } => {
                let first = if is_rotated {
                    (piece.start % self.block_bytes()) as usize
                } else {
                    0
                };
                let mut data = packed;
                let middle = first.min(data.len());
                data.rotate_left(middle);
                data
            }
            Form::Packed(algorithm) => {
                let is_padded = self.has(INCOMPAT_ZERO_PADDING);
                let zeros = packed.iter().take_while(|byte| **byte == 0).count();
                let input = packed.get(if is_padded { zeros } else { 0 }..).unwrap_or_default();
                decompress(algorithm, input, length)?.map_err(damaged)?
            }
            Form::Fragment => Vec::new(),
        };
        if data.len() < length {
            return Err(damaged(format!("it has {} bytes instead of {length}", data.len())));
        }
        let data = Arc::new(data);
        lock(&self.pieces.0).put(key, Arc::clone(&data));
        Ok(data)
    }
}

/// Decompresses at most `length` bytes from `input` with the algorithm of this number; the inner error is the damage, in
/// words.
fn decompress(algorithm: u8, input: &[u8], length: usize) -> Result<Result<Vec<u8>, String>, DiskError> {
    let limit = length as u64;
    let mut data = Vec::with_capacity(length);
    let read = match algorithm {
        0 => return Ok(lz4::decompress(input, length).ok_or_else(|| "it is no LZ4".to_owned())),
        2 => flate2::bufread::DeflateDecoder::new(input)
            .take(limit)
            .read_to_end(&mut data),
        3 => zstd::stream::read::Decoder::with_buffer(input).and_then(|mut decoder| {
            decoder.window_log_max(WINDOW_BITS_MAX)?;
            decoder.take(limit).read_to_end(&mut data)
        }),
        1 => {
            return Err(DiskError::Unsupported(
                "a file is compressed by LZMA, which is not read".into(),
            ));
        }
        other => {
            let text = format!("a file is compressed by an algorithm that is not known (number {other})");
            return Err(DiskError::Unsupported(text));
        }
    };
    Ok(read.map(|_| data).map_err(|error| error.to_string()))
}
