//! VMDK (VMware, "Virtual Disk Format 5.0", "Hosted Sparse Extents"): one file with a directory of tables of grains, plain or
//! compressed ("stream-optimized").

use std::sync::Arc;

use zerocopy::little_endian::U32;

use super::super::DiskError;
use super::super::area::Area;
use super::super::medium::Medium;
use super::mapped::{Map, Mapped, PACKED_BLOCK_MAX, Packing, Place};
use crate::image::containers::vmdk_records::{AT_END, Header, Marker};

const HEADER: &str = "the header of VMDK";
const DESCRIPTOR: &str = "the descriptor of VMDK";
const TABLE: &str = "a grain table of VMDK";
const GRAIN: &str = "a grain of VMDK";
const SECTOR_BYTES: u64 = 512;
/// The place of the copy of the header at the end of a stream: before the marker of the end.
const FOOTER_FROM_END: u64 = 2 * SECTOR_BYTES;
/// The longest descriptor in bytes.
const DESCRIPTOR_MAX: u64 = 64 << 10;
/// `flags`: grains are compressed, and have markers.
const FLAG_COMPRESSED: u32 = 1 << 16;
/// `compressAlgorithm`: deflate.
const DEFLATE: u16 = 1;
/// Entries that stand for a grain that is not in the file: the second one if it was overwritten by zeros.
const ABSENT: [u32; 2] = [0, 1];

#[derive(Debug)]
struct Vmdk {
    file: Area,
    /// The offset of the directory in bytes.
    directory: u64,
    table_entries: u64,
    is_packed: bool,
}

/// Opens the disk in `file`.
pub(super) fn open(file: Area) -> Result<Arc<dyn Medium>, DiskError> {
    let mut header: Header = file.record(HEADER, 0)?;
    if header.directory == AT_END {
        let place = file.size_bytes().saturating_sub(FOOTER_FROM_END);
        header = file.record(HEADER, place)?;
    }
    if header.magic != *b"KDMV" || !matches!(header.version.get(), 1..=3) {
        return Err(file.damaged(HEADER, 0, "its magic number or version is wrong"));
    }
    if has_parent(&file, &header)? {
        return Err(DiskError::Unsupported("oic does not read a VMDK with a parent".into()));
    }
    let is_packed = header.flags.get() & FLAG_COMPRESSED != 0;
    let grain_bytes = header.grain_sectors.get().saturating_mul(SECTOR_BYTES);
    let most = if is_packed { PACKED_BLOCK_MAX } else { 1 << 30 };
    let is_sound = grain_bytes.is_power_of_two() && grain_bytes <= most && header.table_entries != 0;
    if !is_sound || is_packed && header.compression != DEFLATE {
        return Err(file.damaged(HEADER, 0, "its grains are impossible"));
    }
    let Some(directory) = header.directory.get().checked_mul(SECTOR_BYTES) else {
        return Err(file.damaged(HEADER, 0, "its directory lies behind the end"));
    };
    let map = Vmdk {
        file: file.clone(),
        directory,
        table_entries: header.table_entries.get().into(),
        is_packed,
    };
    let size_bytes = header.capacity.get().saturating_mul(SECTOR_BYTES);
    Ok(Arc::new(Mapped::new(file, map, (size_bytes, grain_bytes))))
}

/// Returns whether the descriptor names a parent.
fn has_parent(file: &Area, header: &Header) -> Result<bool, DiskError> {
    let length = header
        .descriptor_sectors
        .get()
        .saturating_mul(SECTOR_BYTES)
        .min(DESCRIPTOR_MAX);
    let offset = header.descriptor_offset.get().saturating_mul(SECTOR_BYTES);
    if offset == 0 || length == 0 {
        return Ok(false);
    }
    let text = file.bytes(DESCRIPTOR, offset, length as usize)?;
    let text = String::from_utf8_lossy(&text).to_ascii_lowercase();
    let parent = text.lines().find_map(|line| line.trim().strip_prefix("parentcid="));
    Ok(parent.is_some_and(|id| id.trim() != "ffffffff"))
}

impl Map for Vmdk {
    fn place(&self, block: u64) -> Result<Place, DiskError> {
        let (outer, inner) = (block / self.table_entries, block % self.table_entries);
        let table: U32 = self.file.record(TABLE, self.directory.saturating_add(outer * 4))?;
        if ABSENT.contains(&table.get()) {
            return Ok(Place::Zeros);
        }
        let grain: U32 = self
            .file
            .record(TABLE, u64::from(table.get()) * SECTOR_BYTES + inner * 4)?;
        if ABSENT.contains(&grain.get()) {
            return Ok(Place::Zeros);
        }
        let offset = u64::from(grain.get()) * SECTOR_BYTES;
        if !self.is_packed {
            return Ok(Place::At(offset));
        }
        let marker: Marker = self.file.record(GRAIN, offset)?;
        let place = offset + size_of::<Marker>() as u64;
        Ok(Place::Packed(place, marker.size_bytes.get().into(), Packing::Zlib))
    }
}
