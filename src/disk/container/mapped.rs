//! A disk whose blocks lie anywhere in a file.

use std::fmt::Debug;
use std::io::Read;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use flate2::read::{DeflateDecoder, ZlibDecoder};
use lru::LruCache;

use super::super::DiskError;
use super::super::area::Area;
use super::super::medium::Medium;

const BLOCK: &str = "a block of the image";
/// The largest compressed block that is unpacked, in bytes: qcow2 has clusters of 2 MiB at most.
pub(super) const PACKED_BLOCK_MAX: u64 = 2 << 20;
/// The bytes of unpacked blocks that are kept.
const KEPT_BYTES: u64 = 16 << 20;

/// The place of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The block is not in the file: zeros.
    Zeros,
    /// The offset of its bytes in the file.
    At(u64),
    /// The block is compressed: the offset and length of what is in the file, in bytes.
    Packed(u64, u64, Packing),
}

/// A compression of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    /// Deflate without a head (RFC 1951).
    Deflate,
    /// Deflate with the head of zlib (RFC 1950).
    Zlib,
    /// Zstandard.
    Zstd,
}

/// The map of a format.
pub(super) trait Map: Debug + Send + Sync {
    /// Finds the block with this number.
    ///
    /// # Errors
    /// If the map is damaged there.
    fn place(&self, block: u64) -> Result<Place, DiskError>;
}

/// A disk with its map.
pub(super) struct Mapped<M> {
    file: Area,
    map: M,
    size_bytes: u64,
    block_bytes: u64,
    /// Unpacked blocks by their numbers; `None` if no block can be packed.
    kept: Option<Mutex<LruCache<u64, Arc<Vec<u8>>>>>,
}

impl<M: Map> Debug for Mapped<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mapped").field("map", &self.map).finish_non_exhaustive()
    }
}

impl<M: Map> Mapped<M> {
    /// Makes a disk of `size_bytes` in blocks of `block_bytes`, which is not 0.
    pub(super) fn new(file: Area, map: M, (size_bytes, block_bytes): (u64, u64)) -> Self {
        let is_packed = block_bytes <= PACKED_BLOCK_MAX;
        let count = NonZeroUsize::new((KEPT_BYTES / block_bytes.max(1)) as usize).unwrap_or(NonZeroUsize::MIN);
        Self {
            file,
            map,
            size_bytes,
            block_bytes,
            kept: is_packed.then(|| Mutex::new(LruCache::new(count))),
        }
    }

    /// Unpacks the block `number`.
    fn unpacked(&self, number: u64, (offset, length): (u64, u64), packing: Packing) -> Result<Arc<Vec<u8>>, DiskError> {
        let damaged = |problem: &str| self.file.damaged(BLOCK, offset, problem);
        let Some(kept) = self.kept.as_ref().filter(|_| length <= 2 * PACKED_BLOCK_MAX) else {
            return Err(damaged("it is too large to be compressed"));
        };
        let lock = || kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = lock().get(&number) {
            return Ok(Arc::clone(found));
        }
        // The last block of a file may be shorter than whole sectors.
        let length = length.min(self.file.size_bytes().saturating_sub(offset));
        let packed = self.file.bytes(BLOCK, offset, length as usize)?;
        let packed = packed.as_slice();
        let mut unpacked = Vec::new();
        let read = match packing {
            Packing::Deflate => DeflateDecoder::new(packed)
                .take(self.block_bytes)
                .read_to_end(&mut unpacked),
            Packing::Zlib => ZlibDecoder::new(packed)
                .take(self.block_bytes)
                .read_to_end(&mut unpacked),
            Packing::Zstd => zstd::Decoder::new(packed)
                .and_then(|decoder| decoder.single_frame().take(self.block_bytes).read_to_end(&mut unpacked)),
        };
        if read.is_err() || unpacked.is_empty() {
            return Err(damaged("it cannot be decompressed"));
        }
        // The last block of the disk may end with the disk.
        unpacked.resize(self.block_bytes as usize, 0);
        let unpacked = Arc::new(unpacked);
        lock().put(number, Arc::clone(&unpacked));
        Ok(unpacked)
    }
}

impl<M: Map> Medium for Mapped<M> {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        let mut done = 0;
        while done < buffer.len() {
            let at = offset + done as u64;
            let (number, within) = (at / self.block_bytes, at % self.block_bytes);
            let count = (self.block_bytes - within).min((buffer.len() - done) as u64) as usize;
            let part = &mut buffer[done..done + count];
            match self.map.place(number)? {
                Place::Zeros => part.fill(0),
                Place::At(place) => self.file.read(BLOCK, place.saturating_add(within), part)?,
                Place::Packed(place, length, packing) => {
                    let block = self.unpacked(number, (place, length), packing)?;
                    let within = within as usize;
                    part.copy_from_slice(&block[within..within + count]);
                }
            }
            done += count;
        }
        Ok(())
    }

    fn is_plain(&self) -> bool {
        self.kept.is_none()
    }
}
