//! The places and identifiers of all partitions of a disk, decided and checked before any work starts.
//!
//! Invariant: the partitions of a [`DiskPlan`] lie inside the usable area, do not
//! overlap, start and end on sectors, and exactly one is mounted at `/`. A plan of no disk has no partitions.

mod check;
mod entry;
mod fixed;

use std::ops::Range;

use uuid::Uuid;

pub use entry::Entry;
pub use fixed::{FixedRoot, HashTree};

use super::seed::ImageSeed;
use crate::hint::Hint;
use crate::model::{BootType, Disk, Partition, PartitionTable, PartitionType, SectorSize};
use crate::package::{Arch, Sha256};

/// Bytes of a logical sector.
pub const SECTOR_BYTES: u64 = 512;
/// The alignment that partitions should have.
pub const ALIGNMENT_BYTES: u64 = 1 << 20;

/// A disk, laid out.
#[derive(Debug, Clone, PartialEq)]
pub struct DiskPlan {
    /// Size of the whole disk in bytes.
    pub size_bytes: u64,
    /// The size of its sectors in bytes: 512, or 4,096 with a GPT.
    pub sector_bytes: u64,
    /// Identifier of the disk; the GUID of a GPT.
    pub uuid: Uuid,
    /// The kind of its table.
    pub table: Table,
    /// The partitions, in the order of the template.
    pub partitions: Vec<PlannedPartition>,
    /// The root, if it is one that is never written.
    pub fixed: Option<FixedRoot>,
    /// The place in the list of the partition that grows to the end of the disk when the machine boots.
    pub growing: Option<usize>,
    /// Warnings about values that work but are probably not meant, each one naming its field.
    pub warnings: Vec<String>,
}

/// A partition table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// A GUID partition table.
    Gpt,
    /// An MBR.
    Mbr {
        /// The signature of the disk; not 0.
        signature: u32,
    },
}

/// A partition, laid out.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedPartition {
    /// Number in the table, from 1.
    pub number: u32,
    /// The partition in the template.
    pub partition: Partition,
    /// The size of the disk's sectors in bytes.
    pub sector_bytes: u64,
    /// First sector.
    pub first_lba: u64,
    /// Last sector, inclusive.
    pub last_lba: u64,
    /// Its entry in the table.
    pub entry: Entry,
    /// The PARTUUID, as the kernel's `root=` and fstab(5) take it: the GUID, or for an MBR the disk's signature and the
    /// number in hexadecimal (`block/early-lookup.c` of the kernel).
    pub partuuid: String,
    /// UUID of the file system or swap space.
    pub fs_uuid: Uuid,
    /// Seed of the directory hashes of ext file systems.
    pub hash_seed: Uuid,
}

impl PlannedPartition {
    /// Returns its size in bytes.
    pub fn size_bytes(&self) -> u64 {
        (self.last_lba - self.first_lba + 1) * self.sector_bytes
    }

    /// Returns its start on the disk in bytes.
    pub fn offset_bytes(&self) -> u64 {
        self.first_lba * self.sector_bytes
    }

    /// Says whether it is mounted at `path`.
    pub fn is_mounted_at(&self, path: &str) -> bool {
        self.partition.mount_point.as_deref() == Some(path)
    }
}

impl DiskPlan {
    /// Returns the partition mounted at `/`; a plan from [`plan`] always has one.
    pub fn root(&self) -> Option<&PlannedPartition> {
        self.partitions.iter().find(|p| p.is_mounted_at("/"))
    }

    /// Returns the EFI system partition, which every UEFI boot loader needs.
    ///
    /// # Errors
    /// [`PlanError`] if the plan has no such partition.
    pub fn esp(&self) -> Result<&PlannedPartition, PlanError> {
        self.find_esp().ok_or_else(|| {
            PlanError::field(
                "disk.partitions",
                "no EFI system partition, which the boot loader needs",
            )
            .with_hint("add a partition with `type: esp` and `fsType: fat32`")
        })
    }

    /// Returns the EFI system partition, if there is one.
    pub fn find_esp(&self) -> Option<&PlannedPartition> {
        self.partitions.iter().find(|planned| planned.entry.is_esp())
    }

    /// Returns the sectors in which a boot loader for BIOS has room: those of the BIOS boot partition of a GPT, or those
    /// between an MBR and the first partition; `None` if there are none.
    pub fn boot_room(&self) -> Option<Range<u64>> {
        let room = match self.table {
            Table::Gpt => {
                let own = self.partitions.iter().find(|planned| planned.entry.is_bios_boot())?;
                own.first_lba..own.last_lba + 1
            }
            Table::Mbr { .. } => {
                let first = |planned: &PlannedPartition| match planned.entry {
                    Entry::Logical { record_lba, .. } => record_lba.min(planned.first_lba),
                    _ => planned.first_lba,
                };
                1..self.partitions.iter().map(first).min()?
            }
        };
        Some(room).filter(|room| !room.is_empty())
    }
}

/// The reason why a disk cannot be made as the template asks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A field's value is not possible.
    #[error("{field}: {reason}")]
    Field {
        /// The field, as a path from the template's top.
        field: String,
        /// The problem with its value.
        reason: String,
        /// The next step for the user.
        hint: Option<String>,
    },
    /// This version cannot make what a field asks for.
    #[error("{field}: {what} is not supported yet")]
    Unsupported {
        /// The field, as a path from the template's top.
        field: String,
        /// The value of the field, in words.
        what: String,
        /// The value to use instead.
        hint: String,
    },
}

impl PlanError {
    /// Returns what the author of the template can do next.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::Field { hint, .. } => hint.clone().map(Hint::from),
            Self::Unsupported { hint, .. } => Some(hint.clone().into()),
        }
    }

    fn field(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Field {
            field: field.into(),
            reason: reason.into(),
            hint: None,
        }
    }

    fn with_hint(mut self, text: impl Into<String>) -> Self {
        if let Self::Field { hint, .. } = &mut self {
            *hint = Some(text.into());
        }
        self
    }
}

/// Checks, before anything is installed, that `disk` can be laid out for `arch` and has what a machine with the firmware
/// `boot_type` starts from. The identifiers, which are derived from the installed packages later, have no influence on the
/// result.
///
/// # Errors
/// [`PlanError`], naming the field.
pub fn check(disk: &Disk, arch: Arch, boot_type: BootType) -> Result<(), PlanError> {
    let plan = plan(disk, arch, &ImageSeed(Sha256::of("")))?;
    if boot_type == BootType::Efi {
        return plan.esp().map(drop);
    }
    plan.boot_room().map(drop).ok_or_else(|| {
        let reason = "no room for the boot loader, which a BIOS starts from";
        PlanError::field("disk.partitions", reason).with_hint(match plan.table {
            Table::Gpt => "add a partition of 1 MiB with `type: bios` and no fsType",
            Table::Mbr { .. } => "start the first partition at 1MiB",
        })
    })
}

/// Lays `disk` out for `arch`. Every identifier is derived from `seed`.
///
/// A partition runs from `start` to `end`; one without `end` takes the rest of the disk up to the last full MiB before
/// the backup table of a GPT. A value that is not a multiple of a sector is an error, one that is not a multiple of
/// 1 MiB gives a warning. Without `disk.size` the disk is as large as its partitions need.
///
/// # Errors
/// [`PlanError`], naming the field.
pub fn plan(disk: &Disk, arch: Arch, seed: &ImageSeed) -> Result<DiskPlan, PlanError> {
    if disk.partitions.is_empty() {
        return Err(PlanError::field(
            "disk.partitions",
            "a disk needs at least one partition",
        ));
    }
    if disk.partitions.len() > 128 {
        return Err(PlanError::field("disk.partitions", "a disk has at most 128 partitions"));
    }
    let asked_bytes = disk_size_bytes(disk)?;
    let mut warnings = Vec::new();
    let size_bytes = check::fit_artifacts(disk, asked_bytes, &mut warnings)?;
    check_sectors(disk)?;
    let sector_bytes = disk.sector_size.bytes();
    let usable = usable(disk.table, sector_bytes, size_bytes)?;
    let table = table(disk.table, seed);
    let mut partitions = Vec::new();
    for (index, partition) in disk.partitions.iter().enumerate() {
        let field = |name: &str| format!("disk.partitions[{index}].{name} (id {:?})", partition.id);
        let (first_lba, last_lba) = extent(partition, (&usable, sector_bytes), &field, &mut warnings)?;
        let number = entry::number(disk.table, index, disk.partitions.len());
        entry::check_arch(partition, arch, &field)?;
        let entry = entry::of(disk.table, partition, (number, first_lba), seed, &field)?;
        let planned = PlannedPartition {
            number,
            partition: partition.clone(),
            sector_bytes,
            first_lba,
            last_lba,
            entry,
            partuuid: partuuid(table, entry, number),
            fs_uuid: seed.uuid(&format!("file system {number}")),
            hash_seed: seed.uuid(&format!("hash seed {number}")),
        };
        check::contents(&planned, &field)?;
        partitions.push(planned);
    }
    check::together(&partitions)?;
    let fixed = fixed::of(&mut partitions, disk.table, arch, seed)?;
    if disk.table == PartitionTable::Mbr {
        entry::check_mbr(&mut partitions)?;
    }
    Ok(DiskPlan {
        size_bytes,
        sector_bytes,
        uuid: seed.uuid("disk"),
        table,
        partitions,
        fixed,
        growing: disk.growing,
        warnings,
    })
}

/// Plans no disk: an image that is an archive has an identifier and nothing else.
pub fn none(seed: &ImageSeed) -> DiskPlan {
    DiskPlan {
        size_bytes: 0,
        sector_bytes: SECTOR_BYTES,
        uuid: seed.uuid("archive"),
        table: Table::Gpt,
        partitions: Vec::new(),
        fixed: None,
        growing: None,
        warnings: Vec::new(),
    }
}

/// Returns the table of a disk, with the identifier that it has besides the disk's.
fn table(kind: PartitionTable, seed: &ImageSeed) -> Table {
    match kind {
        PartitionTable::Gpt => Table::Gpt,
        PartitionTable::Mbr => {
            let [a, b, c, d, ..] = *seed.uuid("disk signature").as_bytes();
            // 0 means that there is none.
            let signature = u32::from_be_bytes([a, b, c, d]).max(1);
            Table::Mbr { signature }
        }
    }
}

fn partuuid(table: Table, entry: Entry, number: u32) -> String {
    match (table, entry) {
        (_, Entry::Gpt { uuid, .. }) => uuid.to_string(),
        (Table::Mbr { signature }, _) => format!("{signature:08x}-{number:02x}"),
        // The entries of a GPT have a GUID.
        (Table::Gpt, _) => String::new(),
    }
}

/// Checks that a disk with its size of sectors can be described and started.
fn check_sectors(disk: &Disk) -> Result<(), PlanError> {
    let reason = match (disk.sector_size, disk.table) {
        (SectorSize::Bytes512, _) => return Ok(()),
        (SectorSize::Bytes4096, PartitionTable::Gpt)
            if !disk.partitions.iter().any(|own| own.kind == PartitionType::Bios) =>
        {
            return Ok(());
        }
        (SectorSize::Bytes4096, PartitionTable::Gpt) => "no BIOS starts from a disk with sectors of 4096 bytes",
        (SectorSize::Bytes4096, PartitionTable::Mbr) => "a disk with sectors of 4096 bytes has a GPT",
    };
    Err(PlanError::field("disk.sectorSize", reason)
        .with_hint("use `partitionTableType: gpt` and start by UEFI, or sectors of 512 bytes"))
}

/// Returns the bytes of a disk of `size_bytes` that partitions can have.
fn usable(table: PartitionTable, sector_bytes: u64, size_bytes: u64) -> Result<Range<u64>, PlanError> {
    match table {
        PartitionTable::Gpt => {
            let [start, end] = gpt_bytes(sector_bytes);
            Ok(start..size_bytes - end)
        }
        PartitionTable::Mbr if size_bytes / SECTOR_BYTES > u64::from(u32::MAX) => {
            let reason = "an MBR describes a disk of less than 2 TiB";
            Err(PlanError::field("disk.size", reason).with_hint("use `partitionTableType: gpt`"))
        }
        PartitionTable::Mbr => Ok(SECTOR_BYTES..size_bytes),
    }
}

/// Returns the size of the disk in bytes: `disk.size`, or the size that the partitions need.
fn disk_size_bytes(disk: &Disk) -> Result<u64, PlanError> {
    let size_bytes = match disk.size_bytes {
        Some(size_bytes) => size_bytes,
        None => {
            let ends: Option<Vec<u64>> = disk.partitions.iter().map(|p| p.end_bytes).collect();
            let Some(end) = ends.and_then(|ends| ends.into_iter().max()) else {
                return Err(PlanError::field(
                    "disk.size",
                    "is needed, because a partition takes the rest of the disk",
                ));
            };
            end.saturating_add(ALIGNMENT_BYTES)
        }
    };
    let unit = disk.sector_size.bytes();
    if !size_bytes.is_multiple_of(unit) {
        return Err(PlanError::field(
            "disk.size",
            format!("{size_bytes} bytes is not a multiple of {unit}"),
        ));
    }
    if size_bytes < 3 * ALIGNMENT_BYTES || i64::try_from(size_bytes).is_err() {
        return Err(PlanError::field(
            "disk.size",
            format!("a disk of {size_bytes} bytes cannot be made"),
        ));
    }
    Ok(size_bytes)
}

/// Returns the bytes that a GPT takes at the start and at the end of a disk: a sector for an MBR, one for the header, and
/// 128 entries of 128 bytes (UEFI specification 2.10, section 5.3.1).
pub fn gpt_bytes(sector_bytes: u64) -> [u64; 2] {
    let entries = 128 * 128;
    [2 * sector_bytes + entries, sector_bytes + entries]
}

/// Returns the first and the last sector of a partition, and adds to `warnings`.
fn extent(
    partition: &Partition,
    (usable, sector_bytes): (&Range<u64>, u64),
    field: &dyn Fn(&str) -> String,
    warnings: &mut Vec<String>,
) -> Result<(u64, u64), PlanError> {
    let start = partition.start_bytes;
    let end = match partition.end_bytes {
        Some(end) => end,
        None => usable.end / ALIGNMENT_BYTES * ALIGNMENT_BYTES,
    };
    for (name, value) in [("start", start), ("end", end)] {
        if !value.is_multiple_of(sector_bytes) {
            let reason = format!("byte {value} is not on a sector ({sector_bytes} bytes)");
            return Err(PlanError::field(field(name), reason).with_hint("use a multiple of 1MiB"));
        }
        if !value.is_multiple_of(ALIGNMENT_BYTES) {
            warnings.push(format!(
                "{}: byte {value} is not a multiple of 1 MiB, which is slow on many disks",
                field(name)
            ));
        }
    }
    if start < usable.start {
        let reason = format!(
            "byte {start} lies in the partition table (the first {} bytes)",
            usable.start
        );
        return Err(PlanError::field(field("start"), reason).with_hint("start the first partition at 1MiB"));
    }
    if end > usable.end {
        let reason = format!(
            "byte {end} lies behind the usable part of the disk, which ends at {}",
            usable.end
        );
        let hint = "write `end: \"0\"` for the rest of the disk, or enlarge disk.size; the backup of a GPT needs the last 33 sectors";
        return Err(PlanError::field(field("end"), reason).with_hint(hint));
    }
    if start >= end {
        let (name, reason) = match partition.end_bytes {
            Some(_) => ("end", format!("byte {end} is not behind the start, {start}")),
            None => ("start", format!("nothing is left of the disk behind byte {start}")),
        };
        return Err(PlanError::field(field(name), reason));
    }
    Ok((start / sector_bytes, end / sector_bytes - 1))
}

#[cfg(test)]
pub(crate) mod tests;
