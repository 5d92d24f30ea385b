//! The entry of a partition in its table: type, flags, number.

use uuid::Uuid;

use super::{PlanError, PlannedPartition};
use crate::image::seed::ImageSeed;
use crate::model::{FileSystem, Partition, PartitionFlag, PartitionTable, PartitionType};
use crate::package::Arch;
use crate::words::Words as _;

/// Sectors before a logical partition, the first of which has its record. Partitions stay aligned so.
const RECORD_SECTORS: u64 = 2048;
/// The primary partitions of an MBR that has logical ones too; the fourth entry is for these.
const PRIMARY_BESIDE_LOGICAL: usize = 3;
/// All entries of an MBR.
const PRIMARY: usize = 4;

/// An entry of a partition table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// Of a GUID partition table.
    Gpt {
        /// Partition GUID.
        uuid: Uuid,
        /// Type GUID.
        type_uuid: Uuid,
        /// Attribute bits.
        attributes: u64,
    },
    /// Of an MBR.
    Primary {
        /// Type.
        code: u8,
        /// Whether a BIOS boots from it.
        is_active: bool,
    },
    /// Of a record in the extended partition of an MBR.
    Logical {
        /// Type.
        code: u8,
        /// Sector of the record.
        record_lba: u64,
    },
}

impl Entry {
    /// Says whether it is that of a BIOS boot partition, in which GRUB has its core image (GRUB manual, "BIOS
    /// installation").
    pub fn is_bios_boot(&self) -> bool {
        matches!(self, Self::Gpt { type_uuid, .. } if *type_uuid == PartitionType::Bios.guid())
    }

    /// Says whether it is that of an EFI system partition (UEFI specification 2.10, 5.2.2 and 5.3.3).
    pub fn is_esp(&self) -> bool {
        match self {
            Self::Gpt { type_uuid, .. } => *type_uuid == PartitionType::Esp.guid(),
            Self::Primary { code, .. } | Self::Logical { code, .. } => Some(*code) == PartitionType::Esp.mbr_code(),
        }
    }
}

/// Returns the number of the partition at `index` of `count`. On an MBR with more than four partitions all from the
/// fourth on are logical; these count from 5 (sfdisk(8)).
pub(super) fn number(table: PartitionTable, index: usize, count: usize) -> u32 {
    let is_logical = table == PartitionTable::Mbr && count > PRIMARY && index >= PRIMARY_BESIDE_LOGICAL;
    u32::try_from(index + if is_logical { 2 } else { 1 }).unwrap_or(u32::MAX)
}

/// Makes the entry of `partition`, which has this `number` and starts at `first_lba`.
///
/// # Errors
/// [`PlanError`] if the table cannot express its type or its flags.
pub(super) fn of(
    table: PartitionTable,
    partition: &Partition,
    (number, first_lba): (u32, u64),
    seed: &ImageSeed,
    field: &dyn Fn(&str) -> String,
) -> Result<Entry, PlanError> {
    if table == PartitionTable::Gpt {
        return Ok(Entry::Gpt {
            uuid: seed.uuid(&format!("partition {number}")),
            type_uuid: partition.type_uuid.unwrap_or(partition.kind.guid()),
            attributes: attributes(partition, field)?,
        });
    }
    let (code, is_active) = (mbr_code(partition, field)?, is_active(partition, field)?);
    if number as usize <= PRIMARY {
        return Ok(Entry::Primary { code, is_active });
    }
    if is_active || Some(code) == PartitionType::Esp.mbr_code() {
        let reason =
            "a partition that firmware boots from has to be among the first three of an MBR with more than four";
        return Err(PlanError::field(field("type"), reason).with_hint("put it first, or use `partitionTableType: gpt`"));
    }
    Ok(Entry::Logical {
        code,
        record_lba: first_lba.saturating_sub(RECORD_SECTORS),
    })
}

/// Checks that `partition` is for `arch`.
pub(super) fn check_arch(partition: &Partition, arch: Arch, field: &dyn Fn(&str) -> String) -> Result<(), PlanError> {
    match partition.kind.arch().filter(|_| partition.type_uuid.is_none()) {
        Some(only) if only != arch => {
            let reason = format!("{:?} is for {only}, but target.arch is {arch}", partition.kind.word());
            Err(PlanError::field(field("type"), reason))
        }
        _ => Ok(()),
    }
}

/// Returns the attribute bits of a partition in a GPT.
fn attributes(partition: &Partition, field: &dyn Fn(&str) -> String) -> Result<u64, PlanError> {
    let mut bits = partition.flags.iter().map(|flag| {
        let bits = flag.attribute_bits();
        bits.ok_or_else(|| unsupported(*flag, field))
    });
    bits.try_fold(0, |all, bits| Ok(all | bits?))
}

fn unsupported(flag: PartitionFlag, field: &dyn Fn(&str) -> String) -> PlanError {
    PlanError::Unsupported {
        field: field("flags"),
        what: format!("the flag `{}`", flag.word()),
        hint: "leave it out".into(),
    }
}

/// Says whether the flags of a partition make it the active one of an MBR. `boot` does, as in parted(8); flags for a
/// purpose are in the type; GPT alone has the others.
fn is_active(partition: &Partition, field: &dyn Fn(&str) -> String) -> Result<bool, PlanError> {
    for flag in &partition.flags {
        match flag.attribute_bits() {
            None => return Err(unsupported(*flag, field)),
            Some(0) if *flag != PartitionFlag::BiosGrub => {}
            Some(_) => {
                let reason = format!("an MBR has no flag `{}`", flag.word());
                return Err(PlanError::field(field("flags"), reason)
                    .with_hint("leave it out, or use `partitionTableType: gpt`"));
            }
        }
    }
    Ok(partition.flags.contains(&PartitionFlag::Boot))
}

/// Returns the type of a partition in an MBR. That of plain data follows its file system: other systems look at it.
fn mbr_code(partition: &Partition, field: &dyn Fn(&str) -> String) -> Result<u8, PlanError> {
    let gpt = "use `partitionTableType: gpt`";
    if partition.type_uuid.is_some() {
        let reason = "the types of an MBR are no GUIDs";
        return Err(PlanError::field(field("typeUUID"), reason).with_hint(format!("name a `type`, or {gpt}")));
    }
    match (partition.kind, partition.file_system) {
        (PartitionType::Linux, Some(FileSystem::Fat32)) => Ok(0x0c),
        (PartitionType::Linux, Some(FileSystem::Fat16)) => Ok(0x0e),
        (kind, _) => kind.mbr_code().ok_or_else(|| {
            let reason = format!("an MBR has no type {:?}", kind.word());
            PlanError::field(field("type"), reason).with_hint(gpt)
        }),
    }
}

/// Checks the partitions of an MBR against each other: at most one is active, and the logical ones follow each other in
/// the order of their numbers, each with room for its record before it.
pub(super) fn check_mbr(partitions: &mut [PlannedPartition]) -> Result<(), PlanError> {
    let refuse = |partitions: &[PlannedPartition], index: usize, name: &str, reason: &str| {
        let error = PlanError::field(at(partitions, index, name), reason);
        let gpt = "or use `partitionTableType: gpt`";
        Err(match name {
            "start" => error.with_hint(format!(
                "leave 1 MiB free before each partition from the fourth on, {gpt}"
            )),
            _ => error,
        })
    };
    let is_active = |index: &usize| matches!(partitions[*index].entry, Entry::Primary { is_active: true, .. });
    if let Some(second) = (0..partitions.len()).filter(is_active).nth(1) {
        return refuse(
            partitions,
            second,
            "flags",
            "an MBR has one active partition, with the flag `boot`",
        );
    }
    let mut order: Vec<usize> = (0..partitions.len()).collect();
    order.sort_by_key(|index| partitions[*index].first_lba);
    let is_logical = |index: &usize| matches!(partitions[*index].entry, Entry::Logical { .. });
    let first = order.iter().position(is_logical).unwrap_or(order.len());
    let (_, chain) = order.split_at(first);
    let logical: Vec<usize> = (0..partitions.len()).filter(is_logical).collect();
    if let Some((wrong, _)) = chain.iter().zip(&logical).find(|(there, expected)| there != expected) {
        let reason = "logical partitions have to follow each other in the order of their numbers";
        return refuse(partitions, *wrong, "start", reason);
    }
    for (place, index) in order.iter().enumerate().skip(first).take(logical.len()) {
        let before = place.checked_sub(1).and_then(|before| order.get(before));
        let free_from = before.map_or(1, |before| partitions[*before].last_lba + 1);
        let first_lba = partitions[*index].first_lba;
        if free_from >= first_lba {
            let reason = "a logical partition needs a free sector before it, for its record";
            return refuse(partitions, *index, "start", reason);
        }
        if let Entry::Logical { record_lba, .. } = &mut partitions[*index].entry {
            *record_lba = free_from.max(*record_lba);
        }
    }
    Ok(())
}

/// Names the field `name` of the partition at `index`.
pub(super) fn at(partitions: &[PlannedPartition], index: usize, name: &str) -> String {
    let id = partitions
        .get(index)
        .map_or("", |planned| planned.partition.id.as_str());
    format!("disk.partitions[{index}].{name} (id {id:?})")
}
