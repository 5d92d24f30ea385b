//! VHDX ([MS-VHDX]): two headers, two region tables, the metadata and the block allocation table (BAT).

use std::sync::Arc;

use uuid::Uuid;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, IntoBytes as _};

use super::super::DiskError;
use super::super::area::Area;
use super::super::medium::Medium;
use super::mapped::{Map, Mapped, Place};
use crate::image::containers::vhdx::{BAT, FILE_PARAMETERS, LOGICAL_SECTOR_SIZE, METADATA, VIRTUAL_DISK_SIZE};
use crate::image::containers::vhdx_records::{FileHeader, FileParameters, MetadataEntry, MetadataTable, RegionEntry};

const HEADER: &str = "the header of VHDX";
const REGIONS: &str = "the region table of VHDX";
const ITEMS: &str = "the metadata of VHDX";
const TABLE: &str = "the block allocation table of VHDX";
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
/// The offsets of the two headers and of the two region tables in bytes (section 2.2).
const HEADERS: [u64; 2] = [64 * KIB, 128 * KIB];
const REGION_TABLES: [u64; 2] = [192 * KIB, 256 * KIB];
const REGION_TABLE_BYTES: usize = 64 << 10;
/// The most entries of the two tables (sections 2.2.3 and 2.6.1).
const REGIONS_MAX: usize = 2047;
const ITEMS_MAX: u16 = 2047;
/// `FileParameters`: the disk has a parent (section 2.6.2.1).
const HAS_PARENT: u32 = 1 << 1;
/// The states of a block (section 2.5.1.1): the two that lie in the file.
const FULLY_PRESENT: u64 = 6;
const PARTIALLY_PRESENT: u64 = 7;

#[derive(Debug)]
struct Vhdx {
    file: Area,
    /// The BAT: its offset and length in bytes.
    bat: (u64, u64),
    chunk_ratio: u64,
}

/// Opens the disk in `file`.
pub(super) fn open(file: Area) -> Result<Arc<dyn Medium>, DiskError> {
    let header = current_header(&file)?;
    if header.log != [0; 16] {
        return Err(DiskError::Unsupported(
            "the VHDX was not closed: its log was not replayed".into(),
        ));
    }
    let regions = regions(&file)?;
    let find = |id: Uuid| {
        let found = regions.iter().find(|entry| entry.id == id.to_bytes_le());
        let place = found.map(|entry| (entry.offset.get(), u64::from(entry.length.get())));
        place.ok_or_else(|| file.damaged(REGIONS, REGION_TABLES[0], "a region is missing"))
    };
    let (bat, metadata) = (find(BAT)?, find(METADATA)?);
    let parameters: FileParameters = item(&file, metadata, FILE_PARAMETERS)?;
    let size: U64 = item(&file, metadata, VIRTUAL_DISK_SIZE)?;
    let sector: U32 = item(&file, metadata, LOGICAL_SECTOR_SIZE)?;
    if parameters.flags.get() & HAS_PARENT != 0 {
        return Err(DiskError::Unsupported("oic does not read a VHDX with a parent".into()));
    }
    let (block_bytes, sector_bytes) = (u64::from(parameters.block_bytes.get()), u64::from(sector.get()));
    let is_sound = block_bytes.is_power_of_two() && (MIB..=256 * MIB).contains(&block_bytes);
    if !is_sound || !matches!(sector_bytes, 512 | 4096) {
        return Err(file.damaged(ITEMS, metadata.0, "its block or sector size is impossible"));
    }
    let map = Vhdx {
        file: file.clone(),
        bat,
        chunk_ratio: (1 << 23) * sector_bytes / block_bytes,
    };
    Ok(Arc::new(Mapped::new(file, map, (size.get(), block_bytes))))
}

/// Returns the header with the higher sequence number, of those that are sound.
fn current_header(file: &Area) -> Result<FileHeader, DiskError> {
    let mut found: Option<FileHeader> = None;
    for offset in HEADERS {
        let header: FileHeader = file.record(HEADER, offset)?;
        let mut covered = header.clone();
        covered.checksum = 0.into();
        let is_sound = header.signature == *b"head" && crc32c::crc32c(covered.as_bytes()) == header.checksum.get();
        let is_newer = found
            .as_ref()
            .is_none_or(|other| other.sequence_number.get() < header.sequence_number.get());
        if is_sound && is_newer {
            found = Some(header);
        }
    }
    found.ok_or_else(|| file.damaged(HEADER, HEADERS[0], "both copies are damaged"))
}

/// Reads the entries of the first region table that is sound.
fn regions(file: &Area) -> Result<Vec<RegionEntry>, DiskError> {
    for offset in REGION_TABLES {
        let bytes = file.bytes(REGIONS, offset, REGION_TABLE_BYTES)?;
        let mut covered = bytes.clone();
        covered[4..8].fill(0);
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        if bytes.starts_with(b"regi") && crc32c::crc32c(&covered) == word(4) {
            let count = (word(8) as usize).min(REGIONS_MAX);
            let entries = bytes[16..].chunks_exact(size_of::<RegionEntry>()).take(count);
            return Ok(entries
                .filter_map(|bytes| RegionEntry::read_from_bytes(bytes).ok())
                .collect());
        }
    }
    Err(file.damaged(REGIONS, REGION_TABLES[0], "both copies are damaged"))
}

/// Reads the item `id` of the metadata region at `place`.
fn item<T: FromBytes + zerocopy::IntoBytes>(file: &Area, place: (u64, u64), id: Uuid) -> Result<T, DiskError> {
    let table: MetadataTable = file.record(ITEMS, place.0)?;
    if table.signature != *b"metadata" || table.count > ITEMS_MAX {
        return Err(file.damaged(ITEMS, place.0, "its table is damaged"));
    }
    let first = place.0.saturating_add(size_of::<MetadataTable>() as u64);
    for index in 0..u64::from(table.count.get()) {
        let entry: MetadataEntry =
            file.record(ITEMS, first.saturating_add(index * size_of::<MetadataEntry>() as u64))?;
        if entry.id == id.to_bytes_le() {
            return file.record(ITEMS, place.0.saturating_add(entry.offset.get().into()));
        }
    }
    Err(file.damaged(ITEMS, place.0, format!("the item {id} is missing")))
}

impl Map for Vhdx {
    fn place(&self, block: u64) -> Result<Place, DiskError> {
        // An entry for a bitmap follows each chunk.
        let at = (block + block / self.chunk_ratio) * 8;
        let offset = self.bat.0.saturating_add(at);
        if at + 8 > self.bat.1 {
            return Err(self.file.damaged(TABLE, offset, "it is too short for the disk"));
        }
        let entry = self.file.record::<U64>(TABLE, offset)?.get();
        match entry & 7 {
            FULLY_PRESENT => Ok(Place::At(entry & !(MIB - 1))),
            PARTIALLY_PRESENT => Err(self.file.damaged(TABLE, offset, "a block is partly in a parent")),
            _ => Ok(Place::Zeros),
        }
    }
}
