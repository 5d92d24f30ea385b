//! Checks of the contents of each partition, and of partitions against each other.

use std::collections::HashMap;

use super::entry;
use super::{Entry, PlanError, PlannedPartition};
use crate::image::containers::format;
use crate::image::file_system::Unfit;
use crate::image::kinds;
use crate::model::{Disk, FileSystem};
use crate::words::Words as _;

/// Returns the size of `disk` in bytes that all of its artifacts can have: `size_bytes`, or the next size that is a multiple
/// of what one of them needs, with a warning.
pub(super) fn fit_artifacts(disk: &Disk, size_bytes: u64, warnings: &mut Vec<String>) -> Result<u64, PlanError> {
    let formats = disk.artifacts.iter().map(|artifact| artifact.format);
    let unit = formats
        .clone()
        .map(|format| (format::unit_bytes(format), format))
        .max_by_key(|(unit, _)| *unit);
    // Each unit is a multiple of the smaller ones.
    let fitting = unit.map_or(size_bytes, |(unit, _)| size_bytes.next_multiple_of(unit));
    if let Some((unit, format)) = unit.filter(|_| fitting != size_bytes) {
        warnings.push(format!(
            "disk.size: the disk has {} MiB instead of {} bytes, because {:?} in disk.artifacts needs a multiple of {} MiB",
            fitting >> 20,
            size_bytes,
            format.word(),
            unit >> 20,
        ));
    }
    for (index, format) in formats.enumerate() {
        let max_bytes = format::max_bytes(format);
        if fitting > max_bytes {
            let reason = format!("{:?} holds a disk of at most {} GiB", format.word(), max_bytes >> 30);
            let error = PlanError::field(format!("disk.artifacts[{index}].type"), reason);
            return Err(error.with_hint("make disk.size smaller, or choose another format"));
        }
    }
    Ok(fitting)
}

/// Checks names, labels, file system and mount point of one partition.
pub(super) fn contents(planned: &PlannedPartition, field: &dyn Fn(&str) -> String) -> Result<(), PlanError> {
    let partition = &planned.partition;
    let is_gpt = matches!(planned.entry, Entry::Gpt { .. });
    if is_gpt && partition.name.encode_utf16().count() > 36 {
        return Err(PlanError::field(
            field("name"),
            "GPT names have at most 36 UTF-16 units",
        ));
    }
    let is_fat = matches!(partition.file_system, Some(FileSystem::Fat16 | FileSystem::Fat32));
    if planned.entry.is_esp() && !is_fat {
        return Err(
            PlanError::field(field("fsType"), "an EFI system partition has to be FAT").with_hint("use `fsType: fat32`"),
        );
    }
    file_system(planned, field)?;
    match partition.mount_point.as_deref() {
        Some(path) => mount_point(path, planned, field),
        None => Ok(()),
    }
}

/// Checks whether the file system can be made, of this size and with this label.
fn file_system(planned: &PlannedPartition, field: &dyn Fn(&str) -> String) -> Result<(), PlanError> {
    let label = planned.partition.label.as_deref();
    let Some(kind) = planned.partition.file_system else {
        return match label {
            Some(_) => Err(PlanError::field(
                field("fsLabel"),
                "a partition without fsType has no label",
            )),
            None => Ok(()),
        };
    };
    let Some(writer) = kinds::for_sectors(kind, planned.sector_bytes) else {
        return Err(PlanError::Unsupported {
            field: field("fsType"),
            what: Some(kind).word().into(),
            hint: "use ext4".into(),
        });
    };
    let limit_bytes = kind.max_label_bytes();
    if label.is_some_and(|label| label.len() > limit_bytes || label.contains('\0')) {
        let reason = format!("a label has at most {limit_bytes} bytes here");
        return Err(PlanError::field(field("fsLabel"), reason));
    }
    writer.check(planned.size_bytes(), label).map_err(|unfit| match unfit {
        Unfit::Size(_) => {
            PlanError::field(field("fsType"), unfit.to_string()).with_hint("change the partition's size, or its fsType")
        }
        Unfit::Label(_) => PlanError::field(field("fsLabel"), unfit.to_string()),
    })
}

fn mount_point(path: &str, planned: &PlannedPartition, field: &dyn Fn(&str) -> String) -> Result<(), PlanError> {
    let is_plain = path == "/"
        || path.strip_prefix('/').is_some_and(|rest| {
            rest.split('/').all(|part| !matches!(part, "" | "." | "..")) && !rest.contains(['\0', '\n'])
        });
    let file_system = planned.partition.file_system;
    let reason = match file_system {
        _ if !is_plain => format!("{path:?} is not a plain absolute path"),
        None => "a partition without fsType cannot be mounted".to_owned(),
        Some(FileSystem::Swap) => "swap space is not mounted".to_owned(),
        Some(kind) if path == "/" && !kinds::of(kind).is_some_and(|writer| writer.is_unix()) => {
            "the root needs a file system that keeps owners and permissions, such as ext4".to_owned()
        }
        Some(_) => return Ok(()),
    };
    let name = if path == "/" && is_plain {
        "fsType"
    } else {
        "mountPoint"
    };
    Err(PlanError::field(field(name), reason))
}

/// Checks that partitions share neither sectors nor mount points, and that one is mounted at `/`.
pub(super) fn together(partitions: &[PlannedPartition]) -> Result<(), PlanError> {
    let mut by_start: Vec<_> = partitions.iter().enumerate().collect();
    by_start.sort_by_key(|(_, planned)| planned.first_lba);
    for pair in by_start.windows(2) {
        if let [(_, before), (index, after)] = pair
            && after.first_lba <= before.last_lba
        {
            let reason = format!("overlaps with partition {:?}", before.partition.id);
            return Err(PlanError::field(entry::at(partitions, *index, "start"), reason));
        }
    }
    let mut seen = HashMap::new();
    for (index, planned) in partitions.iter().enumerate() {
        let Some(path) = planned.partition.mount_point.as_deref() else {
            continue;
        };
        if let Some(other) = seen.insert(path, &planned.partition.id) {
            let reason = format!("{path:?} is taken by partition {other:?}");
            return Err(PlanError::field(entry::at(partitions, index, "mountPoint"), reason));
        }
    }
    if !seen.contains_key("/") {
        return Err(
            PlanError::field("disk.partitions", "no partition is mounted at /").with_hint("give one `mountPoint: /`")
        );
    }
    Ok(())
}
