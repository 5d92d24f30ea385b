//! The partitions of an image, in the keys of the tool that oic replaces.

use serde::Serialize;

use super::boot_config::BootConfig;
use super::efi::{self, EfiBinary};
use crate::disk::fat;
use crate::disk::image::{Image, Volume};
use crate::disk::probe::{Contents, FileSystem};
use crate::disk::system::System;
use crate::disk::table::{Kind, Partition, PartitionKind, Table};
use crate::overlay::layer::Layer;

/// Partitions begin at multiples of this, in bytes.
const ALIGNMENT_BYTES: u64 = 1 << 20;

/// The partition table.
#[derive(Debug, Default, Serialize)]
pub struct TableReport {
    /// `gpt`, `mbr` or `none`.
    #[serde(rename = "Type")]
    pub kind: &'static str,
    /// The GUID of the disk, or the signature of an MBR.
    #[serde(rename = "diskGuid")]
    pub disk_guid: String,
    /// The size of a sector in bytes.
    #[serde(rename = "LogicalSectorSize")]
    pub logical_sector_size: u64,
    /// The same: an image has no sectors of its own.
    #[serde(rename = "PhysicalSectorSize")]
    pub physical_sector_size: u64,
    /// Whether an MBR protects a GPT.
    #[serde(rename = "ProtectiveMBR")]
    pub protective_mbr: bool,
    /// The partitions.
    #[serde(rename = "Partitions")]
    pub partitions: Vec<PartitionReport>,
    /// The largest range that no partition takes.
    #[serde(rename = "largestFreeSpan", skip_serializing_if = "Option::is_none")]
    pub largest_free_span: Option<Span>,
    /// The numbers of partitions that do not begin at a whole MiB.
    #[serde(rename = "misalignedPartitions")]
    pub misaligned_partitions: Vec<u32>,
}

/// A range of sectors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Span {
    /// First sector.
    pub start_lba: u64,
    /// Last sector.
    pub end_lba: u64,
    /// Length in bytes.
    pub size_bytes: u64,
}

/// A partition.
#[derive(Debug, Default, Serialize)]
pub struct PartitionReport {
    /// Number, from 1.
    #[serde(rename = "Index")]
    pub index: u32,
    /// Name in the table.
    #[serde(rename = "Name")]
    pub name: String,
    /// The GUID of its type, or the code of an MBR.
    #[serde(rename = "Type")]
    pub kind: String,
    /// Its `PARTUUID`.
    pub guid: String,
    /// First sector.
    #[serde(rename = "StartLBA")]
    pub start_lba: u64,
    /// Last sector.
    #[serde(rename = "EndLBA")]
    pub end_lba: u64,
    /// Size in bytes.
    #[serde(rename = "SizeBytes")]
    pub size_bytes: u64,
    /// The attributes that are set, in words.
    #[serde(rename = "Flags")]
    pub flags: String,
    /// The attributes of a GPT.
    #[serde(rename = "attrRaw")]
    pub attributes: u64,
    /// Attribute 0.
    #[serde(rename = "attrRequired")]
    pub is_required: bool,
    /// Attribute 2, or the mark of an MBR.
    #[serde(rename = "attrLegacyBiosBootable")]
    pub is_bootable: bool,
    /// Attribute 60.
    #[serde(rename = "attrReadOnly")]
    pub is_read_only: bool,
    /// The size of a sector in bytes.
    #[serde(rename = "logicalSectorSize")]
    pub logical_sector_size: u64,
    /// What it holds.
    pub filesystem: Option<FileSystemReport>,
}

/// The contents of a partition.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileSystemReport {
    /// The kind, in the words of blkid(8).
    #[serde(rename = "type")]
    pub kind: String,
    /// The label.
    pub label: String,
    /// The UUID.
    pub uuid: String,
    /// The size of a block in bytes.
    #[serde(skip_serializing_if = "is_zero")]
    pub block_size: u64,
    /// The size of what no file takes, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free_bytes: Option<u64>,
    /// The features of ext2, ext3 and ext4.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// What is remarkable.
    pub notes: Vec<String>,
    /// `FAT12`, `FAT16` or `FAT32`.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub fat_type: &'static str,
    /// The size of a sector of FAT in bytes.
    #[serde(skip_serializing_if = "is_zero")]
    pub bytes_per_sector: u64,
    /// The size of a cluster of FAT.
    #[serde(skip_serializing_if = "is_zero")]
    pub sectors_per_cluster: u64,
    /// The number of clusters of FAT.
    #[serde(skip_serializing_if = "is_zero")]
    pub cluster_count: u64,
    /// Whether one of the EFI programs is a shim.
    pub has_shim: bool,
    /// Whether one of them is a unified kernel image.
    pub has_uki: bool,
    /// The EFI programs of FAT.
    pub efi_binaries: Vec<EfiBinary>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl TableReport {
    /// Describes the table of `image`; adds what could not be read to `notes`.
    pub(super) fn of(image: &Image, notes: &mut Vec<String>) -> Self {
        let partitions = image
            .volumes
            .iter()
            .map(|volume| PartitionReport::of(image, volume))
            .collect();
        let Some(table) = &image.table else {
            return Self {
                kind: "none",
                partitions,
                ..Self::default()
            };
        };
        notes.extend(table.notes.iter().cloned());
        let (kind, disk_guid, protective_mbr) = match table.kind {
            Kind::Gpt { disk, is_protected, .. } => ("gpt", disk.to_string(), is_protected),
            Kind::Mbr { signature } => ("mbr", format!("{signature:08x}"), false),
        };
        let is_misaligned = |partition: &&Partition| {
            !partition
                .first_lba
                .saturating_mul(table.sector_bytes)
                .is_multiple_of(ALIGNMENT_BYTES)
        };
        Self {
            kind,
            disk_guid,
            logical_sector_size: table.sector_bytes,
            physical_sector_size: table.sector_bytes,
            protective_mbr,
            partitions,
            largest_free_span: free_span(table, image.disk.size_bytes()),
            misaligned_partitions: table
                .partitions
                .iter()
                .filter(is_misaligned)
                .map(|own| own.number)
                .collect(),
        }
    }
}

impl TableReport {
    /// Adds the menus of boot loaders, which lie beside them or in the system `layer`.
    pub(super) fn add_boot_configs(&mut self, image: &Image, layer: Option<&System>) {
        for partition in &mut self.partitions {
            let volume = image.volumes.iter().find(|volume| volume.number == partition.index);
            let own = volume.and_then(|volume| volume.contents.as_ref().ok()?.file_system.as_ref());
            let (Some(contents), Some(own)) = (&mut partition.filesystem, own) else {
                continue;
            };
            let own = own.layer();
            let mut layers: Vec<&dyn Layer> = vec![&*own];
            layers.extend(layer.map(|layer| layer as &dyn Layer));
            let is_loader = |binary: &&mut EfiBinary| matches!(binary.kind, "grub" | "systemd-boot");
            for binary in contents.efi_binaries.iter_mut().filter(is_loader) {
                binary.boot_config = BootConfig::of(&layers, image);
            }
        }
    }
}

/// Finds the largest range of sectors that no partition takes.
fn free_span(table: &Table, disk_bytes: u64) -> Option<Span> {
    let (first, end) = match table.kind {
        Kind::Gpt {
            first_lba, last_lba, ..
        } => (first_lba, last_lba.saturating_add(1)),
        Kind::Mbr { .. } => (1, disk_bytes / table.sector_bytes),
    };
    let mut taken: Vec<(u64, u64)> = table
        .partitions
        .iter()
        .map(|own| (own.first_lba, own.last_lba))
        .collect();
    taken.sort_unstable();
    let (mut at, mut spans) = (first, Vec::new());
    for (start, last) in taken.into_iter().chain([(end, end)]) {
        if start > at {
            spans.push((at, start - 1));
        }
        at = at.max(last.saturating_add(1));
    }
    let (start_lba, end_lba) = spans.into_iter().max_by_key(|(start, last)| last - start)?;
    Some(Span {
        start_lba,
        end_lba,
        size_bytes: (end_lba - start_lba + 1).saturating_mul(table.sector_bytes),
    })
}

impl PartitionReport {
    fn of(image: &Image, volume: &Volume) -> Self {
        let filesystem = Some(FileSystemReport::of(volume));
        let (Some(table), Some(partition)) = (&image.table, &volume.partition) else {
            return Self {
                size_bytes: image.disk.size_bytes(),
                filesystem,
                ..Self::default()
            };
        };
        let bit = |attributes: u64, bit: u32| attributes >> bit & 1 != 0;
        let (kind, attributes, is_bootable) = match &partition.kind {
            PartitionKind::Gpt {
                type_uuid, attributes, ..
            } => (type_uuid.to_string(), *attributes, bit(*attributes, 2)),
            PartitionKind::Mbr { code, is_active, .. } => (format!("{code:02x}"), 0, *is_active),
        };
        let words = [
            (bit(attributes, 0), "required"),
            (is_bootable, "legacy-bios-bootable"),
            (bit(attributes, 59), "grow-file-system"),
            (bit(attributes, 60), "read-only"),
            (bit(attributes, 63), "no-auto"),
        ];
        let flags: Vec<&str> = words
            .into_iter()
            .filter(|(is_set, _)| *is_set)
            .map(|(_, word)| word)
            .collect();
        Self {
            index: partition.number,
            name: partition.name().to_owned(),
            kind,
            guid: partition.part_uuid(),
            start_lba: partition.first_lba,
            end_lba: partition.last_lba,
            size_bytes: partition.sectors().saturating_mul(table.sector_bytes),
            flags: flags.join(","),
            attributes,
            is_required: bit(attributes, 0),
            is_bootable,
            is_read_only: bit(attributes, 60),
            logical_sector_size: table.sector_bytes,
            filesystem,
        }
    }
}

impl FileSystemReport {
    fn of(volume: &Volume) -> Self {
        let contents = match &volume.contents {
            Ok(contents) => contents,
            Err(error) => {
                return Self {
                    notes: vec![error.to_string()],
                    ..Self::default()
                };
            }
        };
        let mut report = Self {
            kind: contents.kind.to_owned(),
            label: contents.label.clone(),
            uuid: contents.uuid.clone(),
            ..Self::default()
        };
        report.details(contents);
        report
    }

    fn details(&mut self, contents: &Contents) {
        match &contents.file_system {
            Some(FileSystem::Ext(_, facts)) => {
                self.block_size = facts.block_bytes;
                self.free_bytes = facts.free_blocks.checked_mul(facts.block_bytes);
                self.features = facts.features.clone();
                if let Some(blocks) = facts.replayed_blocks {
                    let note = format!("it was not unmounted: its journal holds newer versions of {blocks} blocks");
                    self.notes.push(note);
                }
            }
            Some(FileSystem::Erofs(_, facts)) => self.block_size = facts.block_bytes,
            Some(FileSystem::Squashfs(_, facts)) => self.block_size = facts.block_bytes,
            Some(FileSystem::Fat(fat, facts)) => {
                self.fat_type = match facts.kind {
                    fat::Kind::Fat12 => "FAT12",
                    fat::Kind::Fat16 => "FAT16",
                    fat::Kind::Fat32 => "FAT32",
                };
                self.block_size = facts.sector_bytes * facts.cluster_sectors;
                self.bytes_per_sector = facts.sector_bytes;
                self.sectors_per_cluster = facts.cluster_sectors;
                self.cluster_count = facts.clusters;
                match efi::binaries(&**fat) {
                    Ok(binaries) => self.efi_binaries = binaries,
                    Err(error) => self.notes.push(error.to_string()),
                }
                self.has_shim = self.efi_binaries.iter().any(|binary| binary.kind == "shim");
                self.has_uki = self.efi_binaries.iter().any(|binary| binary.is_uki);
            }
            None => {}
        }
    }
}
