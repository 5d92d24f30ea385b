//! Partition tables: GPT, and MBR with logical partitions.

mod gpt;
mod mbr;

use uuid::Uuid;

use super::DiskError;
use super::area::Area;

/// The sizes of a disk's sectors that are tried, in bytes.
const SECTOR_SIZES: [u64; 2] = [512, 4096];

/// The partitions of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The kind of table, with what is said once for the disk.
    pub kind: Kind,
    /// The size of a sector in bytes.
    pub sector_bytes: u64,
    /// The partitions, in the order of their numbers.
    pub partitions: Vec<Partition>,
    /// Defects that did not keep the table from being read, in words.
    pub notes: Vec<String>,
}

/// The kind of a partition table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A GUID partition table.
    Gpt {
        /// The disk's GUID.
        disk: Uuid,
        /// First sector that a partition may use.
        first_lba: u64,
        /// Last sector that a partition may use.
        last_lba: u64,
        /// Whether an MBR protects the table.
        is_protected: bool,
    },
    /// The table of an MBR.
    Mbr {
        /// The disk's signature.
        signature: u32,
    },
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Number, from 1, as in the names of devices.
    pub number: u32,
    /// Its type.
    pub kind: PartitionKind,
    /// First sector.
    pub first_lba: u64,
    /// Last sector; not before the first.
    pub last_lba: u64,
}

/// The type of a partition, and what its kind of table says besides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartitionKind {
    /// An entry of a GPT.
    Gpt {
        /// The GUID of its type.
        type_uuid: Uuid,
        /// Its own GUID.
        uuid: Uuid,
        /// Its name.
        name: String,
        /// Its attributes.
        attributes: u64,
    },
    /// An entry of an MBR.
    Mbr {
        /// The code of its type.
        code: u8,
        /// Whether a BIOS boots from it.
        is_active: bool,
        /// The `PARTUUID` that Linux gives it.
        uuid: u64,
    },
}

impl Partition {
    /// Returns the number of its sectors.
    pub fn sectors(&self) -> u64 {
        self.last_lba - self.first_lba + 1
    }

    /// Returns its name; empty where the table has no names.
    pub fn name(&self) -> &str {
        match &self.kind {
            PartitionKind::Gpt { name, .. } => name,
            PartitionKind::Mbr { .. } => "",
        }
    }

    /// Returns the GUID of its type, where the table has such.
    pub fn type_uuid(&self) -> Option<Uuid> {
        match self.kind {
            PartitionKind::Gpt { type_uuid, .. } => Some(type_uuid),
            PartitionKind::Mbr { .. } => None,
        }
    }

    /// Returns its `PARTUUID`, as Linux writes it.
    pub fn part_uuid(&self) -> String {
        match self.kind {
            PartitionKind::Gpt { uuid, .. } => uuid.to_string(),
            // The signature, and the number of the entry.
            PartitionKind::Mbr { uuid, .. } => format!("{:08x}-{:02x}", uuid >> 32, uuid as u32),
        }
    }
}

impl Table {
    /// Reads the table of `disk`; `None` if it has none.
    ///
    /// # Errors
    /// If there is a table, and it is damaged: both copies of a GPT.
    pub fn read(disk: &Area) -> Result<Option<Self>, DiskError> {
        for sector_bytes in SECTOR_SIZES {
            if let Some(table) = gpt::read(disk, sector_bytes)? {
                return Ok(Some(table));
            }
        }
        mbr::read(disk)
    }

    /// Returns the area of `partition` on `disk`.
    ///
    /// # Errors
    /// If it reaches behind the end of the disk.
    pub fn area(&self, disk: &Area, partition: &Partition) -> Result<Area, DiskError> {
        let start = partition.first_lba.checked_mul(self.sector_bytes);
        let size = partition.sectors().checked_mul(self.sector_bytes);
        let area = start.zip(size).and_then(|(start, size)| disk.part(start, size));
        area.ok_or_else(|| {
            let problem = format!("partition {} reaches behind the end of the disk", partition.number);
            disk.damaged("the partition table", 0, problem)
        })
    }
}

#[cfg(test)]
mod tests;
