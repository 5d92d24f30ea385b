//! The contents of the image: users, loader, secure boot.

use std::collections::HashMap;

use crate::model::{BootProvider, BootType, HashMethod, PartitionType};
use crate::template::schema::{
    SECURE_BOOT, additional_file, bootloader, disk, immutability, partition, system, template, user,
};
use crate::template::shown::REDACTED;
use crate::yaml::{Finding, Findings, Node, Place};

/// Largest number of bytes of a password that bcrypt takes (crypt(5)).
const BCRYPT_MAX_BYTES: usize = 72;

/// Checks `systemConfig`.
pub(super) fn check(system: &Place<'_>, findings: &mut Findings) {
    for user in system.items(system::USERS) {
        if findings.is_full() {
            return;
        }
        password(&user, findings);
    }
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

/// Says whether a password is a crypt(5) hash: `$id$`, then salt and hash.
pub(in crate::template) fn is_hashed(password: &str) -> bool {
    let mut parts = password.split('$');
    let (before, id) = (parts.next(), parts.next());
    before == Some("")
        && id.is_some_and(|id| (1..=8).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric()))
        && parts.next().is_some_and(|salt| !salt.is_empty())
        && parts.next().is_some()
}

/// Checks a password and its hash method.
fn password(user: &Place<'_>, findings: &mut Findings) {
    let Some((password, text)) = user
        .get(user::PASSWORD)
        .and_then(|place| Some((place.clone(), place.node.text()?)))
    else {
        return;
    };
    if text == REDACTED {
        let finding = password.error("is what stands in the place of a password where a template is shown");
        findings.push(finding.hint("put the password in"));
    } else if text.starts_with("$1$") {
        let finding = password.error("is an MD5 hash, which is broken within seconds");
        findings.push(finding.hint("make another one with: openssl passwd -6"));
    } else if is_hashed(text) {
        if text.contains(':') || text.contains(char::is_whitespace) {
            findings.push(password.error("is not a crypt(5) hash: blanks or colons in it"));
        } else if let Some(method) = user.get(user::HASH_ALGO) {
            findings.push(method.warning("has no effect: the password is hashed already"));
        }
    } else if text.len() > BCRYPT_MAX_BYTES && user.read(user::HASH_ALGO) == Some(HashMethod::Bcrypt) {
        findings.push(password.error("is longer than the 72 bytes that bcrypt takes"));
    } else if text.starts_with('$') {
        findings.push(password.warning("starts with $ but is no crypt(5) hash: taken as clear text"));
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

/// Says whether the disk has a partition for hashes: by its id, or as a Linux partition that is mounted nowhere.
pub(in crate::template) fn has_hash_partition(root: &Node) -> bool {
    let partitions = root
        .read(template::DISK)
        .map_or(&[][..], |disk| disk.read(disk::PARTITIONS));
    partitions.iter().any(|node| {
        is_hash_id(node.read(partition::ID))
            || (node.read(partition::MOUNT_POINT) == Some("none")
                && node.read(partition::TYPE) == Some(PartitionType::Linux))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_told_from_passwords() {
        for hash in [
            "$6$salt$hash",
            "$5$rounds=5000$salt$hash",
            "$y$j9T$salt$hash",
            "$2b$10$saltandhash",
        ] {
            assert!(is_hashed(hash), "{hash}");
        }
        for text in ["", "secret", "$ecret", "$$$", "$6$", "6$salt$hash", "$a b$c$d"] {
            assert!(!is_hashed(text), "{text}");
        }
    }
}
