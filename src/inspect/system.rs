//! The system in an image: where its partitions are mounted, its os-release(5), packages, bill of materials and integrity.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::boots::{self, Kernel};
use super::privileges::{Capable, Privileges, SetId, SharedSecret};
use super::sizes::Sizes;
use super::table::TableReport;
use super::{Wanted, efi, sha256};
use crate::disk::image::Image;
use crate::disk::system::System;
use crate::disk::walk;
use crate::installed::people::{self, Person};
use crate::installed::{Database, InstalledError, Owners, Package, visit};
use crate::overlay::layer::{Layer, LayerResult};
use crate::sbom;

/// The system.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SystemReport {
    /// Its os-release(5).
    pub os: Os,
    /// Its host name; empty if it has none.
    pub hostname: String,
    /// Where its partitions are mounted.
    pub mounts: Vec<Mount>,
    /// `dpkg`, `rpm`, or empty.
    pub package_system: &'static str,
    /// The number of its packages; `null` where they cannot be listed.
    pub package_count: Option<usize>,
    /// Its packages.
    pub packages: Vec<Package>,
    /// The users who can log in.
    pub users: Vec<Person>,
    /// Its kernels; those within unified kernel images are told with these.
    pub kernels: Vec<Kernel>,
    /// The units that systemd starts by itself.
    pub enabled_units: Vec<String>,
    /// Programs that run with the rights of their owner or group.
    pub set_id: Vec<SetId>,
    /// Programs with capabilities.
    pub capabilities: Vec<Capable>,
    /// Private keys and identities that no package has brought.
    pub private_keys: Vec<SharedSecret>,
    /// What takes the space, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sizes: Option<Sizes>,
}

/// What os-release(5) says.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Os {
    /// `ID`.
    pub id: String,
    /// `VERSION_ID`.
    pub version_id: String,
    /// `PRETTY_NAME`.
    pub pretty_name: String,
}

/// A partition's place in the system.
#[derive(Debug, Serialize)]
pub struct Mount {
    /// The number of the partition.
    pub partition: u32,
    /// Its mount point.
    pub path: String,
}

impl SystemReport {
    /// Describes the system of `image`, and returns its tree; adds what could not be read to `notes`.
    pub(super) fn of(image: &Image, wanted: Wanted, notes: &mut Vec<String>) -> (Option<Self>, Option<Arc<System>>) {
        let system = match System::of(image) {
            Ok(system) => Arc::new(system),
            Err(error) => {
                notes.push(error.to_string());
                return (None, None);
            }
        };
        let mut read = |path: &str| {
            walk::read(&*system, Path::new(path)).unwrap_or_else(|error| {
                notes.push(format!("{path}: {error}"));
                None
            })
        };
        let release = read("/etc/os-release").or_else(|| read("/usr/lib/os-release"));
        // A file system alone, such as that of an EFI system partition, is no system.
        let Some(release) = release else {
            return (None, Some(system));
        };
        let release = efi::pairs(&String::from_utf8_lossy(&release));
        let hostname = read("/etc/hostname").unwrap_or_default();
        let mounts = system.mounts().map(|(partition, path)| Mount {
            partition,
            path: path.display().to_string(),
        });
        let mut report = Self {
            os: Os::of(&release),
            hostname: String::from_utf8_lossy(&hostname).trim().to_owned(),
            mounts: mounts.collect(),
            ..Self::default()
        };
        report.look(&*system, wanted, notes);
        (Some(report), Some(system))
    }

    /// Adds what the tree `layer` has.
    fn look(&mut self, layer: &dyn Layer, wanted: Wanted, notes: &mut Vec<String>) {
        let database = told(Database::read(layer), notes);
        let owners = told(Owners::read(layer, &database), notes);
        let listing = visit::list(layer, wanted.threads);
        let damaged = listing.damaged.iter();
        notes.extend(damaged.map(|(path, error)| format!("{}: {error}", path.display())));
        let found = Privileges::of(layer, &listing, (&database, &owners), notes);
        (self.set_id, self.capabilities, self.private_keys) = (found.set_id, found.capable, found.secrets);
        self.users = told(people::with_access(layer), notes);
        self.kernels = told(boots::kernels(layer), notes);
        self.enabled_units = told(boots::enabled_units(layer), notes);
        self.sizes = wanted.sizes.then(|| Sizes::of(&listing, &database, &owners));
        self.package_system = database.manager.word();
        self.package_count = (!self.package_system.is_empty()).then_some(database.packages.len());
        self.packages = database.packages;
    }
}

/// Returns what was read, or nothing and a note.
fn told<T: Default>(read: Result<T, InstalledError>, notes: &mut Vec<String>) -> T {
    read.unwrap_or_else(|error| {
        notes.push(error.to_string());
        T::default()
    })
}

impl Os {
    fn of(release: &BTreeMap<String, String>) -> Self {
        let value = |key: &str| release.get(key).cloned().unwrap_or_default();
        Self {
            id: value("ID"),
            version_id: value("VERSION_ID"),
            pretty_name: value("PRETTY_NAME"),
        }
    }
}

/// A software bill of materials in the image.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sbom {
    /// Whether there is one.
    pub present: bool,
    /// Its path in the image.
    pub path: String,
    /// Its name.
    pub file_name: String,
    /// `spdx`, `cyclonedx`, or empty.
    pub format: &'static str,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its SHA-256.
    pub sha256: String,
    /// The SHA-256 of what it says: its JSON with sorted keys, without its own name and date.
    pub canonical_sha256: String,
    /// The number of its packages or components.
    pub package_count: usize,
    /// What is wrong with it.
    pub notes: Vec<String>,
}

impl Sbom {
    /// Finds one in the tree `layer`, and returns its bytes too; adds what could not be read to `notes`.
    pub(super) fn of(layer: &dyn Layer, notes: &mut Vec<String>) -> (Self, Option<Vec<u8>>) {
        match find(layer) {
            Ok(Some((path, content))) => (Self::describe(&path, &content), Some(content)),
            Ok(None) => (Self::default(), None),
            Err(error) => {
                notes.push(format!("{}: {error}", sbom::DIRECTORY));
                (Self::default(), None)
            }
        }
    }

    fn describe(path: &Path, content: &[u8]) -> Self {
        let mut report = Self {
            present: true,
            path: path.display().to_string(),
            file_name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            size_bytes: content.len() as u64,
            sha256: sha256(content),
            ..Self::default()
        };
        match serde_json::from_slice::<serde_json::Value>(content) {
            Ok(json) => {
                let count = |key: &str| json[key].as_array().map_or(0, Vec::len);
                (report.format, report.package_count) = match (&json["spdxVersion"], &json["bomFormat"]) {
                    (serde_json::Value::String(_), _) => ("spdx", count("packages")),
                    (_, serde_json::Value::String(_)) => ("cyclonedx", count("components")),
                    _ => ("", 0),
                };
                report.canonical_sha256 = canonical_digest(content);
            }
            Err(error) => report.notes.push(format!("it is no JSON: {error}")),
        }
        report
    }
}

/// Returns the SHA-256 of what the bill `content` says; empty if it is no JSON.
pub(super) fn canonical_digest(content: &[u8]) -> String {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    match serde_json::from_slice(content) {
        Ok(json) => sha256(canonical(json).as_bytes()),
        Err(_) => String::new(),
    }
}

/// Returns the text of a bill with sorted keys, without what differs between two bills of the same content.
fn canonical(json: serde_json::Value) -> String {
    use serde_json::Value;
    fn sorted(value: Value) -> Value {
        match value {
            Value::Object(fields) => {
                let fields: BTreeMap<String, Value> = fields.into_iter().collect();
                fields.into_iter().map(|(key, value)| (key, sorted(value))).collect()
            }
            Value::Array(items) => items.into_iter().map(sorted).collect(),
            other => other,
        }
    }
    let mut json = json;
    for (section, key) in [("creationInfo", "created"), ("metadata", "timestamp")] {
        if let Some(section) = json.get_mut(section).and_then(Value::as_object_mut) {
            section.remove(key);
        }
    }
    if let Some(fields) = json.as_object_mut() {
        for own in ["documentNamespace", "serialNumber", "name"] {
            fields.remove(own);
        }
    }
    sorted(json).to_string()
}

/// Returns the bill that stands for the others: the one under the name of the tool that oic replaces, or else SPDX's, or
/// else the first whose name ends with `.json`.
fn find(layer: &dyn Layer) -> LayerResult<Option<(PathBuf, Vec<u8>)>> {
    let directory = Path::new(sbom::DIRECTORY);
    let node = match walk::find(layer, directory, true) {
        Ok(node) => node,
        Err(error) if walk::is_absence(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    layer.entries(node, 0, &mut |entry| {
        names.push(entry.name.to_string_lossy().into_owned());
        true
    })?;
    names.retain(|name| name.ends_with(".json"));
    let rank = |name: &String| match (name.starts_with("spdx_manifest"), name.ends_with(".spdx.json")) {
        (true, _) => 0,
        (false, true) => 1,
        (false, false) => 2,
    };
    names.sort_by_key(|name| (rank(name), name.clone()));
    let Some(name) = names.into_iter().next() else {
        return Ok(None);
    };
    let path = directory.join(name);
    Ok(walk::read(layer, &path)?.map(|content| (path, content)))
}

/// Integrity of the root by dm-verity, as the command lines of the boot programs ask for it.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verity {
    /// Whether it is asked for.
    pub enabled: bool,
    /// `systemd-verity` or `roothash-parameter`.
    pub method: &'static str,
    /// The device with the root.
    pub root_device: String,
    /// The partition with the hashes.
    pub hash_partition: String,
    /// What is remarkable.
    pub notes: Vec<String>,
}

impl Verity {
    /// Finds it in the command lines of the unified kernel images in `table`.
    pub(super) fn of(table: &TableReport) -> Self {
        let systems = table
            .partitions
            .iter()
            .filter_map(|partition| partition.filesystem.as_ref());
        let lines = systems
            .flat_map(|system| &system.efi_binaries)
            .map(|binary| binary.cmdline.as_str());
        let Some(line) = lines.into_iter().find(|line| value(line, "roothash").is_some()) else {
            return Self::default();
        };
        let given = |key: &str| value(line, key).unwrap_or_default().to_owned();
        let (root, hash) = (given("systemd.verity_root_data"), given("systemd.verity_root_hash"));
        let is_named = !root.is_empty() || !hash.is_empty();
        let has_partition = table.partitions.iter().any(|partition| {
            let contents = partition.filesystem.as_ref();
            contents.is_some_and(|contents| contents.kind == "DM_verity_hash")
        });
        let mut notes = Vec::new();
        if !has_partition {
            notes.push("a root hash is given, but no partition holds hashes".to_owned());
        }
        Self {
            enabled: true,
            method: if is_named {
                "systemd-verity"
            } else {
                "roothash-parameter"
            },
            root_device: if root.is_empty() { given("root") } else { root },
            hash_partition: hash,
            notes,
        }
    }
}

/// Returns the value of `key` on a kernel's command line.
fn value<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.split_whitespace()
        .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}
