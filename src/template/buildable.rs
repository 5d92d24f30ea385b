//! What this version cannot build is refused before any work, with the field that asks for it.

use std::path::Path;

use super::Loaded;
use super::model::FileSource;
use super::schema::checks::is_placeholder;
use super::schema::is_key_path;
use crate::package::Arch;
use crate::yaml::{Finding, Findings, Node, Span};

/// Values that are valid in a template and not built yet: where, which, and what is.
const UNSUPPORTED: &[(&[&str], &[&str], &str)] = &[
    (&["target", "imageType"], &["iso", "img"], "raw images"),
    (&["disk", "partitionTableType"], &["mbr"], "gpt"),
    (
        &["systemConfig", "bootloader", "bootType"],
        &["legacy"],
        "bootType: efi",
    ),
    (
        &["systemConfig", "bootloader", "provider"],
        &["grub", "grub2"],
        "provider: systemd-boot",
    ),
];

/// Flags that end up in a GPT entry or in its type.
const FLAGS: [&str; 12] = [
    "esp",
    "boot",
    "required",
    "no_block_io",
    "legacy_boot",
    "grow_file_system",
    "read_only",
    "no_auto",
    "bios_grub",
    "lvm",
    "raid",
    "swap",
];

/// Everything in the template that this version cannot build, each with what it can build.
pub fn check_buildable(loaded: &Loaded) -> Findings {
    let mut findings = Findings::new();
    let root = &loaded.merged;
    for (path, values, supported) in UNSUPPORTED {
        if let Some(node) = root.at(path)
            && let Some(value) = node.text().filter(|value| values.contains(value))
        {
            refuse(
                &mut findings,
                &node.span,
                path.join("."),
                &format!("{value} is"),
                supported,
            );
        }
    }
    target(loaded, &mut findings);
    if let Some(disk) = root.get("disk") {
        self::disk(disk, &mut findings);
    }
    if let Some(system) = root.get("systemConfig") {
        self::system(system, &mut findings);
    }
    repositories(loaded, &mut findings);
    files(loaded, &mut findings);
    findings
}

fn refuse(findings: &mut Findings, at: &Span, field: impl Into<String>, what: &str, supported: &str) {
    let finding = Finding::error(at, field, format!("{what} not built by this version"));
    findings.push(finding.hint(format!("this version builds {supported}")));
}

fn target(loaded: &Loaded, findings: &mut Findings) {
    let Some(target) = loaded.merged.get("target") else {
        return;
    };
    let at = |key: &str| &target.get(key).unwrap_or(target).span;
    let wanted = loaded.template.target.arch;
    if Arch::host() != Some(wanted) {
        let what = format!("{wanted} on a machine of another architecture is");
        refuse(
            findings,
            at("arch"),
            "target.arch",
            &what,
            "for the architecture that it runs on",
        );
    }
}

/// A repository that nothing vouches for, and a directory that is not there, would end the build.
fn repositories(loaded: &Loaded, findings: &mut Findings) {
    for (index, node) in loaded.merged.items_at("packageRepositories").iter().enumerate() {
        let field = format!("packageRepositories[{index}]");
        if let Some(path) = node.get("path")
            && let Some(text) = path.text().filter(|text| !text.is_empty() && !Path::new(text).is_dir())
        {
            let message = format!("there is no directory {text}");
            findings.push(Finding::error(&path.span, format!("{field}.path"), message));
        }
        let keys = node
            .get("pkey")
            .into_iter()
            .chain(node.items_at("pkeys"))
            .filter_map(Node::text);
        let has_key = keys.filter(|key| !key.is_empty()).any(|key| !is_placeholder(key));
        let is_left_out = node.text_at("url").is_some_and(is_placeholder);
        let is_mirror = node.get("url").is_some()
            && node
                .text_at("codename")
                .is_some_and(|codename| loaded.provider.repositories.iter().any(|own| own.suite == codename));
        if !has_key && !is_left_out && !is_mirror {
            let finding = Finding::error(&node.span, field, "has no key, so nothing of it could be verified");
            let hint = "give it pkey: URL-or-path, or pkey: \"[trusted=yes]\" to take its packages unverified";
            findings.push(finding.hint(hint));
        }
    }
}

fn disk(disk: &Node, findings: &mut Findings) {
    for (index, artifact) in disk.items_at("artifacts").iter().enumerate() {
        let path = format!("disk.artifacts[{index}]");
        if let Some(compression) = artifact.get("compression").filter(|node| node.text() == Some("bz2")) {
            let field = format!("{path}.compression");
            refuse(findings, &compression.span, field, "bz2 is", "gz, xz and zstd");
        }
    }
    for (index, partition) in disk.items_at("partitions").iter().enumerate() {
        let path = format!("disk.partitions[{index}]");
        if let Some(kind) = partition.get("fsType").filter(|kind| kind.text() == Some("xfs")) {
            refuse(
                findings,
                &kind.span,
                format!("{path}.fsType"),
                "xfs is",
                "fat32, fat16, ext2, ext3, ext4 and swap",
            );
        }
        for (number, flag) in partition.items_at("flags").iter().enumerate() {
            if let Some(name) = flag.text().filter(|name| !FLAGS.contains(name)) {
                let what = format!("the flag {name} is");
                refuse(
                    findings,
                    &flag.span,
                    format!("{path}.flags[{number}]"),
                    &what,
                    &FLAGS.join(", "),
                );
            }
        }
    }
}

fn system(system: &Node, findings: &mut Findings) {
    if let Some(section) = system.get("immutability") {
        let path = "systemConfig.immutability";
        if let Some(enabled) = section.get("enabled").filter(|node| node.bool() == Some(true)) {
            refuse(
                findings,
                &enabled.span,
                format!("{path}.enabled"),
                "a verified root is",
                "enabled: false",
            );
        }
        for (key, node) in section.entries().iter().filter(|(key, _)| is_key_path(&key.text)) {
            if node.text().is_some_and(|path| path.contains("${")) {
                let field = format!("{path}.{}", key.text);
                let finding = Finding::error(&node.span, field, "has a variable that is not set");
                findings.push(finding.hint("give it: --var NAME=VALUE"));
            }
        }
        if let Some(key) = section.get("secureBootDBKey") {
            refuse(
                findings,
                &key.span,
                format!("{path}.secureBootDBKey"),
                "a signed loader is",
                "unsigned images",
            );
        }
    }
    if let Some(uki) = system.at(&["kernel", "uki"]).filter(|uki| uki.bool() == Some(false)) {
        let what = "systemd-boot without a unified kernel image is";
        refuse(findings, &uki.span, "systemConfig.kernel.uki", what, "uki: true");
    }
}

/// A file that is not there is odd in a template that is only looked at, and the end of a build.
fn files(loaded: &Loaded, findings: &mut Findings) {
    let nodes = loaded
        .merged
        .at(&["systemConfig", "additionalFiles"])
        .map_or(&[][..], Node::items);
    for (index, (file, node)) in loaded.template.system.additional_files.iter().zip(nodes).enumerate() {
        let FileSource::Host(path) = &file.source else { continue };
        if !Path::is_file(path) {
            let at = node.get("local").unwrap_or(node);
            let field = format!("systemConfig.additionalFiles[{index}].local");
            findings.push(Finding::error(
                &at.span,
                field,
                format!("there is no file {}", path.display()),
            ));
        }
    }
}
