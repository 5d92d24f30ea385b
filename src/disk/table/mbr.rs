//! The partition table of an MBR (UEFI specification 2.10, section 5.2.1), and the chain of records of its logical
//! partitions.

use std::collections::HashSet;

use super::super::DiskError;
use super::super::area::Area;
use super::{Kind, Partition, PartitionKind, Table};
use crate::image::mbr::{ACTIVE, Record, Sector};

const MBR: &str = "the MBR";
const RECORD: &str = "the record of a logical partition";
const SECTOR_BYTES: u64 = 512;
/// The type of the partition that protects a GPT.
const PROTECTIVE: u8 = 0xee;
/// The types of extended partitions: by cylinders, by sectors, Linux.
const EXTENDED: [u8; 3] = [0x05, 0x0f, 0x85];
/// The number of the first logical partition.
const FIRST_LOGICAL: u32 = 5;
/// The most logical partitions that are read; Linux shows 60.
const LOGICAL_MAX: u32 = 124;

/// Returns whether the MBR of `disk` protects a GPT.
pub(super) fn protects(disk: &Area) -> bool {
    let sector = disk.record::<Sector>(MBR, 0);
    sector.is_ok_and(|sector| is_table(&sector) && sector.entries.iter().any(|entry| entry.code == PROTECTIVE))
}

fn is_table(sector: &Sector) -> bool {
    sector.end == [0x55, 0xaa]
}

/// Reads the table of `disk`; `None` if it has none. The boot sector of a file system ends like an MBR: what stands in the
/// place of entries then is no table.
pub(super) fn read(disk: &Area) -> Result<Option<Table>, DiskError> {
    if disk.size_bytes() < SECTOR_BYTES {
        return Ok(None);
    }
    let sector: Sector = disk.record(MBR, 0)?;
    let used: Vec<(u32, &Record)> = (1..)
        .zip(&sector.entries)
        .filter(|(_, entry)| entry.code != 0)
        .collect();
    let is_sound = |entry: &Record| entry.status & !ACTIVE == 0 && entry.sectors.get() > 0 && entry.first_lba.get() > 0;
    if !is_table(&sector) || used.is_empty() || !sector.entries.iter().all(|entry| entry.status & !ACTIVE == 0) {
        return Ok(None);
    }
    if !used.iter().all(|(_, entry)| is_sound(entry)) {
        return Ok(None);
    }
    let signature = sector.signature.get();
    let mut partitions = Vec::new();
    for (number, entry) in &used {
        match EXTENDED.contains(&entry.code) {
            true => logical(disk, signature, entry.first_lba.get().into(), &mut partitions)?,
            false => partitions.push(partition(*number, signature, entry, 0)),
        }
    }
    partitions.sort_by_key(|partition| partition.number);
    Ok(Some(Table {
        kind: Kind::Mbr { signature },
        sector_bytes: SECTOR_BYTES,
        partitions,
        notes: Vec::new(),
    }))
}

/// Adds the partitions of the extended one that begins at the sector `extended`: each record has one, and the place of the
/// next record.
fn logical(disk: &Area, signature: u32, extended: u64, found: &mut Vec<Partition>) -> Result<(), DiskError> {
    let (mut record, mut number) = (extended, FIRST_LOGICAL);
    let mut seen = HashSet::new();
    loop {
        let offset = record * SECTOR_BYTES;
        if !seen.insert(record) || number > LOGICAL_MAX {
            return Err(disk.damaged(RECORD, offset, "the chain of records has no end"));
        }
        let sector: Sector = disk.record(RECORD, offset)?;
        if !is_table(&sector) {
            return Err(disk.damaged(RECORD, offset, "its signature is missing"));
        }
        let mut next = None;
        for entry in sector.entries.iter().filter(|entry| entry.sectors.get() > 0) {
            match EXTENDED.contains(&entry.code) {
                true => next = next.or(Some(extended + u64::from(entry.first_lba.get()))),
                false if entry.code != 0 => {
                    found.push(partition(number, signature, entry, record));
                    number += 1;
                }
                false => {}
            }
        }
        match next {
            Some(next) => record = next,
            None => return Ok(()),
        }
    }
}

/// Makes the partition of an entry whose places count from the sector `base`.
fn partition(number: u32, signature: u32, entry: &Record, base: u64) -> Partition {
    let first_lba = base + u64::from(entry.first_lba.get());
    Partition {
        number,
        kind: PartitionKind::Mbr {
            code: entry.code,
            is_active: entry.status == ACTIVE,
            uuid: u64::from(signature) << 32 | u64::from(number),
        },
        first_lba,
        last_lba: first_lba + u64::from(entry.sectors.get()) - 1,
    }
}
