//! One compressed stream of parts that were compressed on their own.
//!
//! The kernel unpacks an initrd of one gzip member, one xz stream or one zstd frame: behind the end of one it expects a new
//! archive (`init/initramfs.c`, `unpack_to_rootfs`). So the parts of an image for it become parts of one stream:
//! blocks of deflate that end on a byte (RFC 1951, 3.2.4), blocks of xz (The .xz File Format, 3). A frame of zstd has no
//! such parts; the library compresses it on several threads.

use std::io::{self, Write as _};

use super::compressor::Compressor;
use crate::cancel::Cancel;
use crate::model::Compression;

/// The head of a gzip member without a name and a time, from an unknown system (RFC 1952, 2.3).
const GZIP_HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// The last block of deflate, which is empty, with the codes of the format.
const DEFLATE_END: [u8; 2] = [3, 0];
/// The head of an xz stream with CRC-32 (The .xz File Format, 2.1.1); the kernel knows no other checksum of 2010.
const XZ_MAGIC: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];
const XZ_FLAGS: [u8; 2] = [0, 1];
const XZ_END: [u8; 2] = *b"YZ";
/// The length in bytes of the head of an xz stream, and of its foot.
const XZ_HEAD_BYTES: usize = 12;

/// A part of a stream.
#[derive(Debug)]
pub(super) struct Joint {
    /// Its bytes: compressed, but for zstd.
    pub(super) bytes: Vec<u8>,
    /// The length in bytes of what it was made from.
    length_bytes: u64,
    /// The CRC-32 of that.
    crc32: crc32fast::Hasher,
}

impl Joint {
    /// Makes a part from `chunk` in the way of `compressor`.
    ///
    /// # Errors
    /// If the library fails, or `cancel` is set.
    pub(super) fn new(compressor: &Compressor, chunk: Vec<u8>, cancel: &Cancel) -> io::Result<Self> {
        let mut crc32 = crc32fast::Hasher::new();
        let length_bytes = chunk.len() as u64;
        let bytes = match compressor.method() {
            Compression::Gzip => {
                crc32.update(&chunk);
                compressor.deflate(&chunk, cancel)?
            }
            Compression::Xz => compressor.compress(&chunk, cancel)?,
            // Its library takes it from here.
            Compression::Zstd => chunk,
            Compression::Bzip2 => return Err(io::Error::other("the kernel unpacks no joined bzip2")),
        };
        Ok(Self {
            bytes,
            length_bytes,
            crc32,
        })
    }
}

/// A stream while it grows.
pub(super) enum Joiner {
    /// A gzip member: the CRC-32 and the length of what is in it.
    Gzip(crc32fast::Hasher, u64),
    /// An xz stream: the unpadded length of each block in bytes, and the length of what is in it.
    Xz(Vec<(u64, u64)>),
    /// A zstd frame.
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl std::fmt::Debug for Joiner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Gzip(..) => "Gzip",
            Self::Xz(_) => "Xz",
            Self::Zstd(_) => "Zstd",
        })
    }
}

impl Joiner {
    /// Begins a stream in the way of `compressor`; zstd compresses on `threads` threads. Their number does not change the
    /// bytes. Returns the head of the stream, too.
    ///
    /// # Errors
    /// If the library fails, or the method has no such streams.
    pub(super) fn new(compressor: &Compressor, threads: usize) -> io::Result<(Self, Vec<u8>)> {
        Ok(match compressor.method() {
            Compression::Gzip => (Self::Gzip(crc32fast::Hasher::new(), 0), GZIP_HEAD.to_vec()),
            Compression::Xz => {
                let head = [&XZ_MAGIC[..], &XZ_FLAGS, &crc32fast::hash(&XZ_FLAGS).to_le_bytes()];
                (Self::Xz(Vec::new()), head.concat())
            }
            Compression::Zstd => {
                let mut encoder = zstd::Encoder::new(Vec::new(), compressor.level().cast_signed())?;
                encoder.include_checksum(true)?;
                encoder.multithread(u32::try_from(threads.clamp(1, 64)).unwrap_or(1))?;
                (Self::Zstd(encoder), Vec::new())
            }
            Compression::Bzip2 => return Err(io::Error::other("the kernel unpacks no joined bzip2")),
        })
    }

    /// Adds the next part and returns the bytes that follow in the file.
    ///
    /// # Errors
    /// If the library fails, or made something else than an xz stream.
    pub(super) fn add(&mut self, joint: Joint) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(crc32, length_bytes) => {
                crc32.combine(&joint.crc32);
                *length_bytes += joint.length_bytes;
                Ok(joint.bytes)
            }
            Self::Xz(blocks) => {
                let block = xz_block(&joint.bytes).ok_or_else(|| io::Error::other("the xz library made no stream"))?;
                blocks.push((block.0, joint.length_bytes));
                Ok(block.1.to_vec())
            }
            Self::Zstd(encoder) => {
                encoder.write_all(&joint.bytes)?;
                Ok(std::mem::take(encoder.get_mut()))
            }
        }
    }

    /// Ends the stream and returns its last bytes.
    ///
    /// # Errors
    /// If the library fails.
    pub(super) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(crc32, length_bytes) => {
                // The length counts modulo 2^32 (RFC 1952, 2.3.1).
                let length = (length_bytes as u32).to_le_bytes();
                Ok([&DEFLATE_END[..], &crc32.finalize().to_le_bytes(), &length].concat())
            }
            Self::Xz(blocks) => Ok(xz_foot(&blocks)),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

/// Returns the block of an xz stream of one block, with its unpadded length in bytes.
fn xz_block(stream: &[u8]) -> Option<(u64, &[u8])> {
    let foot = stream.len().checked_sub(XZ_HEAD_BYTES)?;
    let backward = stream.get(foot + 4..foot + 8)?.try_into().ok()?;
    let index_bytes = (u32::from_le_bytes(backward) as usize).checked_add(1)?.checked_mul(4)?;
    let index_start = foot.checked_sub(index_bytes)?;
    let index = stream.get(index_start..foot)?;
    // An index begins with a zero and the number of its records.
    let [0, 1, records @ ..] = index else { return None };
    Some((variable(records)?, stream.get(XZ_HEAD_BYTES..index_start)?))
}

/// Reads a number of variable length (The .xz File Format, 1.2).
fn variable(bytes: &[u8]) -> Option<u64> {
    let mut value = 0;
    for (shift, byte) in (0..63).step_by(7).zip(bytes) {
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Appends a number of variable length.
fn push_variable(bytes: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// Makes the index of an xz stream of `blocks`, and its foot.
fn xz_foot(blocks: &[(u64, u64)]) -> Vec<u8> {
    let mut foot = vec![0];
    push_variable(&mut foot, blocks.len() as u64);
    for (unpadded, length) in blocks {
        push_variable(&mut foot, *unpadded);
        push_variable(&mut foot, *length);
    }
    foot.resize(foot.len().next_multiple_of(4), 0);
    foot.extend(crc32fast::hash(&foot).to_le_bytes());
    let backward = (foot.len() / 4 - 1) as u32;
    let last = [&backward.to_le_bytes()[..], &XZ_FLAGS].concat();
    foot.extend(crc32fast::hash(&last).to_le_bytes());
    foot.extend(last);
    foot.extend(XZ_END);
    foot
}
