//! Growth, encryption, and disks of images that have none.

use crate::model::{ArtifactFormat, BootProvider, Compression, FileSystem, ImageType, PartitionTable, PartitionType};
use crate::template::schema::{artifact, bootloader, disk, fde, immutability, partition, system, target, template};
use crate::template::size;
use crate::words::Words as _;
use crate::yaml::{Findings, Node, Place};

/// Checks that an encrypted image has its passphrase.
pub(super) fn check_encryption(system: &Place<'_>, findings: &mut Findings) {
    let Some(section) = system.get(system::FDE) else { return };
    let is_on = section.read(fde::ENABLED) == Some(true);
    if is_on && section.read(fde::PASSPHRASE_FILE).is_none() {
        let finding = section
            .at(fde::PASSPHRASE_FILE)
            .error("is missing, and enabled is true");
        findings.push(finding.hint("name a file that holds the passphrase"));
    }
}

/// Checks the artifacts and the disk that belong to the image type.
pub(super) fn check_kind(root: &Place<'_>, findings: &mut Findings) {
    let image_type = root
        .read(template::TARGET)
        .and_then(|target| target.read(target::IMAGE_TYPE));
    let disk = root.get(template::DISK);
    let is_wsl = image_type == Some(ImageType::Wsl2);
    for artifact in disk.iter().flat_map(|disk| disk.items(disk::ARTIFACTS)) {
        check_artifact(&artifact, image_type, findings);
    }
    if !is_wsl {
        return;
    }
    let fields = [
        disk::TABLE.untyped(),
        disk::PARTITIONS.untyped(),
        disk::SIZE.untyped(),
        disk::PATH.untyped(),
    ];
    for field in disk
        .iter()
        .flat_map(|disk| fields.map(|field| disk.get(field)))
        .flatten()
    {
        findings.push(field.error("has no meaning in a wsl2 image, which is an archive without a disk"));
    }
    let kernel = root.get(template::SYSTEM).and_then(|system| system.get(system::KERNEL));
    if let Some(kernel) = kernel {
        findings.push(kernel.error("has no meaning in a wsl2 image, which runs on the kernel of its host"));
    }
}

/// Checks that an artifact is one of an image of `image_type`.
fn check_artifact(artifact: &Place<'_>, image_type: Option<ImageType>, findings: &mut Findings) {
    // Any image can be a container image as well.
    let format = artifact
        .read(artifact::TYPE)
        .filter(|format| *format != ArtifactFormat::Oci);
    let Some(format) = format else {
        return check_container(artifact, findings);
    };
    let at = artifact.at(artifact::TYPE);
    let is_unified = format == ArtifactFormat::Uki;
    let format = if is_unified { ArtifactFormat::Img } else { format };
    let types = [ImageType::Img, ImageType::Wsl2];
    let owner = types.into_iter().find(|owner| owner.archive() == Some(format));
    let own = image_type.and_then(|image_type| Some((image_type, image_type.archive()?)));
    let finding = match (own, owner) {
        (Some((image_type, archive)), _) if archive != format => {
            let (kind, word) = (image_type.word(), archive.word());
            let finding = at.error(format!("has to be {word}: {kind} images are archives"));
            Some((finding, image_type, archive))
        }
        (None, Some(owner)) => Some((at.error(format!("is for {} images only", owner.word())), owner, format)),
        _ => None,
    };
    if let Some((finding, image_type, format)) = finding {
        findings.push(finding.hint(format!(
            "type: {} belongs to imageType: {}, and no other type does",
            format.word(),
            image_type.word()
        )));
    }
    if format == ArtifactFormat::Img && artifact.read(artifact::COMPRESSION) == Some(Compression::Bzip2) {
        let at = artifact.at(artifact::COMPRESSION);
        let finding = at.error("is no compression of an initrd");
        findings.push(finding.hint("use gz, zstd or xz, which the kernels of all distributions unpack"));
    }
}

/// Checks the compression of a container image's layers.
fn check_container(artifact: &Place<'_>, findings: &mut Findings) {
    let method = artifact.read(artifact::COMPRESSION);
    if matches!(method, Some(Compression::Xz | Compression::Bzip2)) {
        let finding = artifact
            .at(artifact::COMPRESSION)
            .error("is no compression of a container image");
        findings.push(finding.hint("use gz, zstd or none, which registries know"));
    }
}

/// Checks what only the merged template shows: growth needs the root file system at the end of a disk that may be
/// written, encryption needs partitions that can be encrypted.
pub(super) fn check_merged(root: &Node, findings: &mut Findings) {
    let place = Place::root(root);
    let disk = place.get(template::DISK);
    let system = place.get(template::SYSTEM);
    if let Some(disk) = &disk {
        check_growth(disk, &place, findings);
        check_growing(disk, &place, findings);
    }
    let section = system.as_ref().and_then(|system| system.get(system::FDE));
    if let Some(section) = section.filter(|section| section.read(fde::ENABLED) == Some(true)) {
        let loader = system.as_ref().and_then(|system| system.read(system::BOOTLOADER));
        if loader.and_then(|loader| loader.read(bootloader::PROVIDER)) == Some(BootProvider::Grub) {
            let finding = section
                .at(fde::ENABLED)
                .error("cannot be true with bootloader.provider: grub");
            findings.push(finding.hint("use provider: systemd-boot"));
        }
        check_encrypted(&section, disk.as_ref(), findings);
    }
}

/// Checks `disk.extendLastPartitionToFillDisk`.
fn check_growth(disk: &Place<'_>, root: &Place<'_>, findings: &mut Findings) {
    let flag = disk
        .get(disk::EXTEND_LAST)
        .filter(|flag| flag.node.bool() == Some(true));
    let Some(flag) = flag else { return };
    let image_type = root
        .read(template::TARGET)
        .and_then(|target| target.read(target::IMAGE_TYPE));
    match image_type {
        Some(ImageType::Raw) => {}
        Some(ImageType::Iso) => {
            return findings.push(flag.error("is for disk images; an installer fills the disk anyway"));
        }
        _ => return findings.push(flag.warning("has no effect: this image has no disk")),
    }
    let section = root
        .read(template::SYSTEM)
        .and_then(|system| system.read(system::IMMUTABILITY));
    if section.and_then(|section| section.read(immutability::ENABLED)) == Some(true) {
        findings.push(flag.error("cannot be true with immutability.enabled: a verified root never changes"));
    }
    let last = disk.items(disk::PARTITIONS).last();
    if let Some(last) = last.filter(|last| last.read(partition::MOUNT_POINT) != Some("/")) {
        let message = format!(
            "needs the root file system in the last partition, and {} is not mounted at /",
            last.path
        );
        findings.push(
            flag.error(message)
                .hint("put the partition that is mounted at / at the end"),
        );
    }
}

/// Checks `disk.partitions[].grow`: only what lies at the end of a disk can grow, and a verified root never changes.
fn check_growing(disk: &Place<'_>, root: &Place<'_>, findings: &mut Findings) {
    let partitions: Vec<Place<'_>> = disk.items(disk::PARTITIONS).collect();
    let start = |partition: &Place<'_>| partition.read(partition::START).and_then(|text| size::parse(text).ok());
    let last = partitions.iter().max_by_key(|partition| start(partition));
    let is_mbr = disk.read(disk::TABLE) == Some(PartitionTable::Mbr);
    let system = root.read(template::SYSTEM);
    let section = system.and_then(|system| system.read(system::IMMUTABILITY));
    let is_immutable = section.and_then(|section| section.read(immutability::ENABLED)) == Some(true);
    for partition in partitions
        .iter()
        .filter(|partition| partition.read(partition::GROW) == Some(true))
    {
        let flag = partition.at(partition::GROW);
        if let Some(last) = last.filter(|last| last.path != partition.path) {
            let message = format!("cannot be true: {} lies behind this partition", last.path);
            findings.push(
                flag.error(message)
                    .hint("only the last partition on a disk has room to grow"),
            );
        } else if is_immutable && partition.read(partition::MOUNT_POINT) == Some("/") {
            findings.push(flag.error("cannot be true with immutability.enabled: a verified root never changes"));
        } else if is_mbr && partitions.len() > PRIMARY_MAX {
            findings.push(
                flag.error("cannot be true: a logical partition of an MBR lies in another one")
                    .hint("use `partitionTableType: gpt`"),
            );
        } else if matches!(
            partition.read(partition::FS_TYPE),
            Some(Some(FileSystem::Fat32 | FileSystem::Fat16 | FileSystem::Swap))
        ) {
            findings.push(flag.error("cannot be true: this file system does not grow while it is used"));
        }
    }
}

/// The most partitions of an MBR of which none is logical.
const PRIMARY_MAX: usize = 4;

/// Checks the partitions that are to be encrypted.
fn check_encrypted(section: &Place<'_>, disk: Option<&Place<'_>>, findings: &mut Findings) {
    let partitions: Vec<Place<'_>> = disk.iter().flat_map(|disk| disk.items(disk::PARTITIONS)).collect();
    for id in section.items(fde::PARTITIONS) {
        let text = id.node.text();
        let Some(found) = partitions
            .iter()
            .find(|partition| partition.read(partition::ID) == text)
        else {
            let known = partitions.iter().filter_map(|partition| partition.read(partition::ID));
            findings.push(id.error("there is no partition with this id").allowed(known));
            continue;
        };
        let file_system = found.read(partition::FS_TYPE).flatten();
        let is_fat = matches!(file_system, Some(FileSystem::Fat32 | FileSystem::Fat16));
        if file_system.is_none() || is_fat || found.read(partition::TYPE) == Some(PartitionType::Esp) {
            findings.push(id.error("this partition cannot be encrypted: firmware reads it, or it has no file system"));
        }
    }
}
