//! EFI programs on a FAT partition: boot loaders, shims, unified kernel images (UAPI.5).

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::boot_config::BootConfig;
use super::sha256;
use crate::boot::pe;
use crate::disk::walk;
use crate::overlay::layer::{FileKind, Layer, LayerResult, NodeId};

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pair {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
}

/// The most files and directories of a partition that are looked at.
const FILES_MAX: usize = 20_000;
/// The deepest directory that is looked at; the boot menu of a machine lies in the second.
const DEPTH_MAX: usize = 16;

/// An EFI program.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EfiBinary {
    /// Its path on the partition.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256.
    pub sha256: String,
    /// The architecture: `x86_64`, `aarch64`, …
    pub arch: String,
    /// `uki`, `shim`, `grub`, `systemd-boot`, `kernel`, or `unknown`.
    pub kind: &'static str,
    /// Whether it has a signature for Secure Boot. The signature is not verified.
    pub signed: bool,
    /// The length of the signatures in bytes.
    pub signature_size: u64,
    /// Whether it has a section `.sbat`.
    pub has_sbat: bool,
    /// The names of its sections.
    pub sections: Vec<String>,
    /// Whether it is a unified kernel image.
    pub is_uki: bool,
    /// Its command line.
    pub cmdline: String,
    /// The version of its kernel.
    pub uname: String,
    /// Its `os-release`, as it stands.
    pub os_release_raw: String,
    /// The same by keys.
    pub os_release: BTreeMap<String, String>,
    /// The same in the order of keys.
    pub os_release_sorted: Vec<Pair>,
    /// The SHA-256 of each section.
    #[serde(rename = "sectionSha256")]
    pub section_sha256: BTreeMap<String, String>,
    /// The SHA-256 of its command line with single spaces between its words.
    pub cmdline_normalized_sha256: String,
    /// The SHA-256 of its kernel.
    pub kernel_sha256: String,
    /// The SHA-256 of its initrd.
    pub initrd_sha256: String,
    /// The SHA-256 of its command line.
    pub cmdline_sha256: String,
    /// The SHA-256 of its `os-release`.
    pub osrel_sha256: String,
    /// The SHA-256 of the version of its kernel.
    pub uname_sha256: String,
    /// The configuration of a boot loader.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_config: Option<BootConfig>,
    /// What is wrong with it.
    pub notes: Vec<String>,
}

/// Finds the EFI programs of the tree `layer`: files whose names end with `.efi`.
///
/// # Errors
/// If a directory is damaged; a damaged file is a note.
pub(super) fn binaries(layer: &dyn Layer) -> LayerResult<Vec<EfiBinary>> {
    let mut found = Vec::new();
    let mut open: Vec<(PathBuf, NodeId, usize)> = vec![("/".into(), layer.root(), 0)];
    let mut left = FILES_MAX;
    while let Some((path, node, depth)) = open.pop() {
        let mut programs = Vec::new();
        layer.entries(node, 0, &mut |entry| {
            left = left.saturating_sub(1);
            let at = path.join(entry.name);
            let is_program = at
                .extension()
                .is_some_and(|extension| extension.eq_ignore_ascii_case("efi"));
            match entry.kind {
                FileKind::Directory if depth < DEPTH_MAX => open.push((at, entry.node, depth + 1)),
                FileKind::Regular if is_program => programs.push(at),
                _ => {}
            }
            left > 0
        })?;
        for at in programs {
            let path = at.display().to_string();
            match walk::read(layer, &at) {
                Ok(content) => found.extend(content.map(|content| EfiBinary::of(path, &content))),
                Err(error) => found.push(EfiBinary {
                    path,
                    kind: "unknown",
                    notes: vec![error.to_string()],
                    ..EfiBinary::default()
                }),
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

impl EfiBinary {
    fn of(path: String, content: &[u8]) -> Self {
        let mut binary = Self {
            path,
            size: content.len() as u64,
            sha256: sha256(content),
            kind: "unknown",
            ..Self::default()
        };
        match pe::facts(content) {
            Ok(facts) => binary.describe(content, &facts),
            Err(error) => binary.notes.push(error.to_string()),
        }
        binary
    }

    fn describe(&mut self, content: &[u8], facts: &pe::Facts) {
        let section = |name: &str| {
            let found = facts.sections.iter().find(|(own, _)| own == name)?;
            content.get(found.1.clone())
        };
        let text = |name: &str| {
            let bytes = section(name).unwrap_or_default();
            String::from_utf8_lossy(bytes)
                .trim_end_matches(['\0', '\n', ' '])
                .to_owned()
        };
        self.arch = match facts.machine {
            0x8664 => "x86_64".to_owned(),
            0xaa64 => "aarch64".to_owned(),
            0x014c => "i386".to_owned(),
            0x01c0 | 0x01c2 | 0x01c4 => "arm".to_owned(),
            other => format!("{other:#06x}"),
        };
        (self.signed, self.signature_size) = (facts.signature_bytes > 0, facts.signature_bytes);
        self.sections = facts.sections.iter().map(|(name, _)| name.clone()).collect();
        let hashed = facts
            .sections
            .iter()
            .filter_map(|(name, range)| Some((name, content.get(range.clone())?)));
        self.section_sha256 = hashed.map(|(name, bytes)| (name.clone(), sha256(bytes))).collect();
        self.has_sbat = section(".sbat").is_some();
        self.is_uki = section(".linux").is_some();
        (self.cmdline, self.uname, self.os_release_raw) = (text(".cmdline"), text(".uname"), text(".osrel"));
        self.os_release = pairs(&self.os_release_raw);
        let sorted = self.os_release.iter();
        self.os_release_sorted = sorted
            .map(|(key, value)| Pair {
                key: key.clone(),
                value: value.clone(),
            })
            .collect();
        let digest = |name: &str| self.section_sha256.get(name).cloned().unwrap_or_default();
        (self.kernel_sha256, self.initrd_sha256) = (digest(".linux"), digest(".initrd"));
        (self.cmdline_sha256, self.osrel_sha256) = (digest(".cmdline"), digest(".osrel"));
        self.uname_sha256 = digest(".uname");
        if !self.cmdline.is_empty() {
            let words: Vec<&str> = self.cmdline.split_whitespace().collect();
            self.cmdline_normalized_sha256 = sha256(words.join(" ").as_bytes());
        }
        self.kind = self.kind_of(&text(".sbat"), &text(".sdmagic"), content);
    }

    fn kind_of(&self, sbat: &str, magic: &str, content: &[u8]) -> &'static str {
        let names = |component: &str| sbat.lines().any(|line| line.split(',').next() == Some(component));
        if self.is_uki {
            "uki"
        } else if names("shim") {
            "shim"
        } else if names("systemd-boot") || magic.contains("systemd-boot") {
            "systemd-boot"
        } else if names("grub") {
            "grub"
        } else if content.get(0x202..0x206) == Some(b"HdrS") {
            // The boot protocol of Linux on x86.
            "kernel"
        } else {
            "unknown"
        }
    }
}

/// Returns the keys and values of a text in the form of os-release(5).
pub(super) fn pairs(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let pair = |line: &str| {
        let (key, value) = line.split_once('=')?;
        Some((key.to_owned(), value.trim_matches(['"', '\'']).to_owned()))
    };
    lines.filter_map(pair).collect()
}
