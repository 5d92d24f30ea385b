//! VHD ("Virtual Hard Disk Image Format Specification", version 1.0), fixed and dynamic.

use std::sync::Arc;

use zerocopy::big_endian::U32;
use zerocopy::{FromBytes, IntoBytes as _};

use super::super::DiskError;
use super::super::area::Area;
use super::super::medium::Medium;
use super::mapped::{Map, Mapped, Place};
use crate::image::containers::vhd::{DynamicHeader, Footer, checksum};

const FOOTER: &str = "the footer of VHD";
const HEADER: &str = "the header of VHD";
const TABLE: &str = "the table of VHD";
const SECTOR_BYTES: u64 = 512;
const COOKIE: &[u8; 8] = b"conectix";
/// "Disk Type".
const FIXED: u32 = 2;
const DYNAMIC: u32 = 3;
/// The entry of a block that is not in the file.
const ABSENT: u32 = u32::MAX;

/// A disk that is the file but for its footer.
#[derive(Debug)]
struct Fixed;

impl Map for Fixed {
    fn place(&self, block: u64) -> Result<Place, DiskError> {
        Ok(Place::At(block.saturating_mul(BLOCK_BYTES)))
    }
}

/// The block in which a fixed disk is read; larger than any that can be compressed.
const BLOCK_BYTES: u64 = 1 << 30;

#[derive(Debug)]
struct Dynamic {
    file: Area,
    table: u64,
    entries: u64,
    /// The bytes of the bitmap in front of each block.
    bitmap_bytes: u64,
}

/// Opens the disk in `file`, which begins with `start`; `None` if it is no VHD. A fixed one has its footer at the end alone.
pub(super) fn open(file: &Area, start: &[u8]) -> Result<Option<Arc<dyn Medium>>, DiskError> {
    let end = file.size_bytes().saturating_sub(SECTOR_BYTES);
    let footer = match Footer::read_from_prefix(start) {
        Ok((footer, _)) if footer.cookie == *COOKIE => footer,
        Ok(_) => file.record(FOOTER, end)?,
        Err(_) => return Ok(None),
    };
    let is_right = footer.cookie == *COOKIE && sum_is_right(&footer, footer.checksum.get());
    let size_bytes = footer.current_size.get();
    match footer.kind.get() {
        _ if !is_right => Ok(None),
        FIXED if size_bytes <= end => Ok(Some(Arc::new(Mapped::new(
            file.clone(),
            Fixed,
            (size_bytes, BLOCK_BYTES),
        )))),
        FIXED => Err(file.damaged(FOOTER, end, "the disk is larger than the file")),
        DYNAMIC => dynamic(file, footer.data_offset.get(), size_bytes).map(Some),
        _ => Err(DiskError::Unsupported("oic does not read a VHD with a parent".into())),
    }
}

fn sum_is_right(footer: &Footer, sum: u32) -> bool {
    let mut covered = footer.clone();
    covered.checksum = 0.into();
    checksum(covered.as_bytes()) == sum
}

fn dynamic(file: &Area, offset: u64, size_bytes: u64) -> Result<Arc<dyn Medium>, DiskError> {
    let header: DynamicHeader = file.record(HEADER, offset)?;
    let block_bytes = u64::from(header.block_bytes.get());
    let entries = u64::from(header.entries.get());
    let is_sound = header.cookie == *b"cxsparse" && block_bytes.is_power_of_two() && block_bytes >= SECTOR_BYTES;
    if !is_sound || size_bytes.div_ceil(block_bytes.max(1)) > entries {
        return Err(file.damaged(HEADER, offset, "its sizes are impossible"));
    }
    let map = Dynamic {
        file: file.clone(),
        table: header.table_offset.get(),
        entries,
        bitmap_bytes: (block_bytes / SECTOR_BYTES / 8).next_multiple_of(SECTOR_BYTES),
    };
    Ok(Arc::new(Mapped::new(file.clone(), map, (size_bytes, block_bytes))))
}

impl Map for Dynamic {
    fn place(&self, block: u64) -> Result<Place, DiskError> {
        if block >= self.entries {
            return Err(self.file.damaged(TABLE, self.table, "it is too short for the disk"));
        }
        let entry: U32 = self.file.record(TABLE, self.table.saturating_add(block * 4))?;
        Ok(match entry.get() {
            ABSENT => Place::Zeros,
            sector => Place::At(u64::from(sector) * SECTOR_BYTES + self.bitmap_bytes),
        })
    }
}
