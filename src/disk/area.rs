//! A range of a disk, such as a partition; nothing outside of it can be read through it.

use std::sync::Arc;

use zerocopy::{FromBytes, IntoBytes};

use super::DiskError;
use super::medium::Medium;

/// A range of a disk. Offsets are in bytes from its start; errors name those of the disk.
#[derive(Debug, Clone)]
pub struct Area {
    medium: Arc<dyn Medium>,
    start: u64,
    size_bytes: u64,
}

impl Area {
    /// Makes the area of a whole disk.
    pub fn whole(medium: Arc<dyn Medium>) -> Self {
        Self {
            size_bytes: medium.size_bytes(),
            medium,
            start: 0,
        }
    }

    /// Returns the part of `size_bytes` from `start` on; `None` if it does not lie within the area.
    pub fn part(&self, start: u64, size_bytes: u64) -> Option<Self> {
        let end = start.checked_add(size_bytes)?;
        (end <= self.size_bytes).then(|| Self {
            medium: Arc::clone(&self.medium),
            start: self.start + start,
            size_bytes,
        })
    }

    /// Returns the same range of another disk that shows these bytes differently.
    pub fn through(&self, medium: Arc<dyn Medium>) -> Self {
        Self { medium, ..self.clone() }
    }

    /// Returns the disk.
    pub fn medium(&self) -> &Arc<dyn Medium> {
        &self.medium
    }

    /// Returns the offset of the area on the disk, in bytes.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Returns the size in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Fills `buffer` from `offset`, with bytes that belong to `structure`.
    ///
    /// # Errors
    /// If they do not lie within the area, or cannot be read.
    pub fn read(&self, structure: &'static str, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        let end = offset.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.size_bytes) {
            return Err(self.damaged(structure, offset, "it lies behind the end"));
        }
        self.medium.read_at(self.start + offset, buffer)
    }

    /// Reads `length` bytes from `offset`, which belong to `structure`; the caller bounds the length.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn bytes(&self, structure: &'static str, offset: u64, length: usize) -> Result<Vec<u8>, DiskError> {
        if length as u64 > self.size_bytes {
            return Err(self.damaged(structure, offset, "it lies behind the end"));
        }
        let mut bytes = vec![0; length];
        self.read(structure, offset, &mut bytes)?;
        Ok(bytes)
    }

    /// Reads a record of the kind `structure` at `offset`.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn record<T: FromBytes + IntoBytes>(&self, structure: &'static str, offset: u64) -> Result<T, DiskError> {
        let mut record = T::new_zeroed();
        self.read(structure, offset, record.as_mut_bytes())?;
        Ok(record)
    }

    /// Makes the error of a damaged `structure` at `offset`.
    pub fn damaged(&self, structure: &'static str, offset: u64, problem: impl Into<String>) -> DiskError {
        DiskError::Damaged {
            structure,
            offset: self.start.saturating_add(offset),
            problem: problem.into(),
        }
    }
}
