//! Code from which a BIOS starts a disk: in front of the table of partitions, and where it leads to.

use super::plan::SECTOR_BYTES;

/// Bytes of the first sector before the disk's signature and the table (UEFI specification 2.10, 5.2.1).
pub const CODE_BYTES: usize = 440;

/// The code of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootCode {
    /// The beginning of the first sector.
    pub code: [u8; CODE_BYTES],
    /// First sector of what it loads.
    pub lba: u64,
    /// What it loads.
    pub core: Vec<u8>,
}

impl BootCode {
    /// Puts the code into the first sectors of a disk, whose table is complete.
    pub fn complete(&self, start: &mut [u8]) {
        start.iter_mut().zip(self.code).for_each(|(byte, code)| *byte = code);
    }

    /// Returns the place of what is loaded, in bytes from the start of the disk.
    pub fn offset_bytes(&self) -> u64 {
        self.lba * SECTOR_BYTES
    }
}
