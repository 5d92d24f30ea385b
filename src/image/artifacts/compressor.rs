//! Compression of a chunk on its own, so that chunks are compressed in any order, and one that did not change need not
//! be compressed again.
//!
//! gzip members, xz streams, zstd frames and bzip2 streams may follow each other in a file and read as one (RFC 1952,
//! 2.2; The .xz File Format, 2; RFC 8878, 3; bzip2(1)).

use std::io::{self, Write};
use std::sync::{Arc, OnceLock};

use liblzma::stream::{Check, Filters, LzmaOptions, Stream};

use crate::cancel::Cancel;
use crate::image::containers::packed::Pack;
use crate::model::Compression;
use crate::package::Sha256;

/// Bytes that are compressed between two looks at the signal to stop.
const SLICE_BYTES: usize = 1 << 20;

/// A method of compression with its level, and what it makes of zeros.
#[derive(Debug)]
pub(super) struct Compressor {
    method: Compression,
    level: u32,
    /// The checksum of an xz stream.
    check: Check,
    /// A chunk of zeros of full length, compressed once.
    zeros: OnceLock<Arc<[u8]>>,
}

impl Compressor {
    /// Makes a compressor; `level` is one of [`Compression::levels`].
    pub(super) fn new(method: Compression, level: u32) -> Self {
        Self {
            method,
            level,
            check: Check::Crc64,
            zeros: OnceLock::new(),
        }
    }

    /// Makes a compressor whose output the kernel unpacks: its xz knows CRC-32 only (kernel, "XZ data compression").
    pub(super) fn for_kernel(method: Compression, level: u32) -> Self {
        Self {
            check: Check::Crc32,
            ..Self::new(method, level)
        }
    }

    /// Returns the method.
    pub(super) fn method(&self) -> Compression {
        self.method
    }

    /// Returns the level.
    pub(super) fn level(&self) -> u32 {
        self.level
    }

    /// Compresses `chunk` to blocks of deflate that end on a byte and are not the last ones of a stream.
    ///
    /// # Errors
    /// If the library fails, or `cancel` is set.
    pub(super) fn deflate(&self, chunk: &[u8], cancel: &Cancel) -> io::Result<Vec<u8>> {
        let room = Vec::with_capacity(chunk.len() / 2);
        let mut encoder = flate2::write::DeflateEncoder::new(room, flate2::Compression::new(self.level));
        feed(&mut encoder, chunk, cancel)?;
        encoder.flush()?;
        Ok(std::mem::take(encoder.get_mut()))
    }

    /// Returns the length of a chunk in bytes: several times the window of the method, so that little is lost at the
    /// start of a chunk.
    pub(super) fn chunk_bytes(&self) -> u64 {
        match self.method {
            Compression::Gzip => 4 << 20,
            Compression::Zstd | Compression::Bzip2 => 8 << 20,
            Compression::Xz => 32 << 20,
        }
    }

    /// Compresses `chunk`, which is at most [`Self::chunk_bytes`] long.
    ///
    /// # Errors
    /// If the library fails, or `cancel` is set.
    pub(super) fn compress(&self, chunk: &[u8], cancel: &Cancel) -> io::Result<Vec<u8>> {
        let room = Vec::with_capacity(chunk.len() / 2);
        match self.method {
            Compression::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(room, flate2::Compression::new(self.level));
                feed(&mut encoder, chunk, cancel)?;
                encoder.finish()
            }
            Compression::Bzip2 => {
                let mut encoder = bzip2::write::BzEncoder::new(room, bzip2::Compression::new(self.level));
                feed(&mut encoder, chunk, cancel)?;
                encoder.finish()
            }
            Compression::Xz => {
                let mut encoder = liblzma::write::XzEncoder::new_stream(room, self.xz_stream()?);
                feed(&mut encoder, chunk, cancel)?;
                encoder.finish()
            }
            Compression::Zstd => {
                let mut encoder = zstd::Encoder::new(room, self.level.cast_signed())?;
                encoder.include_checksum(true)?;
                encoder.set_pledged_src_size(Some(chunk.len() as u64))?;
                feed(&mut encoder, chunk, cancel)?;
                encoder.finish()
            }
        }
    }

    /// Makes an encoder like that of `xz -LEVEL`. The dictionary of level 9 is longer than a chunk, which would only take
    /// memory.
    fn xz_stream(&self) -> io::Result<Stream> {
        let mut options = LzmaOptions::new_preset(self.level)?;
        if self.level > 8 {
            options.dict_size(u32::try_from(self.chunk_bytes()).unwrap_or(u32::MAX));
        }
        let filters = &mut Filters::new();
        Ok(Stream::new_stream_encoder(filters.lzma2(&options), self.check)?)
    }

    /// Compresses a chunk of [`Self::chunk_bytes`] zeros, once.
    ///
    /// # Errors
    /// As [`Self::compress`].
    pub(super) fn zeros(&self, cancel: &Cancel) -> io::Result<Arc<[u8]>> {
        if let Some(known) = self.zeros.get() {
            return Ok(Arc::clone(known));
        }
        let length = usize::try_from(self.chunk_bytes()).map_err(io::Error::other)?;
        let made = self.compress(&vec![0; length], cancel)?;
        Ok(Arc::clone(self.zeros.get_or_init(|| made.into())))
    }

    /// Returns a digest over what the compressor makes of a known text: a library of another version, which may
    /// compress in another way, has another one.
    ///
    /// # Errors
    /// If the library fails.
    pub(super) fn fingerprint(&self) -> io::Result<Sha256> {
        Ok(Sha256::of(self.compress(&known_text(20_000), &Cancel::default())?))
    }
}

/// Returns a digest over what `pack`, the compression of a container's blocks, makes of a known block, as
/// [`Compressor::fingerprint`] does.
///
/// # Errors
/// If the library fails.
pub(super) fn fingerprint_of_blocks(pack: Pack) -> io::Result<Sha256> {
    Ok(Sha256::of(pack(&known_text(10_000))?))
}

/// Returns `count` numbers that compress a little.
fn known_text(count: u32) -> Vec<u8> {
    (0..count)
        .flat_map(|i| (i.wrapping_mul(i) % 1013).to_le_bytes())
        .collect()
}

/// Writes `chunk` to `encoder` in slices.
fn feed(encoder: &mut impl Write, chunk: &[u8], cancel: &Cancel) -> io::Result<()> {
    for slice in chunk.chunks(SLICE_BYTES) {
        cancel.check().map_err(io::Error::other)?;
        encoder.write_all(slice)?;
    }
    Ok(())
}
