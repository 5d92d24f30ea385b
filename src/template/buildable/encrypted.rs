//! Encrypted partitions that cannot be made, or cannot be opened at boot.

use super::Loaded;
use crate::durable;
use crate::model::FileSystem;
use crate::template::schema::{fde, immutability, system};
use crate::yaml::{Findings, Place};

/// Finds what in `system` cannot be encrypted, or with what nothing can be encrypted.
pub(super) fn check(loaded: &Loaded, system: &Place<'_>, findings: &mut Findings) {
    let Some(encryption) = &loaded.template.system.encryption else {
        return;
    };
    let Some(section) = system.get(system::FDE) else { return };
    let enabled = section.at(fde::ENABLED);
    if let Some(older) = system.get(system::IMMUTABILITY)
        && older.read(immutability::ENABLED) == Some(true)
    {
        let finding = enabled.error("cannot be true together with immutability.enabled in this version");
        findings.push(finding.hint("set one of them to false: a verified root holds what was built, not secrets"));
    }
    for partition in &loaded.template.disk.partitions {
        if !encryption.has(&partition.id, partition.mount_point.as_deref()) {
            continue;
        }
        let id = &partition.id;
        if partition.file_system != Some(FileSystem::Ext4) {
            let finding = enabled.error(format!(
                "the partition {id:?} cannot be encrypted: it needs fsType: ext4"
            ));
            findings.push(finding.hint("leave it out of fde.partitions, or give it fsType: ext4"));
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if !id.chars().all(is_plain) || id.starts_with('.') || id == "control" {
            findings.push(enabled.error(format!(
                "{id:?} cannot be the name of a device: use letters, digits, -, _ and ."
            )));
        }
    }
    for (field, path) in [
        (fde::PASSPHRASE_FILE, Some(&encryption.passphrase)),
        (fde::SEED_FILE, encryption.seed.as_ref()),
    ] {
        if let Some(path) = path
            && let Err(error) = durable::open_regular(path)
        {
            findings.push(
                section
                    .at(field)
                    .error(format!("{} cannot be used: {error}", path.display())),
            );
        }
    }
}
