//! ext2, ext3 and ext4, read.
//!
//! The records are those of the writer ([`crate::image::ext4`]); the format is described in the kernel's
//! `Documentation/filesystems/ext4`. Nothing is kept but the superblock: each answer is read from the disk anew, and each
//! structure's checksum is compared where the file system has checksums. A journal that was not replayed is replayed in
//! memory ([`journal`]).

mod attributes;
mod directory;
mod inode;
mod journal;
mod layer;
mod map;
mod superblock;

use uuid::Uuid;

use super::DiskError;
use super::area::Area;
use inode::Inode;
use superblock::Head;

/// Checksums are not compared under a fuzzer, which cannot compute them.
const IS_CHECKED: bool = !cfg!(fuzzing);

/// A file system of the ext family.
#[derive(Debug)]
pub struct Ext {
    area: Area,
    head: Head,
    replayed: Option<u64>,
}

/// The facts about a file system of the ext family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// `ext2`, `ext3` or `ext4`, by its features.
    pub kind: &'static str,
    /// Its label; empty if it has none.
    pub label: String,
    /// Its UUID.
    pub uuid: Uuid,
    /// The size of a block in bytes.
    pub block_bytes: u64,
    /// The number of its blocks.
    pub blocks: u64,
    /// The number of its free blocks.
    pub free_blocks: u64,
    /// The number of its inodes.
    pub inodes: u32,
    /// The number of its free inodes.
    pub free_inodes: u32,
    /// Its features, in the words of `dumpe2fs`.
    pub features: Vec<String>,
    /// The number of blocks that its journal has replaced, if it had to be replayed.
    pub replayed_blocks: Option<u64>,
}

impl Ext {
    /// Returns whether `area` begins like a file system of the ext family.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn is_at(area: &Area) -> Result<bool, DiskError> {
        superblock::is_at(area)
    }

    /// Opens the file system in `area`. A journal that was not replayed is replayed in memory.
    ///
    /// # Errors
    /// [`DiskError::Damaged`] if it is none, or its superblock, its group descriptors or its journal contradict
    /// themselves; [`DiskError::Unsupported`] if it has features that oic does not read.
    pub fn open(area: Area) -> Result<Self, DiskError> {
        let head = Head::read(&area)?;
        let needs_journal = head.needs_journal();
        let opened = Self {
            area,
            head,
            replayed: None,
        };
        if !needs_journal {
            return Ok(opened);
        }
        let (area, blocks) = journal::replay(&opened)?;
        // The journal may hold a newer superblock, with more groups.
        Ok(Self {
            head: Head::read(&area)?,
            area,
            replayed: Some(blocks),
        })
    }

    /// Returns the facts of the superblock.
    pub fn facts(&self) -> Facts {
        Facts {
            replayed_blocks: self.replayed,
            ..self.head.facts()
        }
    }

    /// Returns the offset of `block` in bytes.
    fn offset(&self, block: u64) -> u64 {
        block.saturating_mul(self.head.block_bytes)
    }

    /// Reads `block`, which holds `structure`.
    fn block(&self, structure: &'static str, block: u64) -> Result<Vec<u8>, DiskError> {
        let offset = self.offset(block);
        if block >= self.head.blocks {
            return Err(self.area.damaged(structure, offset, "it lies behind the last block"));
        }
        self.area.bytes(structure, offset, self.head.block_bytes as usize)
    }

    /// Makes the error of what is wrong with an inode.
    fn wrong(&self, inode: &Inode, problem: impl std::fmt::Display) -> DiskError {
        let problem = format!("inode {}: {problem}", inode.number);
        self.area.damaged("an inode", inode.offset, problem)
    }
}

#[cfg(test)]
mod tests;
