//! erofs, read: plain, in chunks, or compressed by LZ4, deflate or Zstandard.
//!
//! The records are those of the writer ([`crate::image::erofs`]); the format is described in the kernel's
//! `fs/erofs/erofs_fs.h`. Nothing is kept but the superblock, and the few pieces that were decompressed last.

mod attributes;
mod cluster;
mod directory;
mod inode;
mod layer;
mod map;
mod unpack;

use uuid::Uuid;
use zerocopy::IntoBytes as _;

use super::DiskError;
use super::area::Area;
use crate::image::erofs::disk::{
    COMPAT_CHECKSUM, INCOMPAT_BIG_PCLUSTER, INCOMPAT_CHUNKED, INCOMPAT_DEVICES, INCOMPAT_FRAGMENTS,
    INCOMPAT_XATTR_PREFIXES, INCOMPAT_ZERO_PADDING, INCOMPAT_ZTAILPACKING, MAGIC, SLOT_BYTES, SUPERBLOCK_BYTES,
    Superblock, checksum,
};
use crate::overlay::layer::Timestamp;

const SUPERBLOCK: &str = "the superblock of erofs";
/// Checksums are not compared under a fuzzer, which cannot compute them.
const IS_CHECKED: bool = !cfg!(fuzzing);
/// The powers of two that the size of a block may be.
const BLOCK_BITS: std::ops::RangeInclusive<u8> = 9..=16;

/// An erofs file system.
#[derive(Debug)]
pub struct Erofs {
    area: Area,
    superblock: Superblock,
    block_bits: u8,
    pieces: unpack::Pieces,
}

/// The facts about an erofs file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its label; empty if it has none.
    pub label: String,
    /// Its UUID.
    pub uuid: Uuid,
    /// The size of a block in bytes.
    pub block_bytes: u64,
    /// The number of its blocks.
    pub blocks: u64,
    /// The number of its inodes.
    pub inodes: u64,
}

impl Erofs {
    /// Returns whether `area` begins like an erofs file system.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn is_at(area: &Area) -> Result<bool, DiskError> {
        if area.size_bytes() < (SUPERBLOCK_BYTES + size_of::<Superblock>()) as u64 {
            return Ok(false);
        }
        let superblock: Superblock = area.record(SUPERBLOCK, SUPERBLOCK_BYTES as u64)?;
        Ok(superblock.magic.get() == MAGIC)
    }

    /// Opens the file system in `area`.
    ///
    /// # Errors
    /// [`DiskError::Damaged`] if it is none, or its superblock contradicts itself; [`DiskError::Unsupported`] if it has
    /// features that oic does not read.
    pub fn open(area: Area) -> Result<Self, DiskError> {
        let at = SUPERBLOCK_BYTES as u64;
        let superblock: Superblock = area.record(SUPERBLOCK, at)?;
        if superblock.magic.get() != MAGIC {
            return Err(area.damaged(SUPERBLOCK, at, "it has another magic number"));
        }
        let block_bits = superblock.blkszbits;
        if !BLOCK_BITS.contains(&block_bits) || superblock.dirblkbits != 0 {
            return Err(area.damaged(SUPERBLOCK, at, "its blocks have an impossible size"));
        }
        let known = INCOMPAT_ZERO_PADDING
            | INCOMPAT_BIG_PCLUSTER
            | INCOMPAT_CHUNKED
            | INCOMPAT_DEVICES
            | INCOMPAT_ZTAILPACKING
            | INCOMPAT_FRAGMENTS
            | INCOMPAT_XATTR_PREFIXES;
        let unknown = superblock.feature_incompat.get() & !known;
        if unknown != 0 {
            let text = format!("the erofs file system has features that are not read ({unknown:#x})");
            return Err(DiskError::Unsupported(text));
        }
        if superblock.extra_devices.get() != 0 {
            let text = "the erofs file system has contents on other devices".to_owned();
            return Err(DiskError::Unsupported(text));
        }
        let opened = Self {
            area,
            superblock,
            block_bits,
            pieces: unpack::Pieces::default(),
        };
        opened.check()?;
        Ok(opened)
    }

    /// Compares the checksum of the superblock, if it has one.
    fn check(&self) -> Result<(), DiskError> {
        if !IS_CHECKED || self.superblock.feature_compat.get() & COMPAT_CHECKSUM == 0 {
            return Ok(());
        }
        let block = self.block_bytes() as usize;
        let length = if block > SUPERBLOCK_BYTES {
            block - SUPERBLOCK_BYTES
        } else {
            block
        };
        let mut bytes = self.area.bytes(SUPERBLOCK, SUPERBLOCK_BYTES as u64, length)?;
        let zeroed = Superblock {
            checksum: 0.into(),
            ..self.superblock.clone()
        };
        bytes
            .iter_mut()
            .zip(zeroed.as_bytes())
            .for_each(|(place, byte)| *place = *byte);
        match checksum(&bytes) == self.superblock.checksum.get() {
            true => Ok(()),
            false => Err(self
                .area
                .damaged(SUPERBLOCK, SUPERBLOCK_BYTES as u64, "its checksum is wrong")),
        }
    }

    /// Returns the facts of the superblock.
    pub fn facts(&self) -> Facts {
        let label = &self.superblock.volume_name;
        let end = label.iter().position(|byte| *byte == 0).unwrap_or(label.len());
        Facts {
            label: String::from_utf8_lossy(label.get(..end).unwrap_or_default()).into_owned(),
            uuid: Uuid::from_bytes(self.superblock.uuid),
            block_bytes: self.block_bytes(),
            blocks: self.superblock.blocks.get().into(),
            inodes: self.superblock.inos.get(),
        }
    }

    fn block_bytes(&self) -> u64 {
        1 << self.block_bits
    }

    /// Returns the offset of `block` in bytes.
    fn offset(&self, block: u64) -> u64 {
        block << self.block_bits
    }

    /// Returns the place of the inode `nid` in bytes.
    fn place(&self, nid: u64) -> u64 {
        let first = self.offset(self.superblock.meta_blkaddr.get().into());
        first.saturating_add(nid.saturating_mul(SLOT_BYTES as u64))
    }

    /// Returns the time of inodes that have none of their own.
    fn time(&self) -> Timestamp {
        Timestamp {
            seconds: self.superblock.build_time.get() as i64,
            nanoseconds: self.superblock.build_time_nsec.get().min(999_999_999),
        }
    }

    fn has(&self, feature: u32) -> bool {
        self.superblock.feature_incompat.get() & feature != 0
    }
}

#[cfg(test)]
mod tests;
