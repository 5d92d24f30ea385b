//! Where everything lies on the disk and what it is called, decided and checked
//! before any work starts.
//!
//! Invariant: the partitions of a [`DiskPlan`] lie inside the usable area, do not
//! overlap, start and end on sectors, and exactly one is mounted at `/`.

mod check;

use uuid::Uuid;

use super::partition_type::{self, ESP};
use super::seed::ImageSeed;
use crate::package::Arch;
use crate::template::model::{Disk, FileSystem, Partition, PartitionTable};

/// Bytes of a logical sector.
pub const SECTOR_BYTES: u64 = 512;
/// What partitions should be aligned to.
pub const ALIGNMENT_BYTES: u64 = 1 << 20;
/// Sectors that GPT takes at the start (MBR, header, 128 entries) and, less one, at the end.
const TABLE_SECTORS: u64 = 34;

/// A disk, laid out.
#[derive(Debug, Clone, PartialEq)]
pub struct DiskPlan {
    /// Size of the whole disk.
    pub size_bytes: u64,
    /// GPT disk GUID.
    pub uuid: Uuid,
    /// In the order of the template.
    pub partitions: Vec<PlannedPartition>,
    /// What works but is probably not meant, each one naming its field.
    pub warnings: Vec<String>,
}

/// A partition, laid out.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedPartition {
    /// Number in the table, from 1.
    pub number: u32,
    /// What the template says of it.
    pub partition: Partition,
    /// First sector.
    pub first_lba: u64,
    /// Last sector, inclusive.
    pub last_lba: u64,
    /// GPT partition GUID (the PARTUUID).
    pub uuid: Uuid,
    /// GPT type GUID.
    pub type_uuid: Uuid,
    /// GPT attribute bits.
    pub attributes: u64,
    /// UUID of the file system or swap space.
    pub fs_uuid: Uuid,
    /// Seed of the directory hashes of ext file systems.
    pub hash_seed: Uuid,
}

impl PlannedPartition {
    /// Its size.
    pub fn size_bytes(&self) -> u64 {
        (self.last_lba - self.first_lba + 1) * SECTOR_BYTES
    }

    /// Where it starts on the disk.
    pub fn offset_bytes(&self) -> u64 {
        self.first_lba * SECTOR_BYTES
    }

    /// FAT volume id: the first half of the file system's UUID, shortened.
    pub fn fat_volume_id(&self) -> u32 {
        let [a, b, c, d, ..] = *self.fs_uuid.as_bytes();
        u32::from_be_bytes([a, b, c, d])
    }

    /// Whether it is mounted at `path`.
    pub fn is_mounted_at(&self, path: &str) -> bool {
        self.partition.mount_point.as_deref() == Some(path)
    }
}

impl DiskPlan {
    /// The partition mounted at `/`; a plan from [`plan`] always has one.
    pub fn root(&self) -> Option<&PlannedPartition> {
        self.partitions.iter().find(|p| p.is_mounted_at("/"))
    }

    /// The EFI system partition, which every UEFI boot loader needs.
    ///
    /// # Errors
    /// [`PlanError`] if there is none.
    pub fn esp(&self) -> Result<&PlannedPartition, PlanError> {
        let esp = self.partitions.iter().find(|p| p.type_uuid == ESP);
        esp.ok_or_else(|| {
            PlanError::field(
                "disk.partitions",
                "no EFI system partition, which the boot loader needs",
            )
            .with_hint("add a partition with `type: esp` and `fsType: fat32`")
        })
    }
}

/// Why a disk cannot be made as the template asks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A field's value cannot be.
    #[error("{field}: {reason}")]
    Field {
        /// The field, as a path from the template's top.
        field: String,
        /// What is wrong with it.
        reason: String,
        /// What to do.
        hint: Option<String>,
    },
    /// What a field asks for is not made by this version.
    #[error("{field}: {what} is not supported yet")]
    Unsupported {
        /// The field, as a path from the template's top.
        field: String,
        /// What it asks for.
        what: String,
        /// What to use instead.
        hint: String,
    },
}

impl PlanError {
    /// What the author of the template can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Field { hint, .. } => hint.clone(),
            Self::Unsupported { hint, .. } => Some(hint.clone()),
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

/// Lays `disk` out for `arch`. Every identifier is derived from `seed`.
///
/// A partition runs from `start` to `end`; one without `end` takes what is left
/// up to the last full MiB before the backup table. Values that are no multiple
/// of a sector are refused, those that are no multiple of 1 MiB give a warning.
/// Without `disk.size` the disk is as large as its partitions need.
///
/// # Errors
/// [`PlanError`], naming the field.
pub fn plan(disk: &Disk, arch: Arch, seed: &ImageSeed) -> Result<DiskPlan, PlanError> {
    if disk.table == PartitionTable::Mbr {
        return Err(PlanError::Unsupported {
            field: "disk.partitionTableType".into(),
            what: "`mbr`".into(),
            hint: "use `gpt`".into(),
        });
    }
    if disk.partitions.is_empty() {
        return Err(PlanError::field(
            "disk.partitions",
            "a disk needs at least one partition",
        ));
    }
    if disk.partitions.len() > 128 {
        return Err(PlanError::field("disk.partitions", "GPT holds at most 128 partitions"));
    }
    let size_bytes = disk_size_bytes(disk)?;
    let mut warnings = Vec::new();
    let mut partitions = Vec::new();
    for (index, partition) in disk.partitions.iter().enumerate() {
        let field = |name: &str| format!("disk.partitions[{index}].{name} (id {:?})", partition.id);
        let (first_lba, last_lba) = extent(partition, size_bytes, &field, &mut warnings)?;
        let (type_uuid, attributes) = table_type(partition, arch, &field)?;
        let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
        let planned = PlannedPartition {
            number,
            partition: partition.clone(),
            first_lba,
            last_lba,
            uuid: seed.uuid(&format!("partition {number}")),
            type_uuid,
            attributes,
            fs_uuid: seed.uuid(&format!("file system {number}")),
            hash_seed: seed.uuid(&format!("hash seed {number}")),
        };
        check::contents(&planned, &field)?;
        partitions.push(planned);
    }
    check::together(&partitions)?;
    Ok(DiskPlan {
        size_bytes,
        uuid: seed.uuid("disk"),
        partitions,
        warnings,
    })
}

/// `disk.size`, or what the partitions need.
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
    if !size_bytes.is_multiple_of(SECTOR_BYTES) {
        return Err(PlanError::field(
            "disk.size",
            format!("{size_bytes} bytes is not a multiple of {SECTOR_BYTES}"),
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

/// First and last sector of a partition.
fn extent(
    partition: &Partition,
    disk_size_bytes: u64,
    field: &dyn Fn(&str) -> String,
    warnings: &mut Vec<String>,
) -> Result<(u64, u64), PlanError> {
    let usable = TABLE_SECTORS * SECTOR_BYTES..disk_size_bytes - (TABLE_SECTORS - 1) * SECTOR_BYTES;
    let start = partition.start_bytes;
    let end = match partition.end_bytes {
        Some(end) => end,
        None => usable.end / ALIGNMENT_BYTES * ALIGNMENT_BYTES,
    };
    for (name, value) in [("start", start), ("end", end)] {
        if !value.is_multiple_of(SECTOR_BYTES) {
            let reason = format!("byte {value} is not on a sector ({SECTOR_BYTES} bytes)");
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
        let hint = "the backup partition table needs the last 33 sectors: write `end: \"0\"` for the rest of the disk, or enlarge disk.size";
        return Err(PlanError::field(field("end"), reason).with_hint(hint));
    }
    if start >= end {
        let (name, reason) = match partition.end_bytes {
            Some(_) => ("end", format!("byte {end} is not behind the start, {start}")),
            None => ("start", format!("nothing is left of the disk behind byte {start}")),
        };
        return Err(PlanError::field(field(name), reason));
    }
    Ok((start / SECTOR_BYTES, end / SECTOR_BYTES - 1))
}

/// Type GUID and attribute bits.
fn table_type(partition: &Partition, arch: Arch, field: &dyn Fn(&str) -> String) -> Result<(Uuid, u64), PlanError> {
    let type_uuid = match partition.type_uuid {
        Some(uuid) => uuid,
        None if partition.kind.is_empty() => partition_type::LINUX,
        None => match partition_type::by_name(&partition.kind) {
            Some((_, Some(only))) if only != arch => {
                let reason = format!("{:?} is for {only}, but target.arch is {arch}", partition.kind);
                return Err(PlanError::field(field("type"), reason));
            }
            Some((uuid, _)) => uuid,
            None => {
                let names: Vec<_> = partition_type::NAMES.iter().map(|(name, ..)| *name).collect();
                return Err(
                    PlanError::field(field("type"), format!("unknown type {:?}", partition.kind))
                        .with_hint(format!("known are {}; or give typeUUID", names.join(", "))),
                );
            }
        },
    };
    let mut attributes = 0;
    for flag in &partition.flags {
        attributes |= partition_type::attribute_bits(flag).ok_or_else(|| {
            PlanError::field(field("flags"), format!("unknown flag {flag:?}"))
                .with_hint(format!("known are {}", partition_type::FLAGS))
        })?;
    }
    Ok((type_uuid, attributes))
}

/// Whether `file_system` can hold the root of a Linux system here.
fn is_ext(file_system: Option<FileSystem>) -> bool {
    matches!(
        file_system,
        Some(FileSystem::Ext2 | FileSystem::Ext3 | FileSystem::Ext4)
    )
}

#[cfg(test)]
pub(super) mod tests;
