//! Sets what `mke2fs -d` takes from the clock: access, change and creation times
//! come from the run (1.47.0 copies them from the source), and the root
//! directory is not copied at all.
//!
//! Layout from the kernel's documentation of ext4 ("Data Structures and
//! Algorithms"): superblock, group descriptors, inode table, checksums.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::{ExtError, RootInode, Spec};
use crate::durable::PathError;

const ROOT_INODE: u32 = 2;
const INCOMPAT_64BIT: u32 = 0x80;
const INCOMPAT_CSUM_SEED: u32 = 0x2000;
const RO_COMPAT_METADATA_CSUM: u32 = 0x400;
const GROUP_INODE_UNINIT: u16 = 1;

/// Rewrites the times of all inodes in use, and the root directory's owner and mode.
pub(super) fn normalize(raw: &Path, source: Option<&Path>, spec: &Spec) -> Result<(), ExtError> {
    let root = source.map(RootInode::of).transpose()?;
    let file = File::options()
        .read(true)
        .write(true)
        .open(raw)
        .map_err(PathError::on("open", raw))?;
    let volume = Volume { file, raw, spec };
    let layout = Layout::parse(&volume.read(1024, 1024)?).map_err(|what| volume.broken(what))?;
    for group in 0..layout.groups {
        let descriptor = volume.read(
            u64::from(layout.first_block + 1) * layout.block_bytes + u64::from(group) * layout.descriptor_bytes,
            layout.descriptor_bytes as usize,
        )?;
        let (table_block, used) = layout
            .inode_table(&descriptor)
            .ok_or_else(|| volume.broken("group descriptor"))?;
        let offset = table_block.saturating_mul(layout.block_bytes);
        if used == 0 || offset.saturating_add(u64::from(used) * layout.inode_bytes) > spec.size_bytes {
            continue;
        }
        let table = volume.read(offset, used as usize * layout.inode_bytes as usize)?;
        let per_block = (layout.block_bytes / layout.inode_bytes) as u32;
        let first = group * layout.inodes_per_group + 1;
        let blocks = (first..)
            .step_by(per_block as usize)
            .zip(table.chunks(layout.block_bytes as usize));
        for ((first, before), place) in blocks.zip((offset..).step_by(layout.block_bytes as usize)) {
            let mut block = before.to_vec();
            for (number, inode) in (first..).zip(block.chunks_exact_mut(layout.inode_bytes as usize)) {
                let root = root.as_ref().filter(|_| number == ROOT_INODE);
                layout.set(inode, number, root, spec.epoch_seconds.max(1));
            }
            // Blocks without a used inode stay holes.
            if block != before {
                volume.write(place, &block)?;
            }
        }
    }
    Ok(())
}

struct Volume<'a> {
    file: File,
    raw: &'a Path,
    spec: &'a Spec,
}

impl Volume<'_> {
    fn read(&self, offset: u64, count: usize) -> Result<Vec<u8>, ExtError> {
        let mut buffer = vec![0; count];
        self.file
            .read_exact_at(&mut buffer, self.spec.offset_bytes.saturating_add(offset))
            .map_err(PathError::on("read", self.raw))?;
        Ok(buffer)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), ExtError> {
        self.file
            .write_all_at(bytes, self.spec.offset_bytes.saturating_add(offset))
            .map_err(|e| PathError::on("write", self.raw)(e).into())
    }

    fn broken(&self, what: &'static str) -> ExtError {
        ExtError::Format {
            path: self.raw.to_owned(),
            what,
        }
    }
}

/// What is needed of the superblock.
struct Layout {
    block_bytes: u64,
    first_block: u32,
    groups: u32,
    inodes_per_group: u32,
    inode_bytes: u64,
    descriptor_bytes: u64,
    /// Seed of the metadata checksums, if there are any.
    seed: Option<u32>,
}

impl Layout {
    fn parse(superblock: &[u8]) -> Result<Self, &'static str> {
        let u32_at = |offset| get::<4>(superblock, offset).map(u32::from_le_bytes).ok_or("superblock");
        let u16_at = |offset| get::<2>(superblock, offset).map(u16::from_le_bytes).ok_or("superblock");
        if u16_at(56)? != 0xef53 {
            return Err("no superblock");
        }
        let (incompat, ro_compat) = (u32_at(96)?, u32_at(100)?);
        let seed = if ro_compat & RO_COMPAT_METADATA_CSUM == 0 {
            None
        } else if incompat & INCOMPAT_CSUM_SEED != 0 {
            Some(u32_at(0x270)?)
        } else {
            Some(crc32c(!0, superblock.get(104..120).ok_or("superblock")?))
        };
        let (inodes, inodes_per_group) = (u32_at(0)?, u32_at(40)?);
        let layout = Self {
            block_bytes: 1024_u64.checked_shl(u32_at(24)?).unwrap_or(0),
            first_block: u32_at(20)?,
            groups: inodes.checked_div(inodes_per_group).ok_or("no inodes")?,
            inodes_per_group,
            inode_bytes: u64::from(u16_at(88)?),
            descriptor_bytes: if incompat & INCOMPAT_64BIT != 0 {
                u64::from(u16_at(0xfe)?)
            } else {
                32
            },
            seed,
        };
        // mke2fs was told so.
        let expected = layout.block_bytes == 4096 && layout.inode_bytes == 256 && layout.first_block == 0;
        let sane = matches!(layout.descriptor_bytes, 32 | 64) && inodes_per_group <= 8 * 4096;
        if expected && sane {
            Ok(layout)
        } else {
            Err("superblock")
        }
    }

    /// First block of a group's inode table and how many of its inodes may be in use.
    fn inode_table(&self, descriptor: &[u8]) -> Option<(u64, u32)> {
        let low = u32::from_le_bytes(get(descriptor, 8)?);
        let high = if self.descriptor_bytes == 64 {
            u32::from_le_bytes(get(descriptor, 0x28)?)
        } else {
            0
        };
        let block = u64::from(high) << 32 | u64::from(low);
        // Without checksums the flags and the count of unused inodes are not kept.
        let Some(_) = self.seed else {
            return Some((block, self.inodes_per_group));
        };
        let flags = u16::from_le_bytes(get(descriptor, 0x12)?);
        let unused_high = if self.descriptor_bytes == 64 {
            u16::from_le_bytes(get(descriptor, 0x32)?)
        } else {
            0
        };
        let unused = u32::from(unused_high) << 16 | u32::from(u16::from_le_bytes(get(descriptor, 0x1c)?));
        let used = if flags & GROUP_INODE_UNINIT != 0 {
            0
        } else {
            self.inodes_per_group.saturating_sub(unused)
        };
        Some((block, used))
    }

    /// Sets the times of one inode (256 bytes), and its checksum.
    fn set(&self, inode: &mut [u8], number: u32, root: Option<&RootInode>, epoch: u64) {
        let is_free = get::<2>(inode, 0) == Some([0; 2]) && get::<2>(inode, 26) == Some([0; 2]);
        if is_free {
            return;
        }
        let mut mtime = stored_time(inode, 16, 136);
        if let Some(root) = root {
            let mode = 0x4000 | (root.mode & 0o7777) as u16;
            put(inode, 0, &mode.to_le_bytes());
            put_halves(inode, root.uid, 2, 120);
            put_halves(inode, root.gid, 24, 122);
            mtime = (i64::try_from(root.mtime_seconds).unwrap_or(i64::MAX), 0);
        }
        let epoch = (i64::try_from(epoch).unwrap_or(i64::MAX), 0);
        for (time, low, extra) in [
            (epoch, 8, 140),
            (epoch, 12, 132),
            (mtime.min(epoch), 16, 136),
            (epoch, 144, 148),
        ] {
            // 34 bits of seconds: the low 32 are signed, two more count what overflows.
            let seconds = time.0;
            let overflow = (seconds.wrapping_sub(i64::from(seconds as i32)) >> 32) as u32 & 3;
            put(inode, low, &(seconds as u32).to_le_bytes());
            put(inode, extra, &(time.1 << 2 | overflow).to_le_bytes());
        }
        if let Some(seed) = self.seed {
            put_halves(inode, 0, 124, 130);
            let generation: [u8; 4] = get(inode, 100).unwrap_or_default();
            let checksum = crc32c(crc32c(crc32c(seed, &number.to_le_bytes()), &generation), inode);
            put_halves(inode, checksum, 124, 130);
        }
    }
}

/// Seconds and nanoseconds of a stored time.
fn stored_time(inode: &[u8], low: usize, extra: usize) -> (i64, u32) {
    let seconds = i32::from_le_bytes(get(inode, low).unwrap_or_default());
    let extra = u32::from_le_bytes(get(inode, extra).unwrap_or_default());
    (i64::from(seconds) + (i64::from(extra & 3) << 32), extra >> 2)
}

fn get<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..offset.checked_add(N)?)?.try_into().ok()
}

fn put(bytes: &mut [u8], offset: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(offset..offset + value.len()) {
        place.copy_from_slice(value);
    }
}

/// Puts the low and the high half of `value` at two places.
fn put_halves(bytes: &mut [u8], value: u32, low: usize, high: usize) {
    put(bytes, low, &(value as u16).to_le_bytes());
    put(bytes, high, &((value >> 16) as u16).to_le_bytes());
}

const CRC32C_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = value >> 1 ^ if value & 1 == 1 { 0x82f6_3b78 } else { 0 };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
};

/// CRC-32C continued from `crc`, without the inversions at start and end (as ext4 uses it).
fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .fold(crc, |crc, byte| crc >> 8 ^ CRC32C_TABLE[(crc as u8 ^ byte) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value of CRC-32C (RFC 3720, B.4, is the same polynomial).
    #[test]
    fn known_checksum() {
        assert_eq!(!crc32c(!0, b"123456789"), 0xe306_9283);
    }
}
