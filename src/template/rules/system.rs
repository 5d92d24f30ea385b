//! The contents of the image: files, loader, secure boot.

use std::collections::HashMap;

use crate::model::{BootProvider, BootType, PartitionType};
use crate::template::schema::{
    SECURE_BOOT, additional_file, bootloader, disk, immutability, partition, system, template,
};
use crate::yaml::{Finding, Findings, Node, Place};

/// Checks `systemConfig`.
pub(super) fn check(system: &Place<'_>, findings: &mut Findings) {
    if let Some(section) = system.get(system::IMMUTABILITY) {
        secure_boot(&section, findings);
    }
    repeated_files(system, findings);
    if let Some(loader) = system.get(system::BOOTLOADER)
        && loader.read(bootloader::BOOT_TYPE) == Some(BootType::Legacy)
        && loader.read(bootloader::PROVIDER) == Some(BootProvider::SystemdBoot)
    {
        let finding = loader
            .at(bootloader::PROVIDER)
            .error("systemd-boot needs UEFI, and bootType is legacy");
        findings.push(finding.hint("use grub, or bootType: efi"));
    }
}

/// Warns of files for the same place. Older templates have some; the later one has always counted.
fn repeated_files(system: &Place<'_>, findings: &mut Findings) {
    let mut seen: HashMap<&str, Place<'_>> = HashMap::new();
    for file in system.items(system::ADDITIONAL_FILES) {
        let Some(place) = file.get(additional_file::FINAL) else {
            continue;
        };
        if let Some(text) = place.node.text()
            && let Some(first) = seen.insert(text, place.clone())
        {
            let line = first.node.span.position().0;
            findings.push(place.warning(format!("takes the place of the file in line {line}")));
        }
    }
}

/// Checks that the keys for secure boot are complete and `enabled` is set.
fn secure_boot(section: &Place<'_>, findings: &mut Findings) {
    let Some(given) = SECURE_BOOT.iter().find_map(|field| section.get(*field)) else {
        return;
    };
    for field in SECURE_BOOT.iter().filter(|field| section.read(**field).is_none()) {
        let message = "is missing: secure boot needs all three files";
        let finding = Finding::error(&given.node.span, section.at(*field).path, message);
        findings.push(finding.allowed(SECURE_BOOT.map(|field| field.name)));
    }
    if section.read(immutability::ENABLED) != Some(true) {
        let enabled = section.at(immutability::ENABLED);
        let at = section.get(immutability::ENABLED).unwrap_or(given);
        let message = "must be true when secure boot keys are given";
        findings.push(Finding::error(&at.node.span, enabled.path, message));
    }
}

/// Checks that an image that is verified has a place for its hashes.
pub(super) fn check_merged(root: &Node, findings: &mut Findings) {
    let place = Place::root(root);
    let enabled = place
        .get(template::SYSTEM)
        .and_then(|system| system.get(system::IMMUTABILITY))
        .and_then(|section| section.get(immutability::ENABLED))
        .filter(|enabled| enabled.node.bool() == Some(true));
    match enabled {
        None => unused_hash_partitions(&place, findings),
        Some(enabled) if !has_hash_partition(root) => {
            let finding = enabled.warning("there is no partition for the hashes of the root file system");
            findings.push(finding.hint("add a partition with id: roothashmap, type: linux and mountPoint: none"));
        }
        Some(_) => {}
    }
}

/// Warns of partitions for hashes that no image without verification fills.
fn unused_hash_partitions(root: &Place<'_>, findings: &mut Findings) {
    let disk = root.get(template::DISK);
    for partition in disk.iter().flat_map(|disk| disk.items(disk::PARTITIONS)) {
        if let Some(id) = partition.get(partition::ID).filter(|id| is_hash_id(id.node.text())) {
            let message = "stays empty: it is for hashes, and systemConfig.immutability.enabled is not true";
            findings.push(id.warning(message));
        }
    }
}

/// Says whether a partition of this id is for hashes.
fn is_hash_id(id: Option<&str>) -> bool {
    matches!(id, Some("roothashmap" | "hash"))
}

/// Says whether the disk has a partition for hashes.
pub(in crate::template) fn has_hash_partition(root: &Node) -> bool {
    root.read(template::DISK)
        .is_some_and(|disk| hash_partition(disk.read(disk::PARTITIONS)).is_some())
}

/// Finds the place of the partition for hashes among `partitions`: by its id, by its type, or as the first Linux
/// partition that is mounted nowhere.
pub(in crate::template) fn hash_partition(partitions: &[Node]) -> Option<usize> {
    let kind = |node: &Node| node.read(partition::TYPE);
    let by_id = |node: &Node| is_hash_id(node.read(partition::ID));
    let by_type = |node: &Node| kind(node).is_some_and(PartitionType::is_hash_tree);
    let unmounted =
        |node: &Node| node.read(partition::MOUNT_POINT) == Some("none") && kind(node) == Some(PartitionType::Linux);
    let mut found = partitions.iter().position(by_id);
    found = found.or_else(|| partitions.iter().position(by_type));
    found.or_else(|| partitions.iter().position(unmounted))
}
