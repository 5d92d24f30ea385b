//! Blocks: read, decompressed, and kept for a moment.

use std::io::Read as _;
use std::num::NonZeroUsize;

use liblzma::stream::Stream;
use lru::LruCache;

use super::super::DiskError;
use super::Squashfs;
use crate::sync::{Arc, Mutex, lock};

/// The number of decompressed blocks that are kept.
const BLOCKS_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(15);
/// The most memory for a decoder of LZMA, in bytes: dictionaries have at most the size of a block.
const LZMA_BYTES_MAX: u64 = 16 << 20;

/// An algorithm that a file system is compressed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Gzip,
    Lzma,
    Xz,
    Lz4,
    Zstd,
}

impl Algorithm {
    /// Returns the algorithm with this number.
    pub(super) fn of(number: u16) -> Result<Self, DiskError> {
        Ok(match number {
            1 => Self::Gzip,
            2 => Self::Lzma,
            4 => Self::Xz,
            5 => Self::Lz4,
            6 => Self::Zstd,
            3 => {
                return Err(DiskError::Unsupported(
                    "squashfs that is compressed by LZO is not read".into(),
                ));
            }
            other => {
                let text = format!("squashfs that is compressed by an unknown algorithm (number {other}) is not read");
                return Err(DiskError::Unsupported(text));
            }
        })
    }

    /// Returns its word.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Lzma => "lzma",
            Self::Xz => "xz",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// Decompresses at most `limit` bytes from `input`; the error is the damage, in words.
    fn decompress(self, input: &[u8], limit: usize) -> Result<Vec<u8>, String> {
        // One more, to find a block that is too large.
        let most = limit as u64 + 1;
        let mut output = Vec::new();
        let mut read = |reader: &mut dyn std::io::Read| reader.take(most).read_to_end(&mut output);
        let lzma = |stream: Result<Stream, liblzma::stream::Error>| {
            stream.map(|stream| liblzma::bufread::XzDecoder::new_stream(input, stream))
        };
        let done = match self {
            Self::Gzip => read(&mut flate2::bufread::ZlibDecoder::new(input)),
            Self::Lzma => match lzma(Stream::new_lzma_decoder(LZMA_BYTES_MAX)) {
                Ok(mut decoder) => read(&mut decoder),
                Err(error) => Err(error.into()),
            },
            Self::Xz => match lzma(Stream::new_stream_decoder(LZMA_BYTES_MAX, 0)) {
                Ok(mut decoder) => read(&mut decoder),
                Err(error) => Err(error.into()),
            },
            Self::Lz4 => return lz4_flex::block::decompress(input, limit).map_err(|error| error.to_string()),
            Self::Zstd => match zstd::stream::read::Decoder::with_buffer(input) {
                Ok(mut decoder) => read(&mut decoder),
                Err(error) => Err(error),
            },
        };
        match done {
            Ok(_) if output.len() > limit => Err(format!("it has more than {limit} bytes")),
            Ok(_) => Ok(output),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// The blocks that were decompressed last, by their places.
pub(super) struct Blocks(Mutex<LruCache<u64, Arc<Vec<u8>>>>);

impl Default for Blocks {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(BLOCKS_MAX)))
    }
}

impl std::fmt::Debug for Blocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Blocks")
    }
}

/// A block as it lies on disk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored {
    /// Its place in bytes.
    pub(super) place: u64,
    /// Its length there.
    pub(super) length: usize,
    /// Whether it is compressed.
    pub(super) is_packed: bool,
}

impl Squashfs {
    /// Returns the bytes of a block, at most `limit`, which holds `structure`.
    pub(super) fn block(
        &self,
        structure: &'static str,
        stored: Stored,
        limit: usize,
    ) -> Result<Arc<Vec<u8>>, DiskError> {
        if let Some(block) = lock(&self.blocks.0).get(&stored.place) {
            return Ok(Arc::clone(block));
        }
        if stored.length > limit {
            return Err(self.area.damaged(structure, stored.place, "it is larger than a block"));
        }
        let bytes = self.area.bytes(structure, stored.place, stored.length)?;
        let block = match stored.is_packed {
            false => bytes,
            true => {
                let unpacked = self.algorithm.decompress(&bytes, limit);
                unpacked.map_err(|problem| self.area.damaged(structure, stored.place, problem))?
            }
        };
        let block = Arc::new(block);
        lock(&self.blocks.0).put(stored.place, Arc::clone(&block));
        Ok(block)
    }
}
