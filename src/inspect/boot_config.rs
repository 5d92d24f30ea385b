//! The menus of boot loaders: `grub.cfg`, and the entries of the Boot Loader Specification (UAPI.1).

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::sha256;
use crate::disk::image::Image;
use crate::disk::walk;
use crate::installed::names;
use crate::overlay::layer::Layer;

/// Where menus of GRUB lie, besides the EFI system partition.
const GRUB: [&str; 4] = [
    "/boot/grub/grub.cfg",
    "/boot/grub2/grub.cfg",
    "/grub/grub.cfg",
    "/grub2/grub.cfg",
];
/// Where entries of the specification lie.
const ENTRIES: [&str; 3] = ["/loader/entries", "/boot/loader/entries", "/boot/efi/loader/entries"];
/// The longest menu that is told, in bytes.
const RAW_BYTES_MAX: usize = 1 << 20;
/// The most entries of a menu.
const ENTRIES_MAX: usize = 1000;

/// The configuration of a boot loader.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BootConfig {
    /// Its files, each with its SHA-256.
    pub config_files: BTreeMap<String, String>,
    /// The same, each with its text.
    pub config_raw: BTreeMap<String, String>,
    /// The kernels that it names.
    pub kernel_references: Vec<KernelReference>,
    /// Its entries.
    pub boot_entries: Vec<BootEntry>,
    /// The UUIDs that it names.
    pub uuid_references: Vec<UuidReference>,
    /// The entry that starts by itself.
    pub default_entry: String,
    /// What is remarkable.
    pub notes: Vec<String>,
}

/// A kernel that an entry names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KernelReference {
    /// Its path, as the entry has it.
    pub path: String,
    /// The name of the entry.
    pub boot_entry: String,
}

/// An entry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BootEntry {
    /// Its title.
    pub name: String,
    /// Its kernel.
    pub kernel: String,
    /// Its initrd.
    pub initrd: String,
    /// Its command line.
    pub cmdline: String,
    /// Whether it starts by itself.
    pub is_default: bool,
    /// The partition that its command line names by `PARTUUID`.
    pub partition_uuid: String,
    /// The root that its command line names.
    pub root_device: String,
    /// The unified kernel image that it starts.
    pub uki_path: String,
}

/// A UUID that the configuration names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UuidReference {
    /// The UUID.
    pub uuid: String,
    /// The line that names it.
    pub context: String,
    /// The number of the partition that has it; 0 if none has.
    pub referenced_partition: u32,
    /// Whether no partition of the image has it.
    pub mismatch: bool,
}

impl BootConfig {
    /// Reads the menus in `layers`, the system and its EFI system partition; `None` if there are none.
    pub(super) fn of(layers: &[&dyn Layer], image: &Image) -> Option<Self> {
        let mut config = Self::default();
        for layer in layers {
            for path in menus(*layer) {
                config.add(*layer, &path);
            }
        }
        if config.config_files.is_empty() {
            return None;
        }
        let default = config.default_entry.clone();
        let is_default = |index: usize, entry: &BootEntry| {
            default.parse() == Ok(index) || (!default.is_empty() && entry.name == default)
        };
        for (index, entry) in config.boot_entries.iter_mut().enumerate() {
            entry.is_default = is_default(index, entry);
        }
        let kernels = config.boot_entries.iter().filter(|entry| !entry.kernel.is_empty());
        config.kernel_references = kernels
            .map(|entry| KernelReference {
                path: entry.kernel.clone(),
                boot_entry: entry.name.clone(),
            })
            .collect();
        config.uuid_references = uuids(&config.config_raw, image);
        Some(config)
    }

    fn add(&mut self, layer: &dyn Layer, path: &str) {
        let content = match walk::read(layer, Path::new(path)) {
            Ok(Some(content)) if !self.config_files.contains_key(path) => content,
            Ok(_) => return,
            Err(error) => return self.notes.push(format!("{path}: {error}")),
        };
        self.config_files.insert(path.to_owned(), sha256(&content));
        let content = content.get(..RAW_BYTES_MAX).unwrap_or(&content);
        let text = String::from_utf8_lossy(content).into_owned();
        if path.ends_with("loader.conf") {
            let default = text.lines().find_map(|line| line.trim().strip_prefix("default"));
            self.default_entry = default.map(|name| name.trim().to_owned()).unwrap_or_default();
        } else if path.ends_with(".conf") {
            self.boot_entries.push(of_entry(path, &text));
        } else {
            self.grub(&text);
        }
        self.boot_entries.truncate(ENTRIES_MAX);
        self.config_raw.insert(path.to_owned(), text);
    }

    /// Reads the entries of a menu of GRUB (GRUB manual, "menuentry", "linux").
    fn grub(&mut self, text: &str) {
        let mut current: Option<BootEntry> = None;
        for line in text.lines().map(str::trim) {
            let (word, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
            match word {
                "menuentry" => {
                    self.boot_entries.extend(current.take());
                    current = Some(BootEntry {
                        name: quoted(rest),
                        ..BootEntry::default()
                    });
                }
                "linux" | "linuxefi" | "linux16" => {
                    if let Some(entry) = &mut current {
                        let (kernel, options) = rest.trim().split_once(' ').unwrap_or((rest.trim(), ""));
                        entry.kernel = kernel.to_owned();
                        entry.set_options(options.trim());
                    }
                }
                "initrd" | "initrdefi" | "initrd16" => {
                    if let Some(entry) = &mut current {
                        entry.initrd = rest.trim().to_owned();
                    }
                }
                "chainloader" => {
                    if let Some(entry) = &mut current {
                        entry.uki_path = rest.trim().to_owned();
                    }
                }
                "set" => {
                    let default = rest
                        .trim()
                        .strip_prefix("default=")
                        .map(|value| value.trim_matches(['"', '\'']));
                    // A menu also has the words for an entry that was chosen before.
                    if let Some(default) = default.filter(|value| !value.contains('$') && self.default_entry.is_empty())
                    {
                        self.default_entry = default.to_owned();
                    }
                }
                _ => {}
            }
        }
        self.boot_entries.extend(current);
    }
}

impl BootEntry {
    fn set_options(&mut self, options: &str) {
        self.cmdline = options.to_owned();
        let root = options.split_whitespace().find_map(|word| word.strip_prefix("root="));
        self.root_device = root.unwrap_or_default().to_owned();
        let partition = self.root_device.strip_prefix("PARTUUID=");
        self.partition_uuid = partition.unwrap_or_default().to_owned();
    }
}

/// Lists the menus that exist in `layer`.
fn menus(layer: &dyn Layer) -> Vec<String> {
    let exists = |path: &str| walk::find(layer, Path::new(path), true).is_ok();
    let mut found: Vec<String> = GRUB
        .iter()
        .filter(|path| exists(path))
        .map(|path| (*path).to_owned())
        .collect();
    for directory in ENTRIES {
        let entries = names(layer, directory).unwrap_or_default();
        let entries = entries.into_iter().filter(|(name, _)| name.ends_with(".conf"));
        found.extend(entries.map(|(name, _)| format!("{directory}/{name}")));
        let conf = directory.replace("/entries", "/loader.conf");
        if exists(&conf) {
            found.push(conf);
        }
    }
    // The stub on the EFI system partition leads to the menu.
    let stubs = names(layer, "/EFI").unwrap_or_default().into_iter();
    found.extend(
        stubs
            .map(|(name, _)| format!("/EFI/{name}/grub.cfg"))
            .filter(|path| exists(path)),
    );
    found
}

/// Reads an entry of the specification.
fn of_entry(path: &str, text: &str) -> BootEntry {
    let value = |key: &str| {
        let lines = text.lines().filter_map(|line| line.trim().split_once([' ', '\t']));
        let values = lines
            .filter(|(own, _)| *own == key)
            .map(|(_, value)| value.trim().to_owned());
        values.collect::<Vec<_>>().join(" ")
    };
    let title = value("title");
    let name = Path::new(path).file_stem().unwrap_or_default().to_string_lossy();
    let mut entry = BootEntry {
        name: if title.is_empty() { name.into_owned() } else { title },
        kernel: value("linux"),
        initrd: value("initrd"),
        uki_path: [value("uki"), value("efi")].concat(),
        ..BootEntry::default()
    };
    entry.set_options(&value("options"));
    entry
}

/// Returns the first word of `text`, without its quotes.
fn quoted(text: &str) -> String {
    let text = text.trim();
    let quote = text.chars().next().filter(|first| matches!(first, '\'' | '"'));
    let name = match quote {
        Some(quote) => text.get(1..).unwrap_or_default().split(quote).next(),
        None => text.split_whitespace().next(),
    };
    name.unwrap_or_default().to_owned()
}

/// Finds the UUIDs in the texts, each once for each line, and the partitions that have them.
fn uuids(texts: &BTreeMap<String, String>, image: &Image) -> Vec<UuidReference> {
    let mut found: Vec<UuidReference> = Vec::new();
    let mut owners: BTreeMap<String, u32> = BTreeMap::new();
    for volume in &image.volumes {
        let own = volume.partition.iter().map(|partition| partition.part_uuid());
        let contents = volume.contents.iter().map(|contents| contents.uuid.clone());
        owners.extend(own.chain(contents).map(|uuid| (uuid.to_lowercase(), volume.number)));
    }
    let is_part = |letter: char| letter.is_ascii_hexdigit() || letter == '-';
    for line in texts.values().flat_map(|text| text.lines()).map(str::trim) {
        let words = line.split(|letter: char| !is_part(letter)).map(str::to_lowercase);
        let is_uuid = |word: &String| word.len() == 36 && word.bytes().filter(|byte| *byte == b'-').count() == 4;
        for uuid in words.filter(is_uuid) {
            let owner = owners.get(&uuid).copied();
            let reference = UuidReference {
                uuid,
                context: line.chars().take(200).collect(),
                referenced_partition: owner.unwrap_or_default(),
                mismatch: owner.is_none(),
            };
            if !found.contains(&reference) && found.len() < ENTRIES_MAX {
                found.push(reference);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_both_kinds_are_understood() {
        let mut config = BootConfig::default();
        config.grub(
            "set default=\"0\"\nset default=\"${saved}\"\nmenuentry 'Debian GNU/Linux' --class debian {\n\
            \tsearch --fs-uuid --set=root 0b1c\n\tlinux /vmlinuz-6.12 root=PARTUUID=abcd ro quiet\n\tinitrd /initrd.img\n}\n\
            menuentry other {\n chainloader /EFI/Linux/a.efi\n}\n",
        );
        let [debian, other] = config.boot_entries.as_slice() else {
            panic!("{config:?}")
        };
        assert_eq!(debian.name, "Debian GNU/Linux");
        assert_eq!((&*debian.kernel, &*debian.initrd), ("/vmlinuz-6.12", "/initrd.img"));
        assert_eq!(
            (&*debian.cmdline, &*debian.partition_uuid),
            ("root=PARTUUID=abcd ro quiet", "abcd")
        );
        assert_eq!((&*other.name, &*other.uki_path), ("other", "/EFI/Linux/a.efi"));
        assert_eq!(config.default_entry, "0");
        let entry = of_entry(
            "/loader/entries/x.conf",
            "linux /k\ninitrd /a\ninitrd /b\noptions root=/dev/sda1\noptions ro\n",
        );
        assert_eq!(
            (&*entry.name, &*entry.initrd, &*entry.cmdline),
            ("x", "/a /b", "root=/dev/sda1 ro")
        );
    }
}
