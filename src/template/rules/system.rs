//! What goes into the image: users, loader, secure boot.

use std::collections::HashMap;

use crate::yaml::{Finding, Findings, Node};

const KEYS: [&str; 3] = ["secureBootDBKey", "secureBootDBCrt", "secureBootDBCer"];

pub(super) fn check(system: &Node, findings: &mut Findings) {
    for (index, user) in system.items_at("users").iter().enumerate() {
        if findings.is_full() {
            return;
        }
        password(user, &format!("systemConfig.users[{index}]"), findings);
    }
    if let Some(section) = system.get("immutability") {
        secure_boot(section, findings);
    }
    repeated_files(system, findings);
    if let Some(loader) = system.get("bootloader")
        && loader.text_at("bootType") == Some("legacy")
        && loader.text_at("provider") == Some("systemd-boot")
    {
        let at = loader.get("provider").unwrap_or(loader);
        let finding = Finding::error(
            &at.span,
            "systemConfig.bootloader.provider",
            "systemd-boot needs UEFI, and bootType is legacy",
        );
        findings.push(finding.hint("use grub, or bootType: efi"));
    }
}

/// Whether a password is a crypt(5) hash: `$id$`, then salt and hash.
pub(in crate::template) fn is_hashed(password: &str) -> bool {
    let mut parts = password.split('$');
    let (before, id) = (parts.next(), parts.next());
    before == Some("")
        && id.is_some_and(|id| (1..=8).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric()))
        && parts.next().is_some_and(|salt| !salt.is_empty())
        && parts.next().is_some()
}

fn password(user: &Node, path: &str, findings: &mut Findings) {
    let Some((node, text)) = user.get("password").and_then(|node| Some((node, node.text()?))) else {
        return;
    };
    let path = format!("{path}.password");
    if text.starts_with("$1$") {
        let finding = Finding::error(&node.span, path, "is an MD5 hash, which is broken within seconds");
        findings.push(finding.hint("make another one with: openssl passwd -6"));
    } else if is_hashed(text) {
        if text.contains(':') || text.contains(char::is_whitespace) {
            findings.push(Finding::error(
                &node.span,
                path,
                "is not a crypt(5) hash: blanks or colons in it",
            ));
        } else if let Some(method) = user.get("hash_algo") {
            let message = "has no effect: the password is hashed already";
            findings.push(Finding::warning(
                &method.span,
                path.replace("password", "hash_algo"),
                message,
            ));
        }
    } else if text.len() > 72 && user.text_at("hash_algo") == Some("bcrypt") {
        findings.push(Finding::error(
            &node.span,
            path,
            "is longer than the 72 bytes that bcrypt takes",
        ));
    } else if text.starts_with('$') {
        findings.push(Finding::warning(
            &node.span,
            path,
            "starts with $ but is no crypt(5) hash: taken as clear text",
        ));
    }
}

/// Older templates have some; the later one has always counted.
fn repeated_files(system: &Node, findings: &mut Findings) {
    let mut seen: HashMap<&str, &Node> = HashMap::new();
    for (index, file) in system.items_at("additionalFiles").iter().enumerate() {
        let Some(node) = file.get("final") else { continue };
        if let Some(text) = node.text()
            && let Some(first) = seen.insert(text, node)
        {
            let message = format!("takes the place of the file in line {}", first.span.position().0);
            let path = format!("systemConfig.additionalFiles[{index}].final");
            findings.push(Finding::warning(&node.span, path, message));
        }
    }
}

fn secure_boot(section: &Node, findings: &mut Findings) {
    let Some(given) = KEYS.iter().find_map(|key| section.get(key)) else {
        return;
    };
    for key in KEYS.iter().filter(|key| section.text_at(key).is_none()) {
        let path = format!("systemConfig.immutability.{key}");
        let message = "is missing: secure boot needs all three files";
        findings.push(Finding::error(&given.span, path, message).allowed(KEYS));
    }
    if section.get("enabled").and_then(Node::bool) != Some(true) {
        let at = section.get("enabled").unwrap_or(given);
        let message = "must be true when secure boot keys are given";
        findings.push(Finding::error(&at.span, "systemConfig.immutability.enabled", message));
    }
}

/// An image that is verified needs a place for its hashes.
pub(super) fn check_merged(root: &Node, findings: &mut Findings) {
    let partitions = root.at(&["disk", "partitions"]).map_or(&[][..], Node::items);
    let enabled = root.at(&["systemConfig", "immutability", "enabled"]);
    let Some(enabled) = enabled.filter(|node| node.bool() == Some(true)) else {
        for (index, partition) in partitions.iter().enumerate() {
            if let Some(id) = partition
                .get("id")
                .filter(|id| matches!(id.text(), Some("roothashmap" | "hash")))
            {
                let message = "stays empty: it is for hashes, and systemConfig.immutability.enabled is not true";
                findings.push(Finding::warning(
                    &id.span,
                    format!("disk.partitions[{index}].id"),
                    message,
                ));
            }
        }
        return;
    };
    if !partitions.iter().any(is_hash_partition) {
        let message = "there is no partition for the hashes of the root file system";
        let finding = Finding::warning(&enabled.span, "systemConfig.immutability.enabled", message);
        findings.push(finding.hint("add a partition with id: roothashmap, type: linux and mountPoint: none"));
    }
}

/// How a hash partition is recognized: by its id, or as a Linux partition that is mounted nowhere.
pub(in crate::template) fn is_hash_partition(partition: &Node) -> bool {
    matches!(partition.text_at("id"), Some("roothashmap" | "hash"))
        || (partition.text_at("mountPoint") == Some("none") && partition.text_at("type") == Some("linux"))
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
