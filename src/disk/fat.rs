//! FAT12, FAT16 and FAT32 with VFAT long names, read (Microsoft, "FAT: General Overview of On-Disk Format" 1.03). The
//! records are those of the writer ([`crate::image::fat`]).
//!
//! What FAT does not keep is as Linux shows it by default: everything belongs to root, with mode 0755, or 0555 for what is
//! marked read-only. Times are taken for UTC.

mod chain;
mod directory;
mod layer;
mod name;

use zerocopy::FromBytes;

use super::DiskError;
use super::area::Area;
use crate::image::fat::disk::{BootSector16, BootSector32, Parameters, SECTOR_END};

const BOOT: &str = "the boot sector of FAT";
/// The most clusters of a FAT12, as Linux has it.
const FAT12_CLUSTERS_MAX: u64 = 0xff4;
/// The most clusters of a FAT16 and of a FAT32.
const FAT16_CLUSTERS_MAX: u64 = 0xfff4;
const FAT32_CLUSTERS_MAX: u64 = 0x0fff_fff6;
/// The first cluster with contents.
const FIRST_CLUSTER: u64 = 2;
/// Bytes of an entry in a directory.
const ENTRY_BYTES: u64 = 32;

/// The size of the entries of the table, in bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 12 bits.
    Fat12,
    /// 16 bits.
    Fat16,
    /// 32 bits, of which 28 count.
    Fat32,
}

/// The place of the root directory.
#[derive(Debug, Clone, Copy)]
enum Root {
    /// Its own range: the offset and the length in bytes.
    Range(u64, u64),
    /// Its first cluster.
    Cluster(u64),
}

/// A FAT file system.
#[derive(Debug)]
pub struct Fat {
    area: Area,
    kind: Kind,
    sector_bytes: u64,
    cluster_bytes: u64,
    /// The number of clusters.
    clusters: u64,
    /// The offset of the first table in bytes, and the length of one.
    table: (u64, u64),
    root: Root,
    /// The offset of the first cluster in bytes.
    data: u64,
    volume_id: u32,
    boot_label: [u8; 11],
}

/// The facts about a FAT file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The size of the entries of its table.
    pub kind: Kind,
    /// Its label; empty if it has none.
    pub label: String,
    /// Its serial number, as Linux writes it: `1234-ABCD`.
    pub uuid: String,
    /// The size of a sector in bytes.
    pub sector_bytes: u64,
    /// The size of a cluster in sectors.
    pub cluster_sectors: u64,
    /// The number of its clusters.
    pub clusters: u64,
}

impl Fat {
    /// Returns whether `area` begins like a FAT file system.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn is_at(area: &Area) -> Result<bool, DiskError> {
        if area.size_bytes() < size_of::<BootSector32>() as u64 {
            return Ok(false);
        }
        let sector: BootSector32 = area.record(BOOT, 0)?;
        let parameters = &sector.parameters;
        let is_jump = matches!(parameters.jump, [0xeb, _, 0x90] | [0xe9, _, _]);
        let is_media = parameters.media == 0xf0 || parameters.media >= 0xf8;
        Ok(sector.end == SECTOR_END && is_jump && is_media && complaint(parameters).is_none())
    }

    /// Opens the file system in `area`.
    ///
    /// # Errors
    /// [`DiskError::Damaged`] if it is none, or its boot sector contradicts itself.
    pub fn open(area: Area) -> Result<Self, DiskError> {
        let sector: BootSector32 = area.record(BOOT, 0)?;
        if let Some(problem) = complaint(&sector.parameters) {
            return Err(area.damaged(BOOT, 0, problem));
        }
        if sector.end != SECTOR_END {
            return Err(area.damaged(BOOT, 0, "its signature is missing"));
        }
        Self::of(area.clone(), &sector).map_err(|problem| area.damaged(BOOT, 0, problem))
    }

    /// Computes the places, or says what is wrong with them.
    fn of(area: Area, sector: &BootSector32) -> Result<Self, &'static str> {
        let parameters = &sector.parameters;
        let sector_bytes = u64::from(parameters.sector_bytes.get());
        let cluster_sectors = u64::from(parameters.cluster_sectors);
        let has_short_table = parameters.table_sectors_16 != 0;
        let either = |short: u16, long: u32| if short == 0 { u64::from(long) } else { u64::from(short) };
        let table_sectors = either(parameters.table_sectors_16.get(), sector.fat32.table_sectors.get());
        let total = either(parameters.total_sectors_16.get(), parameters.total_sectors_32.get());
        let root_bytes = u64::from(parameters.root_entries.get()) * ENTRY_BYTES;
        let table_at = u64::from(parameters.reserved_sectors.get());
        let root_at = table_at + u64::from(parameters.tables) * table_sectors;
        let data_at = root_at + root_bytes.div_ceil(sector_bytes);
        let Some(clusters) = total.checked_sub(data_at).map(|sectors| sectors / cluster_sectors) else {
            return Err("it has fewer sectors than its tables take");
        };
        if total * sector_bytes > area.size_bytes() {
            return Err("it has more sectors than the partition, or the image is cut short");
        }
        let (kind, most, table_bits) = match has_short_table {
            false => (Kind::Fat32, FAT32_CLUSTERS_MAX, 32),
            true if clusters <= FAT12_CLUSTERS_MAX => (Kind::Fat12, FAT12_CLUSTERS_MAX, 12),
            true => (Kind::Fat16, FAT16_CLUSTERS_MAX, 16),
        };
        let table_bytes = table_sectors * sector_bytes;
        if clusters > most || (clusters + FIRST_CLUSTER) * table_bits > table_bytes * 8 {
            return Err("its table is too short for its clusters");
        }
        // The records before the extended one differ in length.
        let extended = match kind {
            Kind::Fat32 => sector.extended.clone(),
            _ => BootSector16::read_from_bytes(zerocopy::IntoBytes::as_bytes(sector))
                .map(|sector| sector.extended)
                .map_err(|_| "it is cut short")?,
        };
        let is_told = matches!(extended.signature, 0x28 | 0x29);
        Ok(Self {
            area,
            kind,
            sector_bytes,
            cluster_bytes: cluster_sectors * sector_bytes,
            clusters,
            table: (table_at * sector_bytes, table_bytes),
            root: match kind {
                Kind::Fat32 => Root::Cluster(sector.fat32.root_cluster.get().into()),
                _ => Root::Range(root_at * sector_bytes, root_bytes),
            },
            data: data_at * sector_bytes,
            volume_id: if is_told { extended.volume_id.get() } else { 0 },
            boot_label: if extended.signature == 0x29 {
                extended.label
            } else {
                [b' '; 11]
            },
        })
    }

    /// Returns the facts; the label is that of the root directory, or else of the boot sector.
    ///
    /// # Errors
    /// If the root directory is damaged.
    pub fn facts(&self) -> Result<Facts, DiskError> {
        let label = match self.root_label()? {
            Some(label) => label,
            None if &self.boot_label == b"NO NAME    " => String::new(),
            None => name::label(&self.boot_label),
        };
        let (high, low) = (self.volume_id >> 16, self.volume_id & 0xffff);
        Ok(Facts {
            kind: self.kind,
            label,
            uuid: format!("{high:04X}-{low:04X}"),
            sector_bytes: self.sector_bytes,
            cluster_sectors: self.cluster_bytes / self.sector_bytes,
            clusters: self.clusters,
        })
    }
}

/// Says what is impossible in `parameters`.
fn complaint(parameters: &Parameters) -> Option<&'static str> {
    let sector_bytes = parameters.sector_bytes.get();
    if !sector_bytes.is_power_of_two() || !(512..=4096).contains(&sector_bytes) {
        Some("its sector size is impossible")
    } else if !parameters.cluster_sectors.is_power_of_two() {
        Some("its cluster size is impossible")
    } else if parameters.reserved_sectors == 0 || parameters.tables == 0 {
        Some("it has no tables")
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
