//! squashfs 4, read: compressed by gzip, LZMA, xz, LZ4 or Zstandard.
//!
//! The format is described in the kernel's `fs/squashfs/squashfs_fs.h`. Nothing is kept but the superblock, and the few
//! blocks that were decompressed last.

mod attributes;
mod content;
mod directory;
mod disk;
mod inode;
mod layer;
mod metadata;
mod unpack;

use super::DiskError;
use super::area::Area;
use disk::Superblock;

const SUPERBLOCK: &str = "the superblock of squashfs";
const MAGIC: u32 = 0x7371_7368;
/// The powers of two that the size of a block may be.
const BLOCK_BITS: std::ops::RangeInclusive<u16> = 12..=20;

/// A squashfs file system.
#[derive(Debug)]
pub struct Squashfs {
    area: Area,
    superblock: Superblock,
    algorithm: unpack::Algorithm,
    blocks: unpack::Blocks,
}

/// The facts about a squashfs file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The size of a block of data in bytes.
    pub block_bytes: u64,
    /// The number of its inodes.
    pub inodes: u64,
    /// The algorithm that it is compressed by, in the words of `mksquashfs`.
    pub compression: &'static str,
}

impl Squashfs {
    /// Returns whether `area` begins like a squashfs file system.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn is_at(area: &Area) -> Result<bool, DiskError> {
        if area.size_bytes() < size_of::<Superblock>() as u64 {
            return Ok(false);
        }
        let superblock: Superblock = area.record(SUPERBLOCK, 0)?;
        Ok(superblock.magic.get() == MAGIC)
    }

    /// Opens the file system in `area`.
    ///
    /// # Errors
    /// [`DiskError::Damaged`] if it is none, or its superblock contradicts itself; [`DiskError::Unsupported`] if it is of
    /// another version, or compressed by something that oic does not read.
    pub fn open(area: Area) -> Result<Self, DiskError> {
        let superblock: Superblock = area.record(SUPERBLOCK, 0)?;
        if superblock.magic.get() != MAGIC {
            return Err(area.damaged(SUPERBLOCK, 0, "it has another magic number"));
        }
        if superblock.major.get() != 4 {
            let text = format!("squashfs of version {} is not read", superblock.major);
            return Err(DiskError::Unsupported(text));
        }
        let bits = superblock.block_log.get();
        if !BLOCK_BITS.contains(&bits) || superblock.block_size.get() != 1 << bits {
            return Err(area.damaged(SUPERBLOCK, 0, "its blocks have an impossible size"));
        }
        Ok(Self {
            algorithm: unpack::Algorithm::of(superblock.compression.get())?,
            area,
            superblock,
            blocks: unpack::Blocks::default(),
        })
    }

    /// Returns the facts of the superblock.
    pub fn facts(&self) -> Facts {
        Facts {
            block_bytes: self.block_bytes(),
            inodes: self.superblock.inodes.get().into(),
            compression: self.algorithm.word(),
        }
    }

    fn block_bytes(&self) -> u64 {
        self.superblock.block_size.get().into()
    }
}

#[cfg(test)]
mod tests;
