//! Reads the tarball's own bytes, and counts and hashes them as they are consumed.

use std::fs::File;
use std::io::{self, Read as _};

use sha2::Digest as _;

use super::PrepareOptions;
use crate::package::Sha256;

const BUFFER_BYTES: usize = 256 << 10;

/// A tarball that is read once, from its start to its end.
pub(super) struct Input<'a> {
    file: &'a File,
    options: &'a PrepareOptions<'a>,
    buffer: Vec<u8>,
    /// End of the consumed part of the buffer; `end` is that of the filled part.
    start: usize,
    end: usize,
    /// Offset in the tarball of the next byte.
    offset: u64,
    hasher: sha2::Sha256,
    last: u8,
}

impl<'a> Input<'a> {
    /// Starts reading `file`.
    pub(super) fn new(file: &'a File, options: &'a PrepareOptions<'a>) -> Self {
        Self {
            file,
            options,
            buffer: vec![0; BUFFER_BYTES],
            start: 0,
            end: 0,
            offset: 0,
            hasher: sha2::Sha256::new(),
            last: 0,
        }
    }

    /// Returns the next bytes; none at the end of the file.
    pub(super) fn available(&mut self) -> io::Result<&[u8]> {
        if self.start == self.end {
            self.options.cancel.check().map_err(io::Error::other)?;
            self.end = loop {
                match (&mut self.file).read(&mut self.buffer) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    read => break read?,
                }
            };
            self.start = 0;
            if let Some(advance) = self.options.advance {
                advance(self.end as u64);
            }
        }
        Ok(self.buffer.get(self.start..self.end).unwrap_or_default())
    }

    /// Consumes `count` of the available bytes.
    pub(super) fn consume(&mut self, count: usize) {
        let used = self.buffer.get(self.start..self.start + count).unwrap_or_default();
        self.hasher.update(used);
        self.last = used.last().copied().unwrap_or(self.last);
        self.start += used.len();
        self.offset += used.len() as u64;
    }

    /// Consumes exactly the next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        for byte in &mut bytes {
            let next = self.available()?.first().copied();
            *byte = next.ok_or(io::ErrorKind::UnexpectedEof)?;
            self.consume(1);
        }
        Ok(bytes)
    }

    /// Returns the offset in the tarball of the next byte.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the SHA-256 of the bytes consumed since the last call. With `again`, the last byte counts for the next
    /// digest, too.
    pub(super) fn take_digest(&mut self, again: bool) -> Sha256 {
        let digest = self.hasher.finalize_reset();
        if again {
            self.hasher.update([self.last]);
        }
        Sha256(digest.into())
    }
}
