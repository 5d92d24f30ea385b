//! The superblock (`Documentation/filesystems/ext4/super.rst`), checked, and the places of inodes that follow from it.

use uuid::Uuid;
use zerocopy::IntoBytes as _;

use super::super::DiskError;
use super::super::area::Area;
use super::{Facts, IS_CHECKED};
use crate::image::ext4::checksum::{Seed, raw};
use crate::image::ext4::disk::{GroupDescriptor, Superblock};
use crate::image::ext4::superblock::{
    COMPAT_JOURNAL, INCOMPAT_64BIT, INCOMPAT_EXTENTS, INCOMPAT_FILETYPE, INCOMPAT_FLEX_BG, JOURNAL_INODE, MAGIC,
    RO_METADATA_CSUM, RO_SPARSE_SUPER,
};

const SUPERBLOCK: &str = "the superblock of ext4";
const DESCRIPTOR: &str = "a group descriptor of ext4";
const OFFSET: u64 = 1024;
/// The largest `s_log_block_size`: blocks of 64 KiB.
const LOG_BLOCK_MAX: u32 = 6;
/// The size of an inode, and of a group descriptor, in file systems that do not say it.
const OLD_INODE_BYTES: u16 = 128;
const OLD_DESCRIPTOR_BYTES: u64 = 32;

const COMPAT_SPARSE_SUPER2: u32 = 0x200;
const INCOMPAT_RECOVER: u32 = 0x4;
const INCOMPAT_META_BG: u32 = 0x10;
const INCOMPAT_CSUM_SEED: u32 = 0x2000;
const INCOMPAT_LARGEDIR: u32 = 0x4000;
/// The incompatible features that this reader knows; besides the named ones `mmp`, `ea_inode`, `inline_data`, `encrypt` and
/// `casefold`, which matter for single files or for none.
const INCOMPAT_KNOWN: u32 = INCOMPAT_FILETYPE
    | INCOMPAT_RECOVER
    | INCOMPAT_META_BG
    | INCOMPAT_EXTENTS
    | INCOMPAT_64BIT
    | INCOMPAT_FLEX_BG
    | INCOMPAT_CSUM_SEED
    | INCOMPAT_LARGEDIR
    | 0x100
    | 0x400
    | 0x8000
    | 0x1_0000
    | 0x2_0000;

/// The names of the features, as dumpe2fs(8) gives them: the word (compatible, incompatible, read-only), the bit, the name.
const NAMES: &[(usize, u32, &str)] = &[
    (0, 0x1, "dir_prealloc"),
    (0, 0x4, "has_journal"),
    (0, 0x8, "ext_attr"),
    (0, 0x10, "resize_inode"),
    (0, 0x20, "dir_index"),
    (0, 0x200, "sparse_super2"),
    (0, 0x400, "fast_commit"),
    (0, 0x800, "stable_inodes"),
    (0, 0x1000, "orphan_file"),
    (1, 0x1, "compression"),
    (1, 0x2, "filetype"),
    (1, 0x4, "needs_recovery"),
    (1, 0x8, "journal_dev"),
    (1, 0x10, "meta_bg"),
    (1, 0x40, "extent"),
    (1, 0x80, "64bit"),
    (1, 0x100, "mmp"),
    (1, 0x200, "flex_bg"),
    (1, 0x400, "ea_inode"),
    (1, 0x1000, "dirdata"),
    (1, 0x2000, "metadata_csum_seed"),
    (1, 0x4000, "large_dir"),
    (1, 0x8000, "inline_data"),
    (1, 0x1_0000, "encrypt"),
    (1, 0x2_0000, "casefold"),
    (2, 0x1, "sparse_super"),
    (2, 0x2, "large_file"),
    (2, 0x8, "huge_file"),
    (2, 0x10, "uninit_bg"),
    (2, 0x20, "dir_nlink"),
    (2, 0x40, "extra_isize"),
    (2, 0x100, "quota"),
    (2, 0x200, "bigalloc"),
    (2, 0x400, "metadata_csum"),
    (2, 0x2000, "project"),
    (2, 0x8000, "verity"),
    (2, 0x1_0000, "orphan_present"),
];

/// The superblock, checked.
#[derive(Debug)]
pub(super) struct Head {
    record: Superblock,
    /// The size of a block in bytes.
    pub(super) block_bytes: u64,
    /// The number of blocks.
    pub(super) blocks: u64,
    /// The size of an inode in bytes: 128 to the size of a block.
    pub(super) inode_bytes: usize,
    /// The state from which checksums start.
    pub(super) seed: Seed,
    blocks_per_group: u64,
    descriptor_bytes: u64,
}

/// Returns whether `area` has the magic number of the family.
pub(super) fn is_at(area: &Area) -> Result<bool, DiskError> {
    if area.size_bytes() < OFFSET + size_of::<Superblock>() as u64 {
        return Ok(false);
    }
    let record: Superblock = area.record(SUPERBLOCK, OFFSET)?;
    Ok(record.magic == MAGIC)
}

impl Head {
    /// Reads and checks the superblock of the file system in `area`.
    pub(super) fn read(area: &Area) -> Result<Self, DiskError> {
        let record: Superblock = area.record(SUPERBLOCK, OFFSET)?;
        let damaged = |problem: &str| area.damaged(SUPERBLOCK, OFFSET, problem);
        if record.magic != MAGIC {
            return Err(damaged("its magic number is wrong"));
        }
        let unknown = record.feature_incompat.get() & !INCOMPAT_KNOWN;
        if unknown != 0 {
            let features = names(1, unknown).join(", ");
            return Err(DiskError::Unsupported(format!(
                "oic does not read a file system of the ext family with {features}"
            )));
        }
        let has_checksums = record.feature_ro_compat.get() & RO_METADATA_CSUM != 0;
        let covered = record.as_bytes().split_last_chunk::<4>().map(|(covered, _)| covered);
        if IS_CHECKED && has_checksums && covered.map(|covered| raw(!0, covered)) != Some(record.checksum.get()) {
            return Err(damaged("its checksum is wrong"));
        }
        let head = Self::of(record).map_err(damaged)?;
        if head.blocks > area.size_bytes() / head.block_bytes {
            return Err(damaged(
                "it has more blocks than the partition, or the image is cut short",
            ));
        }
        Ok(head)
    }

    /// Takes the sizes from the superblock, or says which one is impossible.
    fn of(record: Superblock) -> Result<Self, &'static str> {
        let is_old = record.rev_level == 0;
        if record.log_block_size > LOG_BLOCK_MAX || record.rev_level > 1 {
            return Err("its block size or revision is impossible");
        }
        let block_bytes = 1024_u64 << record.log_block_size.get();
        let is_64bit = record.feature_incompat.get() & INCOMPAT_64BIT != 0;
        let high = if is_64bit {
            u64::from(record.blocks_count_hi.get())
        } else {
            0
        };
        let blocks = high << 32 | u64::from(record.blocks_count_lo.get());
        let inode_bytes = if is_old {
            OLD_INODE_BYTES
        } else {
            record.inode_size.get()
        };
        if !inode_bytes.is_power_of_two() || inode_bytes < OLD_INODE_BYTES || u64::from(inode_bytes) > block_bytes {
            return Err("its inode size is impossible");
        }
        let descriptor_bytes = match is_64bit {
            true => u64::from(record.desc_size.get()),
            false => OLD_DESCRIPTOR_BYTES,
        };
        if !descriptor_bytes.is_power_of_two() || !(OLD_DESCRIPTOR_BYTES..=block_bytes).contains(&descriptor_bytes) {
            return Err("the size of its group descriptors is impossible");
        }
        let blocks_per_group = u64::from(record.blocks_per_group.get());
        if blocks_per_group == 0 || record.inodes_per_group == 0 || blocks == 0 {
            return Err("its groups are empty");
        }
        if u64::from(record.first_data_block.get()) >= blocks {
            return Err("its first block lies behind the last one");
        }
        let has_checksums = record.feature_ro_compat.get() & RO_METADATA_CSUM != 0;
        let seed = match record.feature_incompat.get() & INCOMPAT_CSUM_SEED != 0 && has_checksums {
            true => Seed::stored(record.checksum_seed.get()),
            false => Seed::new(&record.uuid, has_checksums),
        };
        Ok(Self {
            block_bytes,
            blocks,
            inode_bytes: usize::from(inode_bytes),
            seed,
            blocks_per_group,
            descriptor_bytes,
            record,
        })
    }

    /// Returns the facts for people.
    pub(super) fn facts(&self) -> Facts {
        let record = &self.record;
        let words = [
            &record.feature_compat,
            &record.feature_incompat,
            &record.feature_ro_compat,
        ];
        let features: Vec<String> = (0..)
            .zip(words)
            .flat_map(|(word, bits)| names(word, bits.get()))
            .collect();
        let is_ext4 = record.feature_incompat.get() & !(INCOMPAT_FILETYPE | INCOMPAT_RECOVER | INCOMPAT_META_BG) != 0;
        let kind = match (is_ext4, record.feature_compat.get() & COMPAT_JOURNAL != 0) {
            (true, _) => "ext4",
            (false, true) => "ext3",
            (false, false) => "ext2",
        };
        let label = record.volume_name.split(|byte| *byte == 0).next().unwrap_or_default();
        let free_high = u64::from(record.free_blocks_count_hi.get()) << 32;
        Facts {
            kind,
            label: String::from_utf8_lossy(label).into_owned(),
            uuid: Uuid::from_bytes(record.uuid),
            block_bytes: self.block_bytes,
            blocks: self.blocks,
            free_blocks: free_high | u64::from(record.free_blocks_count_lo.get()),
            inodes: record.inodes_count.get(),
            free_inodes: record.free_inodes_count.get(),
            features,
            replayed_blocks: None,
        }
    }

    /// Returns whether the journal has blocks that are not at their places.
    pub(super) fn needs_journal(&self) -> bool {
        self.has_incompat(INCOMPAT_RECOVER)
    }

    /// Returns the inode of the journal, `None` if the journal is on another disk.
    pub(super) fn journal_inode(&self) -> Option<u32> {
        (self.record.journal_inum == JOURNAL_INODE).then_some(JOURNAL_INODE)
    }

    /// Returns whether entries of directories have the kind of their inodes.
    pub(super) fn has_file_types(&self) -> bool {
        self.has_incompat(INCOMPAT_FILETYPE)
    }

    /// Returns whether block numbers have more than 32 bits.
    pub(super) fn is_64bit(&self) -> bool {
        self.has_incompat(INCOMPAT_64BIT)
    }

    /// Returns whether directories may be larger than 2 GiB.
    pub(super) fn has_large_directories(&self) -> bool {
        self.has_incompat(INCOMPAT_LARGEDIR)
    }

    fn has_incompat(&self, feature: u32) -> bool {
        self.record.feature_incompat.get() & feature != 0
    }

    /// Returns the number of inodes that are in use.
    pub(super) fn used_inodes(&self) -> u64 {
        let used = self
            .record
            .inodes_count
            .get()
            .saturating_sub(self.record.free_inodes_count.get());
        used.into()
    }

    /// Finds the offset of inode `number` in bytes; `None` if there is no such inode.
    pub(super) fn inode_offset(&self, area: &Area, number: u32) -> Result<Option<u64>, DiskError> {
        let Some(index) = number
            .checked_sub(1)
            .filter(|_| number <= self.record.inodes_count.get())
        else {
            return Ok(None);
        };
        let per_group = self.record.inodes_per_group.get();
        let table = self.inode_table(area, index / per_group)?;
        let within = u64::from(index % per_group) * self.inode_bytes as u64;
        Ok(Some(table.saturating_mul(self.block_bytes).saturating_add(within)))
    }

    /// Reads the place of the inode table of `group`, in blocks.
    fn inode_table(&self, area: &Area, group: u32) -> Result<u64, DiskError> {
        let offset = self.descriptor_offset(group);
        let mut record: GroupDescriptor = zerocopy::FromZeros::new_zeroed();
        let length = (self.descriptor_bytes as usize).min(size_of::<GroupDescriptor>());
        let bytes = area.bytes(DESCRIPTOR, offset, self.descriptor_bytes as usize)?;
        record.as_mut_bytes()[..length].copy_from_slice(&bytes[..length]);
        if IS_CHECKED && self.seed.is_active() {
            let mut covered = bytes;
            // The checksum itself.
            covered[30..32].fill(0);
            let sum = self.seed.over(&[&group.to_le_bytes(), &covered]).unwrap_or_default();
            if sum as u16 != record.checksum.get() {
                return Err(area.damaged(DESCRIPTOR, offset, format!("the checksum of group {group} is wrong")));
            }
        }
        let high = if self.is_64bit() {
            u64::from(record.inode_table_hi.get())
        } else {
            0
        };
        Ok(high << 32 | u64::from(record.inode_table_lo.get()))
    }

    /// Returns the offset of the descriptor of `group` in bytes.
    fn descriptor_offset(&self, group: u32) -> u64 {
        let group = u64::from(group);
        let per_block = self.block_bytes / self.descriptor_bytes;
        let (meta_group, first) = (group / per_block, u64::from(self.record.first_data_block.get()));
        let is_meta = self.has_incompat(INCOMPAT_META_BG) && meta_group >= u64::from(self.record.first_meta_bg.get());
        let block = match is_meta {
            // Behind the superblock.
            false => OFFSET / self.block_bytes + 1 + meta_group,
            // In the first group of those that it describes, behind a superblock.
            true => {
                let at = meta_group * per_block;
                let start = at.saturating_mul(self.blocks_per_group).saturating_add(first);
                start.saturating_add(self.superblock_blocks(at))
            }
        };
        let within = group % per_block * self.descriptor_bytes;
        block.saturating_mul(self.block_bytes).saturating_add(within)
    }

    /// Returns the blocks at the start of `group` up to its superblock's end.
    fn superblock_blocks(&self, group: u64) -> u64 {
        // The first superblock is in block 1 where blocks have 1024 bytes, also if the first group begins with block 0.
        let is_behind = group == 0 && self.block_bytes == OFFSET && self.record.first_data_block == 0;
        u64::from(self.has_superblock(group)) + u64::from(is_behind)
    }

    /// Returns whether `group` has a copy of the superblock.
    fn has_superblock(&self, group: u64) -> bool {
        let is_power = |base: u64| {
            let mut power = base;
            while power < group {
                power *= base;
            }
            power == group
        };
        if group == 0 {
            return true;
        }
        if self.record.feature_compat.get() & COMPAT_SPARSE_SUPER2 != 0 {
            return self
                .record
                .backup_groups
                .iter()
                .any(|backup| u64::from(backup.get()) == group);
        }
        let is_sparse = self.record.feature_ro_compat.get() & RO_SPARSE_SUPER != 0;
        !is_sparse || group == 1 || [3, 5, 7].into_iter().any(is_power)
    }
}

/// Returns the names of the features `bits` of a word.
fn names(word: usize, bits: u32) -> Vec<String> {
    let set = (0..32).map(|bit| 1_u32 << bit).filter(|bit| bits & bit != 0);
    let name = |bit: u32| {
        let known = NAMES.iter().find(|known| (known.0, known.1) == (word, bit));
        known.map_or_else(|| format!("feature {bit:#x}"), |known| known.2.to_owned())
    };
    set.map(name).collect()
}
