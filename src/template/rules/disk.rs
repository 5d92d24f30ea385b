//! Partitions: their places and their contents.

use std::collections::HashMap;

use uuid::Uuid;

use crate::model::{BootType, FileSystem, PartitionType, SectorSize};
use crate::template::schema::{artifact, bootloader, disk, partition, system, template};
use crate::template::size;
use crate::words::Words as _;
use crate::yaml::{Finding, Findings, Node, Place, did_you_mean};

/// A partition's place, as far as the template gives it.
struct Extent<'a> {
    partition: Place<'a>,
    start: u64,
    /// The end; `None` is the rest of the disk.
    end: Option<u64>,
}

/// Checks the partitions of a disk.
pub(super) fn check(disk: &Place<'_>, findings: &mut Findings) {
    for artifact in disk.items(disk::ARTIFACTS) {
        compression(&artifact, findings);
        level(&artifact, findings);
    }
    if let Some(bytes) = disk.read(disk::SECTOR_SIZE)
        && SectorSize::of(bytes).is_none()
    {
        findings.push(disk.at(disk::SECTOR_SIZE).error("has to be 512 or 4096"));
    }
    let mut mounted: HashMap<&str, Place<'_>> = HashMap::new();
    let mut extents = Vec::new();
    for (index, partition) in disk.items(disk::PARTITIONS).enumerate() {
        if findings.is_full() {
            return;
        }
        content(&partition, findings);
        if let Some(point) = partition.get(partition::MOUNT_POINT)
            && let Some(text) = point.node.text().filter(|text| !matches!(*text, "" | "none" | "swap"))
            && let Some(first) = mounted.insert(text, point.clone())
        {
            let line = first.node.span.position().0;
            findings.push(point.error(format!("{text} is mounted twice, first in line {line}")));
        }
        if let Some(number) = partition.get(partition::INDEX)
            && number.node.int() != i64::try_from(index + 1).ok()
        {
            findings.push(number.warning(format!("has no effect: this is partition {}", index + 1)));
        }
        extents.extend(extent(partition, findings));
    }
    let size_bytes = disk.read(disk::SIZE).and_then(|text| size::parse(text).ok());
    if size_bytes == Some(0) {
        findings.push(disk.at(disk::SIZE).error("must not be 0"));
    }
    layout(extents, size_bytes, findings);
}

/// Checks that an artifact is not compressed against the will of its receiver.
fn compression(artifact: &Place<'_>, findings: &mut Findings) {
    let format = artifact
        .read(artifact::TYPE)
        .filter(|format| format.has_own_compression());
    if let Some(format) = format
        && artifact.get(artifact::COMPRESSION).is_some()
    {
        let at = artifact.at(artifact::COMPRESSION);
        let finding = at.error(format!("a file of type {} is compressed already", format.word()));
        findings.push(finding.hint("leave the compression out"));
    }
}

/// Checks that the level of an artifact's compression is one that the method has.
fn level(artifact: &Place<'_>, findings: &mut Findings) {
    let Some(level) = artifact.read(artifact::LEVEL) else {
        return;
    };
    let at = artifact.at(artifact::LEVEL);
    let Some(method) = artifact.read(artifact::COMPRESSION) else {
        findings.push(
            at.error("is the level of no compression")
                .hint("name the compression, or leave the level out"),
        );
        return;
    };
    let levels = method.levels();
    if !u32::try_from(level).is_ok_and(|level| levels.contains(&level)) {
        let message = format!(
            "{level} is no level of {}: {} to {}",
            method.word(),
            levels.start(),
            levels.end()
        );
        findings.push(at.error(message));
    }
}

/// Reads the place of a partition; what is missing or wrong goes to `findings`.
fn extent<'a>(partition: Place<'a>, findings: &mut Findings) -> Option<Extent<'a>> {
    for field in [partition::START, partition::END] {
        if partition.node.get(field).is_none_or(|node| node.text() == Some("")) {
            let finding = Finding::error(&partition.node.span, partition.at(field).path, "is missing");
            findings.push(finding.hint("say where the partition lies, such as start: 1MiB, end: 513MiB"));
        }
    }
    let (start, end) = (partition.read(partition::START), partition.read(partition::END));
    // The schema has reported what is no size.
    let (start, end) = (size::parse(start?).ok()?, size::parse(end?).ok()?);
    if end != 0 && end <= start {
        findings.push(partition.at(partition::END).error("must be behind start"));
        return None;
    }
    let end = Some(end).filter(|end| *end != 0);
    Some(Extent { partition, start, end })
}

/// Checks that nothing overlaps and nothing reaches beyond the disk.
fn layout(mut extents: Vec<Extent<'_>>, size_bytes: Option<u64>, findings: &mut Findings) {
    extents.sort_by_key(|extent| extent.start);
    for pair in extents.windows(2) {
        if findings.is_full() {
            return;
        }
        let [before, after] = pair else { continue };
        let at = after.partition.at(partition::START);
        let path = &before.partition.path;
        match before.end {
            None => {
                let message = format!("{path} takes the rest of the disk, which includes this partition");
                findings.push(at.error(message));
            }
            Some(end) if end > after.start => findings.push(at.error(format!("overlaps {path}"))),
            Some(_) => {}
        }
    }
    let Some(size) = size_bytes.filter(|size| *size > 0) else {
        return;
    };
    for extent in &extents {
        if findings.is_full() {
            return;
        }
        let start = (partition::START, extent.start);
        let (field, last) = extent.end.map_or(start, |end| (partition::END, end));
        if last > size || (extent.end.is_none() && last == size) {
            let message = format!("lies beyond the disk, which has {} MiB", size >> 20);
            findings.push(extent.partition.at(field).error(message));
        }
    }
}

/// Checks that type, file system and label of a partition fit together.
fn content(partition: &Place<'_>, findings: &mut Findings) {
    if let Some(at) = partition.get(partition::TYPE)
        && let Some(name) = at.node.text().filter(|name| !name.is_empty())
        && PartitionType::named(name).is_none()
        && partition.read(partition::TYPE_UUID).is_none()
    {
        let message = format!("{name:?} is not a known partition type: it becomes a plain Linux partition");
        let known = || PartitionType::CHOICES.iter().copied();
        let finding = at.warning(message).allowed(known());
        findings.push(match did_you_mean(name, known()) {
            Some(near) => finding.hint(format!("did you mean {near:?}?")),
            None => finding.hint("set typeUUID to use another type"),
        });
    }
    label(partition, findings);
    file_compression(partition, findings);
    let file_system = partition.read(partition::FS_TYPE).flatten();
    if let Some(point) = partition.get(partition::MOUNT_POINT)
        && point.node.text().is_some_and(|text| text.starts_with('/'))
        && matches!(file_system, None | Some(FileSystem::Swap))
    {
        let finding = point.error("there is no file system to mount");
        findings.push(finding.hint("set fsType, or mountPoint: none"));
    }
}

/// Checks that the file system of a partition can have its label.
fn label(partition: &Place<'_>, findings: &mut Findings) {
    let Some(label) = partition.read(partition::FS_LABEL) else {
        return;
    };
    let at = partition.at(partition::FS_LABEL);
    let Some(file_system) = partition.read(partition::FS_TYPE).flatten() else {
        let finding = at.warning("has no effect: nothing is made on the partition that could carry it");
        return findings.push(finding.hint("set fsType"));
    };
    let limit = file_system.max_label_bytes();
    if label.len() > limit {
        let named = partition.at(partition::FS_TYPE);
        let word = named.node.text().unwrap_or_default();
        findings.push(at.error(format!("{label:?} is too long for {word}, which takes {limit} bytes")));
    }
}

/// Checks that the file system of a partition can be compressed as asked.
fn file_compression(partition: &Place<'_>, findings: &mut Findings) {
    let Some(compression) = partition.read(partition::FS_COMPRESSION).flatten() else {
        return;
    };
    let file_system = partition.read(partition::FS_TYPE).flatten();
    if !file_system.is_some_and(|kind| kind.compresses(compression)) {
        let finding = partition
            .at(partition::FS_COMPRESSION)
            .error("this file system is not compressed so");
        findings.push(finding.hint("use fsType: erofs, or leave it out"));
    }
}

/// Checks that a disk image has a size, a root file system, and an ESP to boot with EFI.
pub(super) fn check_bootable(root: &Node, findings: &mut Findings) {
    let root = Place::root(root);
    let Some(disk) = root.get(template::DISK) else {
        let message = "is missing, and the default template has none";
        findings.push(root.at(template::DISK).error(message));
        return;
    };
    let partitions = disk.read(disk::PARTITIONS);
    let missing = |message: &str| Finding::error(&disk.node.span, disk.at(disk::PARTITIONS).path, message);
    let is_root = |node: &Node| node.read(partition::MOUNT_POINT) == Some("/");
    if !partitions.iter().any(is_root) {
        let finding = missing("no partition is mounted at /");
        findings.push(finding.hint("give the root partition mountPoint: /"));
    }
    if disk.read(disk::SIZE).is_none() {
        findings.push(disk.at(disk::SIZE).error("is missing").hint("such as size: 4GiB"));
    }
    let loader = root
        .read(template::SYSTEM)
        .and_then(|system| system.read(system::BOOTLOADER));
    let boot_type = loader.and_then(|loader| loader.read(bootloader::BOOT_TYPE));
    let is_esp = |node: &Node| {
        let uuid = node
            .read(partition::TYPE_UUID)
            .and_then(|uuid| Uuid::try_parse(uuid).ok());
        node.read(partition::TYPE) == Some(PartitionType::Esp) || uuid == Some(PartitionType::Esp.guid())
    };
    if boot_type != Some(BootType::Legacy) && !partitions.iter().any(is_esp) {
        let finding = missing("there is no EFI system partition");
        findings.push(finding.hint("add a partition of type: esp with fsType: fat32"));
    }
}
