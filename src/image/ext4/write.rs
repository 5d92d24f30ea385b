//! Writes the metadata of a plan.

use super::Spec;
use super::geometry::{BLOCK_BYTES, GROUP_BLOCKS, Geometry, INODE_BYTES};
use super::plan::Plan;
use super::superblock::{
    Descriptor, GROUP_BLOCK_UNINIT, GROUP_INODE_UNINIT, GROUP_ZEROED, JOURNAL_INODE, Usage, journal_head, superblock,
};
use crate::durable::PathError;
use crate::image::region::Region;

/// The primary superblock leaves place for a boot sector.
const SUPERBLOCK_OFFSET_BYTES: u64 = 1024;
/// `S_IFDIR` among the bits of `S_IFMT`.
const KIND_BITS: u16 = 0xf000;
const DIRECTORY_BITS: u16 = 0x4000;

/// Writes all metadata of `plan`; the contents of files are not written here.
pub(super) fn metadata(region: Region<'_>, spec: &Spec, plan: &Plan) -> Result<(), PathError> {
    let writer = Writer { region, spec, plan };
    for (block, bytes) in &plan.blocks {
        writer.put(block * BLOCK_BYTES, bytes)?;
    }
    if let Some(block) = plan.journal {
        writer.put(block * BLOCK_BYTES, &journal_head(spec, plan.geometry.journal_blocks))?;
    }
    writer.inode_tables()?;
    writer.groups()
}

struct Writer<'a> {
    region: Region<'a>,
    spec: &'a Spec,
    plan: &'a Plan,
}

impl Writer<'_> {
    fn put(&self, offset_bytes: u64, bytes: &[u8]) -> Result<(), PathError> {
        self.region.put(offset_bytes, bytes)
    }

    /// Writes the inodes of each group, up to the last one in use.
    fn inode_tables(&self) -> Result<(), PathError> {
        let per_group = self.plan.geometry.inodes_per_group;
        let mut rest = self.plan.inodes.as_slice();
        for group in 0..self.plan.geometry.group_count() {
            let first = group * per_group + 1;
            let count = rest.partition_point(|inode| inode.number - first < per_group);
            let (inodes, behind) = rest.split_at(count);
            rest = behind;
            let Some(last) = inodes.last() else { break };
            let mut table = vec![0; (last.number - first + 1) as usize * INODE_BYTES];
            for inode in inodes {
                let place = (inode.number - first) as usize * INODE_BYTES;
                table[place..place + INODE_BYTES].copy_from_slice(&inode.encode(self.spec.epoch(), self.plan.seed));
            }
            // Whole blocks, so that an earlier image's inodes do not shine through.
            table.resize(table.len().next_multiple_of(BLOCK_BYTES as usize), 0);
            if let Some(offset_bytes) = self.plan.geometry.inode_offset_bytes(first) {
                self.put(offset_bytes, &table)?;
            }
        }
        Ok(())
    }

    /// Writes bitmaps, descriptors and superblocks.
    fn groups(&self) -> Result<(), PathError> {
        let geometry = &self.plan.geometry;
        let (mut descriptors, mut free_blocks, mut free_inodes) = (Vec::new(), 0, 0);
        for group in 0..geometry.group_count() {
            let descriptor = self.group(group)?;
            free_blocks += u64::from(descriptor.free_blocks);
            free_inodes += descriptor.free_inodes;
            descriptors.extend(descriptor.encode(group, self.spec.kind, self.plan.seed));
        }
        descriptors.resize((geometry.descriptor_blocks * BLOCK_BYTES) as usize, 0);
        let journal = self.plan.inodes.iter().find(|inode| inode.number == JOURNAL_INODE);
        let usage = Usage {
            free_blocks,
            free_inodes,
            journal: journal.map(|inode| (inode.place, inode.size_bytes)),
        };
        for group in geometry.backups() {
            let start = geometry.range(group).start * BLOCK_BYTES;
            self.put(start, &superblock(self.spec, geometry, &usage, group))?;
            self.put(start + BLOCK_BYTES, &descriptors)?;
        }
        self.put(BLOCK_BYTES, &descriptors)?;
        self.put(SUPERBLOCK_OFFSET_BYTES, &superblock(self.spec, geometry, &usage, 0))
    }

    /// Writes the bitmaps of `group` where they are needed, and returns its descriptor.
    fn group(&self, group: u32) -> Result<Descriptor, PathError> {
        let Plan {
            geometry, space, seed, ..
        } = self.plan;
        let place = geometry.groups[group as usize];
        let range = geometry.range(group);
        let used = space.used_in(range);
        let inodes = self.inodes_used(geometry, group);
        let mut flags = GROUP_ZEROED;
        let mut checksums = (0, 0);
        // The kernel takes the group's own superblock and descriptors into account itself. The last group's bitmap is
        // always written, since the file system may end within it.
        let is_untouched = used == geometry.base(group).count && group + 1 < geometry.group_count();
        if is_untouched && seed.is_active() {
            flags |= GROUP_BLOCK_UNINIT;
        } else {
            let bitmap = space.bitmap(range.start, GROUP_BLOCKS);
            checksums.0 = seed.over(&[&bitmap]).unwrap_or(0);
            self.put(place.block_bitmap * BLOCK_BYTES, &bitmap)?;
        }
        if inodes == 0 && seed.is_active() {
            flags |= GROUP_INODE_UNINIT;
        } else {
            let bitmap = inode_bitmap(inodes, geometry.inodes_per_group);
            let covered = &bitmap[..(geometry.inodes_per_group / 8) as usize];
            checksums.1 = seed.over(&[covered]).unwrap_or(0);
            self.put(place.inode_bitmap * BLOCK_BYTES, &bitmap)?;
        }
        Ok(Descriptor {
            group: place,
            free_blocks: (range.count - used) as u32,
            free_inodes: geometry.inodes_per_group - inodes,
            directories: self.directories(geometry, group),
            unused_inodes: geometry.inodes_per_group - inodes,
            flags,
            block_bitmap_checksum: checksums.0,
            inode_bitmap_checksum: checksums.1,
        })
    }

    /// Returns the number of inodes in use in `group`: all up to the last one.
    fn inodes_used(&self, geometry: &Geometry, group: u32) -> u32 {
        let last = self.plan.inodes.last().map_or(0, |inode| inode.number);
        last.saturating_sub(group * geometry.inodes_per_group)
            .min(geometry.inodes_per_group)
    }

    fn directories(&self, geometry: &Geometry, group: u32) -> u32 {
        let first = group * geometry.inodes_per_group;
        let inodes = self.plan.inodes.as_slice();
        let start = inodes.partition_point(|inode| inode.number <= first);
        let end = inodes.partition_point(|inode| inode.number <= first + geometry.inodes_per_group);
        let is_directory = |inode: &&super::inode::Inode| inode.mode & KIND_BITS == DIRECTORY_BITS;
        inodes[start..end].iter().filter(is_directory).count() as u32
    }
}

/// Makes a bitmap of `inodes` inodes, the first `used` in use; bits behind the last inode are set too.
fn inode_bitmap(used: u32, inodes: u32) -> Vec<u8> {
    let mut bitmap = vec![0_u8; BLOCK_BYTES as usize];
    let mut mark = |bits: std::ops::Range<u32>| {
        for bit in bits {
            bitmap[(bit / 8) as usize] |= 1 << (bit % 8);
        }
    };
    mark(0..used);
    mark(inodes..GROUP_BLOCKS as u32);
    bitmap
}
