//! Metadata: blocks of 8 KiB, each with its length before it, which are read as one stream; and tables of them.

use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, IntoBytes};

use super::super::DiskError;
use super::Squashfs;
use super::unpack::Stored;
use crate::sync::Arc;

/// The most bytes of a block of metadata.
const BLOCK_BYTES: usize = 8192;
const HEADER_BYTES: u64 = size_of::<U16>() as u64;
/// The bit of a block's length that says that it is not compressed.
const PLAIN: u16 = 0x8000;

/// A place in metadata, read onwards.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    squashfs: &'a Squashfs,
    structure: &'static str,
    /// The place of the next block in bytes.
    next: u64,
    block: Arc<Vec<u8>>,
    /// The offset in the block.
    offset: usize,
}

impl Squashfs {
    /// Returns a cursor at byte `offset` of the block of metadata at `place`, which holds `structure`.
    pub(super) fn metadata(&self, structure: &'static str, place: u64, offset: usize) -> Result<Cursor<'_>, DiskError> {
        let mut cursor = Cursor {
            squashfs: self,
            structure,
            next: place,
            block: Arc::default(),
            offset: 0,
        };
        cursor.advance()?;
        cursor.offset = offset;
        Ok(cursor)
    }

    /// Reads the record `number` of a table of metadata, whose blocks are listed from the byte `list` on.
    pub(super) fn in_table<T: FromBytes + IntoBytes>(
        &self,
        structure: &'static str,
        list: u64,
        number: u64,
    ) -> Result<T, DiskError> {
        let per_block = (BLOCK_BYTES / size_of::<T>()) as u64;
        let at = list.saturating_add(number / per_block * size_of::<u64>() as u64);
        let place: [u8; 8] = self.area.record(structure, at)?;
        let offset = (number % per_block) as usize * size_of::<T>();
        self.metadata(structure, u64::from_le_bytes(place), offset)?.record()
    }
}

impl Cursor<'_> {
    /// Goes to the next block.
    fn advance(&mut self) -> Result<(), DiskError> {
        let header: U16 = self.squashfs.area.record(self.structure, self.next)?;
        let length = header.get() & !PLAIN;
        let stored = Stored {
            place: self.next + HEADER_BYTES,
            length: length.into(),
            is_packed: header.get() & PLAIN == 0,
        };
        self.block = self.squashfs.block(self.structure, stored, BLOCK_BYTES)?;
        self.next = stored.place + u64::from(length);
        self.offset = 0;
        match self.block.is_empty() {
            true => Err(self.damaged("a block of it is empty")),
            false => Ok(()),
        }
    }

    /// Fills `buffer` with what follows.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<(), DiskError> {
        let mut rest = buffer;
        while !rest.is_empty() {
            let found = self
                .block
                .get(self.offset..)
                .ok_or_else(|| self.damaged("it lies behind its block"))?;
            let length = found.len().min(rest.len());
            let (part, behind) = rest.split_at_mut(length);
            part.copy_from_slice(found.get(..length).unwrap_or_default());
            self.offset += length;
            rest = behind;
            if !rest.is_empty() {
                self.advance()?;
            }
        }
        Ok(())
    }

    /// Reads a record.
    pub(super) fn record<T: FromBytes + IntoBytes>(&mut self) -> Result<T, DiskError> {
        let mut record = T::new_zeroed();
        self.read(record.as_mut_bytes())?;
        Ok(record)
    }

    /// Reads `length` bytes; the caller bounds the length.
    pub(super) fn bytes(&mut self, length: usize) -> Result<Vec<u8>, DiskError> {
        let mut bytes = vec![0; length];
        self.read(&mut bytes)?;
        Ok(bytes)
    }

    /// Makes the error of damage here.
    pub(super) fn damaged(&self, problem: impl Into<String>) -> DiskError {
        self.squashfs.area.damaged(self.structure, self.next, problem)
    }
}
