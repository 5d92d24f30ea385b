//! The system in an image: where its partitions are mounted, its os-release(5), packages, bill of materials and integrity.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::packages::{self, Package};
use super::table::TableReport;
use super::{efi, sha256};
use crate::disk::image::Image;
use crate::disk::system::System;
use crate::disk::walk;
use crate::overlay::layer::{Layer, LayerResult};

/// dpkg's database.
const DPKG_STATUS: &str = "/var/lib/dpkg/status";
/// The databases of rpm, newer and older; they are named, not read.
const RPM_DATABASES: [&str; 3] = [
    "/usr/lib/sysimage/rpm/rpmdb.sqlite",
    "/var/lib/rpm/rpmdb.sqlite",
    "/var/lib/rpm/Packages",
];
/// The directory of bills of materials.
const SBOM_DIRECTORY: &str = "/usr/share/sbom";

/// The system.
#[derive(Debug, Serialize)]
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
    pub(super) fn of(image: &Image, notes: &mut Vec<String>) -> (Option<Self>, Option<Arc<System>>) {
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
        let packages = read(DPKG_STATUS).map(|status| packages::installed(&status));
        let has_rpm = RPM_DATABASES
            .iter()
            .any(|path| walk::find(&*system, Path::new(path), true).is_ok());
        let mounts = system.mounts().map(|(partition, path)| Mount {
            partition,
            path: path.display().to_string(),
        });
        let report = Self {
            os: Os::of(&release),
            hostname: String::from_utf8_lossy(&hostname).trim().to_owned(),
            mounts: mounts.collect(),
            package_system: match (&packages, has_rpm) {
                (Some(_), _) => "dpkg",
                (None, true) => "rpm",
                (None, false) => "",
            },
            package_count: packages.as_ref().map(Vec::len),
            packages: packages.unwrap_or_default(),
        };
        if report.package_system == "rpm" {
            notes.push("the packages of rpm's database are not listed".to_owned());
        }
        (Some(report), Some(system))
    }
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
    /// The number of its packages or components.
    pub package_count: usize,
    /// What is wrong with it.
    pub notes: Vec<String>,
}

impl Sbom {
    /// Finds the first one, by name, in the tree `layer`; adds what could not be read to `notes`.
    pub(super) fn of(layer: &dyn Layer, notes: &mut Vec<String>) -> Self {
        match find(layer) {
            Ok(Some((path, content))) => Self::describe(&path, &content),
            Ok(None) => Self::default(),
            Err(error) => {
                notes.push(format!("{SBOM_DIRECTORY}: {error}"));
                Self::default()
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
            }
            Err(error) => report.notes.push(format!("it is no JSON: {error}")),
        }
        report
    }
}

/// Returns the first file of the directory of bills of materials whose name ends with `.json`.
fn find(layer: &dyn Layer) -> LayerResult<Option<(PathBuf, Vec<u8>)>> {
    let directory = Path::new(SBOM_DIRECTORY);
    let Ok(node) = walk::find(layer, directory, true) else {
        return Ok(None);
    };
    let mut names = Vec::new();
    layer.entries(node, 0, &mut |entry| {
        names.push(entry.name.to_owned());
        true
    })?;
    names.retain(|name| Path::new(name).extension().is_some_and(|extension| extension == "json"));
    let Some(name) = names.into_iter().min() else {
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
