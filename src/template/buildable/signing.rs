//! Keys that sign what firmware starts, and what they cannot sign.

use std::path::Path;

use super::Loaded;
use crate::durable;
use crate::model::{BootProvider, BootType, PassphraseSource, SecureBoot};
use crate::template::schema::{bootloader, immutability, kernel, signing, system};
use crate::yaml::{Findings, Place};

/// Finds what in `system` cannot be signed, or with what nothing can be signed.
pub(super) fn check(loaded: &Loaded, system: &Place<'_>, findings: &mut Findings) {
    let (place, older) = (system.get(system::SIGNING), system.get(system::IMMUTABILITY));
    let older = older.filter(|older| older.get(immutability::KEY).is_some());
    if let (Some(place), Some(_)) = (&place, &older) {
        let finding = place.error("is a second key, besides that of systemConfig.immutability");
        findings.push(finding.hint("keep one of them"));
    }
    if let Some(place) = place.as_ref().filter(|place| place.get(signing::CERTIFICATE).is_none()) {
        let finding = place.at(signing::CERTIFICATE).error("is missing");
        findings.push(finding.hint("name the certificate of the key"));
    }
    if let Some(loader) = system.get(system::BOOTLOADER) {
        distribution(&loader, system, findings);
    }
    let Some(section) = place.or(older) else { return };
    let loader = &loaded.template.system.bootloader;
    if loader.provider == BootProvider::Grub || loader.boot_type == BootType::Legacy {
        let finding =
            section.error("can be used with provider: systemd-boot alone: GRUB starts what nobody has signed");
        findings.push(finding.hint("use provider: systemd-boot, or secureBoot: distribution"));
    }
    if loader.secure_boot == SecureBoot::Distribution {
        let finding = section.error("cannot be used with bootloader.secureBoot: distribution");
        findings.push(finding.hint("use secureBoot: own, or remove the key"));
    }
    files(loaded, &section, findings);
}

/// Finds what the distribution has not signed.
fn distribution(loader: &Place<'_>, system: &Place<'_>, findings: &mut Findings) {
    if loader.read(bootloader::SECURE_BOOT) != Some(SecureBoot::Distribution) {
        return;
    }
    let at = loader.at(bootloader::SECURE_BOOT);
    if loader.read(bootloader::BOOT_TYPE) == Some(BootType::Legacy) {
        findings.push(at.error("cannot be distribution with bootType: legacy: a BIOS verifies nothing"));
    }
    let is_unified = system.get(system::KERNEL).and_then(|kernel| kernel.read(kernel::UKI)) == Some(true);
    let older = system.get(system::IMMUTABILITY);
    let is_verified = older.and_then(|older| older.read(immutability::ENABLED)) == Some(true);
    let is_systemd_boot = loader.read(bootloader::PROVIDER) != Some(BootProvider::Grub);
    if is_systemd_boot && (is_unified || is_verified) {
        let finding =
            at.error("cannot be distribution with a unified kernel image, which the distribution has not signed");
        findings.push(finding.hint("set kernel.uki: false and immutability.enabled: false, or use keys of your own"));
    }
}

/// Finds files that do not exist. In a template that is only validated this is a warning.
fn files(loaded: &Loaded, section: &Place<'_>, findings: &mut Findings) {
    let Some(signing) = &loaded.template.system.signing else {
        return;
    };
    let mut find = |name: &str, path: &Path| {
        if let Err(error) = durable::open_regular(path) {
            let at = format!("{name} {}", path.display());
            findings.push(section.error(format!("the {at} cannot be used: {error}")));
        }
    };
    find("certificate", &signing.certificate);
    if let Some(key) = &signing.key {
        find("key", key);
    }
    if let Some(path) = &signing.shown_certificate {
        find("certificate", path);
    }
    if let Some(PassphraseSource::File(path)) = &signing.passphrase {
        find("passphrase file", path);
    }
}
