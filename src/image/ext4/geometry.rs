//! The division of an empty file system of a given size: block groups, and the places of their superblocks,
//! descriptors, bitmaps and inode tables ("Block Groups", "Flexible Block Groups" in the kernel's
//! `Documentation/filesystems/ext4/blockgroup.rst`). Numbers and sizes are those of `mke2fs`.
//!
//! Bitmaps and inode tables of ext4 may lie anywhere. They change with every file, so they lie at the end.

use super::space::{Run, Space};
use super::{FileSystemError, Kind};

/// Bytes of a block.
pub(super) const BLOCK_BYTES: u64 = 4096;
/// Blocks of a group: as many as a block has bits.
pub(super) const GROUP_BLOCKS: u64 = 8 * BLOCK_BYTES;
/// Bytes of an inode.
pub(super) const INODE_BYTES: usize = 256;
/// The first inode that is not reserved.
pub(super) const FIRST_INODE: u32 = 11;
const INODES_PER_BLOCK: u64 = BLOCK_BYTES / INODE_BYTES as u64;
/// Block numbers that fit into a block.
pub(super) const NUMBERS_PER_BLOCK: u64 = BLOCK_BYTES / 4;
/// Below this size a file system gets an inode for every 4 KiB, above for every 16 KiB (as mke2fs does).
const SMALL_BYTES: u64 = 512 << 20;
/// The least number of blocks that the last group has besides its own metadata.
const LAST_GROUP_MINIMUM: u64 = 50;
/// The factor by which a file system can grow without moving anything.
const GROWTH: u64 = 1024;
/// The smallest file system in blocks; a smaller one would be all metadata.
const MINIMUM_BLOCKS: u64 = 64;

/// The places of one group's own metadata, in blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Group {
    /// The bitmap of its blocks.
    pub(super) block_bitmap: u64,
    /// The bitmap of its inodes.
    pub(super) inode_bitmap: u64,
    /// The first block of its inode table.
    pub(super) inode_table: u64,
}

/// A file system, divided.
#[derive(Debug, Clone)]
pub(super) struct Geometry {
    /// The file system of the ext family.
    pub(super) kind: Kind,
    /// All blocks.
    pub(super) blocks: u64,
    /// Inodes of each group.
    pub(super) inodes_per_group: u32,
    /// Blocks of an inode table.
    pub(super) table_blocks: u64,
    /// Blocks of the group descriptors.
    pub(super) descriptor_blocks: u64,
    /// Blocks kept free behind them, for growing.
    pub(super) reserved_descriptor_blocks: u64,
    /// Blocks of the journal; 0 if there is none.
    pub(super) journal_blocks: u64,
    /// The block groups, by number.
    pub(super) groups: Vec<Group>,
}

impl Geometry {
    /// Divides `size_bytes` for at least `inodes` inodes; returns the division and the blocks that its metadata use.
    ///
    /// # Errors
    /// [`FileSystemError::Size`] if that is too small or too large for a file system.
    pub(super) fn new(kind: Kind, size_bytes: u64, inodes: u64) -> Result<(Self, Space), FileSystemError> {
        let refused = || FileSystemError::Size {
            size_bytes,
            what: "few or too many for an ext file system",
        };
        let mut geometry = Self::divided(kind, size_bytes / BLOCK_BYTES, inodes).ok_or_else(refused)?;
        let space = geometry.place().ok_or_else(refused)?;
        Ok((geometry, space))
    }

    fn divided(kind: Kind, mut blocks: u64, inodes: u64) -> Option<Self> {
        if blocks < MINIMUM_BLOCKS {
            return None;
        }
        loop {
            let ratio = if blocks * BLOCK_BYTES < SMALL_BYTES {
                4096
            } else {
                16384
            };
            let inodes = inodes.max(blocks * BLOCK_BYTES / ratio);
            let groups = u32::try_from(blocks.div_ceil(GROUP_BLOCKS)).ok()?;
            let per_group = inodes.div_ceil(u64::from(groups)).max(INODES_PER_BLOCK);
            let table_blocks = per_group.div_ceil(INODES_PER_BLOCK);
            let inodes_per_group = u32::try_from(table_blocks * INODES_PER_BLOCK).ok()?;
            if u64::from(inodes_per_group) > GROUP_BLOCKS
                || (u64::from(inodes_per_group) * u64::from(groups)) >> 32 != 0
            {
                return None;
            }
            let descriptor_blocks = u64::from(groups).div_ceil(BLOCK_BYTES / kind.descriptor_bytes() as u64);
            let geometry = Self {
                kind,
                blocks,
                inodes_per_group,
                table_blocks,
                descriptor_blocks,
                reserved_descriptor_blocks: reserved(kind, blocks, descriptor_blocks),
                journal_blocks: if kind.has_journal() { journal_blocks(blocks) } else { 0 },
                groups: vec![
                    Group {
                        block_bitmap: 0,
                        inode_bitmap: 0,
                        inode_table: 0
                    };
                    groups as usize
                ],
            };
            let last = blocks % GROUP_BLOCKS;
            let minimum = geometry.base_blocks(groups - 1) + 2 + table_blocks + LAST_GROUP_MINIMUM;
            if last == 0 || last >= minimum || groups == 1 {
                return Some(geometry);
            }
            // Too few blocks for another group: they stay unused.
            blocks -= last;
        }
    }

    /// Places all metadata and returns the blocks then in use; `None` if they do not fit.
    fn place(&mut self) -> Option<Space> {
        let mut space = Space::new(self.blocks);
        for group in 0..self.group_count() {
            space.take(self.base(group));
        }
        match self.kind.is_ext4() {
            true => self.place_at_end(&mut space)?,
            false => self.place_in_groups(&mut space)?,
        }
        Some(space)
    }

    fn place_in_groups(&mut self, space: &mut Space) -> Option<()> {
        for (group, number) in self.groups.iter_mut().zip(0_u64..) {
            let start = number * GROUP_BLOCKS;
            group.block_bitmap = space.allocate_row(start, 1)?;
            group.inode_bitmap = space.allocate_row(start, 1)?;
            group.inode_table = space.allocate_row(start, self.table_blocks)?;
        }
        Some(())
    }

    /// Places bitmaps and inode tables at the end of the file system, those of the first group, which changes most,
    /// last.
    fn place_at_end(&mut self, space: &mut Space) -> Option<()> {
        let mut end = self.blocks;
        for group in &mut self.groups {
            group.inode_table = space.allocate_row_before(&mut end, self.table_blocks)?;
        }
        for group in &mut self.groups {
            group.inode_bitmap = space.allocate_row_before(&mut end, 1)?;
        }
        for group in &mut self.groups {
            group.block_bitmap = space.allocate_row_before(&mut end, 1)?;
        }
        Some(())
    }

    /// Returns the number of block groups.
    pub(super) fn group_count(&self) -> u32 {
        self.groups.len() as u32
    }

    /// Returns the number of all inodes.
    pub(super) fn inodes(&self) -> u32 {
        self.inodes_per_group * self.group_count()
    }

    /// Returns the blocks of `group`.
    pub(super) fn range(&self, group: u32) -> Run {
        let start = u64::from(group) * GROUP_BLOCKS;
        Run {
            start,
            count: GROUP_BLOCKS.min(self.blocks.saturating_sub(start)),
        }
    }

    /// Returns the blocks of the superblock, the descriptors and the reserve for them at the start of `group`; empty in
    /// a group without them.
    pub(super) fn base(&self, group: u32) -> Run {
        Run {
            start: u64::from(group) * GROUP_BLOCKS,
            count: self.base_blocks(group),
        }
    }

    fn base_blocks(&self, group: u32) -> u64 {
        match has_superblock(group) {
            true => 1 + self.descriptor_blocks + self.reserved_descriptor_blocks,
            false => 0,
        }
    }

    /// Returns the offset of inode `number` in bytes from the start of the file system; `None` if it does not exist.
    pub(super) fn inode_offset_bytes(&self, number: u32) -> Option<u64> {
        let index = number.checked_sub(1)?;
        let group = self.groups.get((index / self.inodes_per_group) as usize)?;
        let within = u64::from(index % self.inodes_per_group) * INODE_BYTES as u64;
        Some(group.inode_table * BLOCK_BYTES + within)
    }

    /// Returns the groups with a copy of the superblock, without the first group.
    pub(super) fn backups(&self) -> impl Iterator<Item = u32> + use<> {
        (1..self.group_count()).filter(|group| has_superblock(*group))
    }
}

/// Says whether `group` has a (copy of the) superblock: 0, 1 and the powers of 3, 5 and 7 (`sparse_super`).
fn has_superblock(group: u32) -> bool {
    let is_power = |base: u32| {
        let mut rest = group;
        while rest.is_multiple_of(base) {
            rest /= base;
        }
        rest == 1
    };
    group <= 1 || [3, 5, 7].into_iter().any(is_power)
}

/// Returns the number of descriptor blocks to keep free, so that the file system can grow while it is mounted.
fn reserved(kind: Kind, blocks: u64, descriptor_blocks: u64) -> u64 {
    let largest = blocks.saturating_mul(GROWTH).min(u64::from(u32::MAX));
    let per_block = BLOCK_BYTES / kind.descriptor_bytes() as u64;
    let wanted = largest.div_ceil(GROUP_BLOCKS).div_ceil(per_block);
    wanted.saturating_sub(descriptor_blocks).min(NUMBERS_PER_BLOCK)
}

/// Returns the journal's size in blocks as mke2fs chooses it; 0 for the smallest file systems.
fn journal_blocks(blocks: u64) -> u64 {
    const STEPS: [(u64, u64); 8] = [
        (2048, 0),
        (32 << 10, 1024),
        (256 << 10, 4096),
        (512 << 10, 8192),
        (4096 << 10, 16384),
        (8192 << 10, 32768),
        (16384 << 10, 65536),
        (32768 << 10, 131_072),
    ];
    let step = STEPS.iter().find(|(limit, _)| blocks < *limit);
    step.map_or(262_144, |(_, journal)| *journal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn superblocks_are_sparse() {
        let with: Vec<_> = (0..130).filter(|group| has_superblock(*group)).collect();
        assert_eq!(with, [0, 1, 3, 5, 7, 9, 25, 27, 49, 81, 125]);
    }

    #[test]
    fn a_last_group_too_small_stays_unused() {
        let size =
            |blocks: u64| Geometry::new(Kind::Ext4, blocks * BLOCK_BYTES, 0).map(|(geometry, _)| geometry.blocks);
        assert_eq!(size(GROUP_BLOCKS + 100).unwrap(), GROUP_BLOCKS);
        assert_eq!(size(GROUP_BLOCKS + 20_000).unwrap(), GROUP_BLOCKS + 20_000);
        assert!(size(63).is_err());
    }
}
