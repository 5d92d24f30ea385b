//! Converts the keys that sign what firmware starts, and those of encrypted partitions.

use std::path::PathBuf;

use crate::model::{Encryption, FileSource, PassphraseSource, Signing, Unlock};
use crate::template::files::Origins;
use crate::template::schema::{fde, immutability, signing, system};
use crate::yaml::schema::Field;
use crate::yaml::{Node, Place};

/// Converts `signing` of `systemConfig`, or the keys of its `immutability`, which templates of the older tool have.
pub(super) fn convert(system: &Place<'_>, origins: &Origins) -> Option<Signing> {
    let section = system.get(system::SIGNING);
    let older = system.get(system::IMMUTABILITY);
    let path = |section: &Option<Place<'_>>, field: Field<str>| file(section.as_ref()?, field, origins);
    if let Some(certificate) = path(&section, signing::CERTIFICATE) {
        let credential = section
            .as_ref()
            .and_then(|section| section.read(signing::PASSPHRASE_CREDENTIAL))
            .map(|name| PassphraseSource::Credential(name.to_owned()));
        let passphrase = path(&section, signing::PASSPHRASE_FILE).map(PassphraseSource::File);
        return Some(Signing {
            key: path(&section, signing::KEY),
            certificate,
            shown_certificate: None,
            passphrase: passphrase.or(credential),
            enrollment: section.and_then(|section| section.read(signing::ENROLL)),
        });
    }
    Some(Signing {
        key: Some(path(&older, immutability::KEY)?),
        certificate: path(&older, immutability::CERTIFICATE_PEM)?,
        shown_certificate: path(&older, immutability::CERTIFICATE_DER),
        passphrase: None,
        enrollment: None,
    })
}

/// Converts `fde` of `systemConfig`, if it is enabled.
pub(super) fn encryption(system: &Place<'_>, origins: &Origins) -> Option<Encryption> {
    let section = system.get(system::FDE)?;
    if section.read(fde::ENABLED) != Some(true) {
        return None;
    }
    Some(Encryption {
        partitions: section.read(fde::PARTITIONS),
        passphrase: file(&section, fde::PASSPHRASE_FILE, origins)?,
        seed: file(&section, fde::SEED_FILE, origins),
        unlock: section.read(fde::UNLOCK).unwrap_or(Unlock::Manual),
    })
}

/// Finds the file of the build host that a field names.
fn file(section: &Place<'_>, field: Field<str>, origins: &Origins) -> Option<PathBuf> {
    let node: &Node = section.get(field)?.node;
    let name = node.text().filter(|name| !name.is_empty())?;
    Some(match origins.locate(node, name) {
        Some(FileSource::Host(path)) => path,
        // The data that comes with oic has no keys.
        _ => name.into(),
    })
}
