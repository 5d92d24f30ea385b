//! qcow2, versions 2 and 3 (QEMU, `docs/interop/qcow2.txt`): tables in two steps lead to the clusters.

use std::sync::Arc;

use zerocopy::big_endian::U64;

use super::super::DiskError;
use super::super::area::Area;
use super::super::medium::Medium;
use super::mapped::{Map, Mapped, Packing, Place};
use crate::image::containers::qcow2_records::{Header, INCOMPATIBLE_COMPRESSION};

const HEADER: &str = "the header of qcow2";
const TABLE: &str = "a table of qcow2";
/// The offset of a cluster or table in an entry.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
/// An entry of a cluster that is compressed, and of one that reads as zeros.
const COMPRESSED: u64 = 1 << 62;
const ZERO: u64 = 1;
/// Incompatible features: bit 0 is "not closed", which matters for writing alone.
const DIRTY: u64 = 1;
const CORRUPT: u64 = 1 << 1;
const SECTOR_BYTES: u64 = 512;

#[derive(Debug)]
struct Qcow2 {
    file: Area,
    cluster_bits: u32,
    l1_offset: u64,
    l1_entries: u64,
    packing: Packing,
    has_zero_flag: bool,
}

/// Opens the disk in `file`.
pub(super) fn open(file: Area) -> Result<Arc<dyn Medium>, DiskError> {
    let header: Header = file.record(HEADER, 0)?;
    let damaged = |problem: &str| file.damaged(HEADER, 0, problem);
    let refused = |what: &str| DiskError::Unsupported(format!("oic does not read a qcow2 with {what}"));
    let is_new = match header.version.get() {
        2 => false,
        3 => true,
        version => return Err(refused(&format!("version {version}"))),
    };
    if header.backing_file_offset != 0 {
        return Err(refused("a backing file"));
    }
    if header.encryption != 0 {
        return Err(refused("encryption"));
    }
    let features = if is_new { header.incompatible_features.get() } else { 0 };
    if features & CORRUPT != 0 {
        return Err(damaged("it is marked as corrupt"));
    }
    if features & !(DIRTY | INCOMPATIBLE_COMPRESSION) != 0 {
        return Err(refused(&format!("the features {features:#x}")));
    }
    let is_told = features & INCOMPATIBLE_COMPRESSION != 0 && header.header_bytes.get() > 104;
    let packing = match header.compression {
        1 if is_told => Packing::Zstd,
        0 => Packing::Deflate,
        _ if !is_told => Packing::Deflate,
        kind => return Err(refused(&format!("compression {kind}"))),
    };
    let cluster_bits = header.cluster_bits.get();
    if !(9..=21).contains(&cluster_bits) {
        return Err(damaged("its cluster size is impossible"));
    }
    let map = Qcow2 {
        cluster_bits,
        l1_offset: header.l1_offset.get(),
        l1_entries: header.l1_entries.get().into(),
        packing,
        has_zero_flag: is_new,
        file: file.clone(),
    };
    Ok(Arc::new(Mapped::new(
        file,
        map,
        (header.size_bytes.get(), 1 << cluster_bits),
    )))
}

impl Qcow2 {
    fn entry(&self, table: u64, index: u64) -> Result<u64, DiskError> {
        let offset = table.saturating_add(index * 8);
        Ok(self.file.record::<U64>(TABLE, offset)?.get())
    }
}

impl Map for Qcow2 {
    fn place(&self, block: u64) -> Result<Place, DiskError> {
        let per_table = 1 << (self.cluster_bits - 3);
        let (outer, inner) = (block / per_table, block % per_table);
        if outer >= self.l1_entries {
            return Err(self.file.damaged(HEADER, 0, "its table is too short for the disk"));
        }
        let table = self.entry(self.l1_offset, outer)? & OFFSET;
        if table == 0 {
            return Ok(Place::Zeros);
        }
        let entry = self.entry(table, inner)?;
        if entry & COMPRESSED != 0 {
            // The lower bits are the offset, those above it the number of further sectors.
            let bits = 62 - (self.cluster_bits - 8);
            let offset = entry & ((1 << bits) - 1);
            let sectors = (entry & (COMPRESSED - 1)) >> bits;
            let length = (sectors + 1) * SECTOR_BYTES - offset % SECTOR_BYTES;
            return Ok(Place::Packed(offset, length, self.packing));
        }
        let is_zero = self.has_zero_flag && entry & ZERO != 0;
        Ok(match entry & OFFSET {
            0 => Place::Zeros,
            _ if is_zero => Place::Zeros,
            offset => Place::At(offset),
        })
    }
}
