//! The differences between two images, trees, bills of materials, lockfiles or templates.
//!
//! The classes and keys are those of the tool that oic replaces (`docs/compatibility.md`); file by file, package by package
//! and size by size is told besides.

mod bills;
mod files;
mod html;
mod packages;
mod values;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::inspect::Report as Inspected;

pub use bills::{BILL_BYTES_MAX, BillError, BillsDifference, bill_packages, compare_bills};
pub use files::{FileChange, FilesDifference, Side, compare_files};
pub use html::page;
pub use packages::{Known, PackageChange, compare_packages};
pub use values::{Change, changes};

/// How alike two images are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The files of the images have the same bytes.
    BinaryIdentical,
    /// Only identifiers and dates differ.
    SemanticallyIdentical,
    /// Nothing else is known to differ, but not all was compared.
    SemanticallyIdenticalUnverified,
    /// They differ.
    Different,
}

/// The verdict.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Equality {
    /// How alike they are.
    pub class: Class,
    /// The number of differences that mean nothing, such as UUIDs.
    pub volatile_diffs: usize,
    /// The number of others.
    pub meaningful_diffs: usize,
    /// Where the first ones are, in words.
    pub volatile_reasons: Vec<String>,
    /// Where the others are, in words.
    pub meaningful_reasons: Vec<String>,
}

/// What has changed.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Whether anything has.
    pub changed: bool,
    /// Whether the partition table has.
    pub partition_table_changed: bool,
    /// Whether partitions have.
    pub partitions_changed: bool,
    /// Whether file systems have.
    pub filesystems_changed: bool,
    /// Whether EFI programs have.
    pub efi_binaries_changed: bool,
    /// Whether the bill of materials has.
    pub sbom_changed: bool,
    /// Whether packages have.
    pub packages_changed: bool,
    /// Whether files have.
    pub files_changed: bool,
    /// The number of partitions, programs, packages and files that were added.
    pub added_count: usize,
    /// The number of those that were removed.
    pub removed_count: usize,
    /// The number of those that were changed.
    pub modified_count: usize,
}

/// The whole comparison.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// The version of the keys: the one of the tool that oic replaces.
    pub schema_version: &'static str,
    /// The path of the first one.
    pub from: String,
    /// The path of the second one.
    pub to: String,
    /// The verdict.
    pub equality: Equality,
    /// What has changed.
    pub summary: Summary,
    /// What has changed in the images themselves.
    pub diff: Value,
    /// Packages that have changed.
    pub packages: Vec<PackageChange>,
    /// Files that have changed, if files were compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<FilesDifference>,
}

/// What is compared of two sides.
#[derive(Debug, Default)]
pub struct Parts<'a> {
    /// Paths, for messages.
    pub paths: (String, String),
    /// What `inspect` says, of images.
    pub images: Option<(&'a Inspected, &'a Inspected)>,
    /// Other values that are compared as they are, such as templates.
    pub values: Option<(Value, Value)>,
    /// The packages.
    pub packages: Vec<PackageChange>,
    /// The files, if they were compared.
    pub files: Option<FilesDifference>,
}

/// Words of identifiers and dates, which differ between two images of the same content.
const VOLATILE: [&str; 10] = [
    "diskGuid",
    "guid",
    "uuid",
    "signed",
    "signatureSize",
    "initrdSha256",
    "partitionUuid",
    "rootDevice",
    "freeBytes",
    "notes",
];
/// Values that follow from others.
const DERIVED: [&str; 13] = [
    "size",
    "sha256",
    "sectionSha256",
    "cmdlineNormalizedSha256",
    "cmdlineSha256",
    "osReleaseRaw",
    "osReleaseSorted",
    "osrelSha256",
    "unameSha256",
    "configFiles",
    "configRaw",
    "uuidReferences",
    "filesystem",
];

/// Puts a comparison together.
pub fn compare(parts: Parts<'_>) -> Comparison {
    let mut found = Found::default();
    let mut diff = Map::new();
    let mut is_binary_identical = false;
    if let Some((from, to)) = parts.images {
        is_binary_identical = from.sha256.is_some() && from.sha256 == to.sha256;
        diff = found.images(from, to);
        found.is_unverified |= !from.notes.is_empty() || !to.notes.is_empty() || parts.files.is_none();
    }
    if let Some((from, to)) = &parts.values {
        let all = changes(from, to);
        found.all("", &all);
        diff.insert("values".to_owned(), json!(all));
    }
    found.packages(&parts.packages);
    if let Some(files) = &parts.files {
        found.files(files);
    }
    let Found {
        volatile,
        meaningful,
        mut summary,
        is_unverified,
    } = found;
    let class = match (is_binary_identical, meaningful.is_empty(), is_unverified) {
        (true, _, _) => Class::BinaryIdentical,
        (_, false, _) => Class::Different,
        (_, true, true) => Class::SemanticallyIdenticalUnverified,
        (_, true, false) => Class::SemanticallyIdentical,
    };
    summary.changed = !meaningful.is_empty() || !volatile.is_empty();
    Comparison {
        schema_version: "1",
        from: parts.paths.0,
        to: parts.paths.1,
        equality: Equality {
            class,
            volatile_diffs: volatile.len(),
            meaningful_diffs: meaningful.len(),
            volatile_reasons: volatile,
            meaningful_reasons: meaningful,
        },
        summary,
        diff: Value::Object(diff),
        packages: parts.packages,
        files: parts.files,
    }
}

/// What was found so far.
#[derive(Debug, Default)]
struct Found {
    volatile: Vec<String>,
    meaningful: Vec<String>,
    summary: Summary,
    is_unverified: bool,
}

impl Found {
    /// Notes the differences `all` of the thing `what`.
    fn all(&mut self, what: &str, all: &[Change]) {
        for change in all {
            let reason = [what, change.path.as_str()].join(" ").trim().to_owned();
            match is_volatile(change) {
                true => self.volatile.push(reason),
                false => self.meaningful.push(reason),
            }
        }
    }

    fn images(&mut self, from: &Inspected, to: &Inspected) -> Map<String, Value> {
        let value = |report: &Inspected| serde_json::to_value(report).unwrap_or_default();
        let (from, to) = (value(from), value(to));
        let mut diff = Map::new();
        let image = changes(
            &json!({"sizeBytes": from["sizeBytes"]}),
            &json!({"sizeBytes": to["sizeBytes"]}),
        );
        self.all("image", &image);
        diff.insert("image".to_owned(), as_fields(&image));
        let table = |value: &Value| {
            let mut table = value["partitionTable"].clone();
            if let Some(fields) = table.as_object_mut() {
                fields.remove("Partitions");
            }
            table
        };
        let changed = changes(&table(&from), &table(&to));
        self.summary.partition_table_changed = !changed.is_empty();
        self.all("partition table", &changed);
        diff.insert("partitionTable".to_owned(), as_fields(&changed));
        diff.insert("partitions".to_owned(), self.partitions(&from, &to));
        diff.insert("efiBinaries".to_owned(), self.programs(&from, &to));
        let verity = changes(&from["verity"], &to["verity"]);
        self.all("verity", &verity);
        diff.insert("verity".to_owned(), as_fields(&verity));
        let sbom = changes(&from["sbom"], &to["sbom"]);
        self.summary.sbom_changed = !sbom.is_empty();
        let is_same_content = from["sbom"]["canonicalSha256"] == to["sbom"]["canonicalSha256"];
        let reason = sbom.iter().map(|change| format!("sbom {}", change.path));
        match is_same_content {
            true => self.volatile.extend(reason),
            false => self.meaningful.push("sbom content".to_owned()),
        }
        diff.insert("sbom".to_owned(), as_fields(&sbom));
        diff
    }

    fn partitions(&mut self, from: &Value, to: &Value) -> Value {
        let by_index = |value: &Value| keyed(&value["partitionTable"]["Partitions"], |one| one["Index"].to_string());
        let (from, to) = (by_index(from), by_index(to));
        let mut modified = Vec::new();
        for (index, one) in &from {
            let Some(other) = to.get(index) else { continue };
            let own = without(changes(one, other), &["filesystem"]);
            let system = changes(&one["filesystem"], &other["filesystem"]);
            let system = without(system, &["efiBinaries"]);
            if own.is_empty() && system.is_empty() {
                continue;
            }
            self.summary.partitions_changed |= !own.is_empty();
            self.summary.filesystems_changed |= !system.is_empty();
            self.all(&format!("partition {index}"), &own);
            self.all(&format!("file system of partition {index}"), &system);
            modified.push(json!({
                "index": one["Index"],
                "name": one["Name"],
                "changes": as_fields(&own),
                "filesystem": as_fields(&system),
            }));
        }
        self.summary.partitions_changed |= from.keys().ne(to.keys());
        self.sets("partition", &from, &to, modified)
    }

    fn programs(&mut self, from: &Value, to: &Value) -> Value {
        let all = |value: &Value| {
            let partitions = value["partitionTable"]["Partitions"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let programs = partitions.iter().flat_map(|partition| {
                let own = partition["filesystem"]["efiBinaries"].as_array().cloned();
                own.unwrap_or_default().into_iter()
            });
            keyed(&programs.collect(), |one| {
                one["path"].as_str().unwrap_or_default().to_owned()
            })
        };
        let (from, to) = (all(from), all(to));
        let mut modified = Vec::new();
        for (path, one) in &from {
            let Some(other) = to.get(path) else { continue };
            let changed = changes(one, other);
            if changed.is_empty() {
                continue;
            }
            let told = without(changed.clone(), &DERIVED);
            match told.is_empty() {
                true => self.meaningful.push(format!("EFI program {path} content")),
                false => self.all(&format!("EFI program {path}"), &told),
            }
            modified.push(json!({"path": path, "changes": as_fields(&changed)}));
        }
        self.summary.efi_binaries_changed = !modified.is_empty() || from.keys().ne(to.keys());
        self.sets("EFI program", &from, &to, modified)
    }

    /// Notes what only one side has, and returns the three lists.
    fn sets(
        &mut self,
        what: &str,
        from: &BTreeMap<String, Value>,
        to: &BTreeMap<String, Value>,
        modified: Vec<Value>,
    ) -> Value {
        let only = |one: &BTreeMap<String, Value>, other: &BTreeMap<String, Value>| {
            let own = one.iter().filter(|(key, _)| !other.contains_key(*key));
            own.map(|(key, value)| (key.clone(), value.clone())).collect::<Vec<_>>()
        };
        let (removed, added) = (only(from, to), only(to, from));
        let reasons = |list: &[(String, Value)], word: &str| {
            list.iter()
                .map(|(key, _)| format!("{what} {key} {word}"))
                .collect::<Vec<_>>()
        };
        self.meaningful.extend(reasons(&added, "added"));
        self.meaningful.extend(reasons(&removed, "removed"));
        self.summary.added_count += added.len();
        self.summary.removed_count += removed.len();
        self.summary.modified_count += modified.len();
        let values = |list: Vec<(String, Value)>| list.into_iter().map(|(_, value)| value).collect::<Vec<_>>();
        json!({"added": values(added), "removed": values(removed), "modified": modified})
    }

    fn packages(&mut self, all: &[PackageChange]) {
        self.summary.packages_changed = !all.is_empty();
        for change in all {
            match (&change.from, &change.to) {
                (None, _) => self.summary.added_count += 1,
                (_, None) => self.summary.removed_count += 1,
                _ => self.summary.modified_count += 1,
            }
            self.meaningful.push(format!("package {}", change.words()));
        }
    }

    fn files(&mut self, files: &FilesDifference) {
        self.summary.files_changed = !files.changes.is_empty();
        self.summary.added_count += files.added;
        self.summary.removed_count += files.removed;
        self.summary.modified_count += files.modified;
        self.is_unverified |= !files.notes.is_empty();
        for change in &files.changes {
            let reason = format!("file {} {}", change.path, change.words());
            match change.is_volatile() {
                true => self.volatile.push(reason),
                false => self.meaningful.push(reason),
            }
        }
    }
}

/// Returns whether a difference means nothing: an identifier, or a text that differs in its identifiers alone.
fn is_volatile(change: &Change) -> bool {
    let word = change.path.rsplit('.').next().unwrap_or_default();
    let is_named = change.path.split('.').any(|word| VOLATILE.contains(&word));
    let is_masked = values::masked(&change.from) == values::masked(&change.to);
    is_named || is_masked || word == "initrd"
}

/// Leaves out the changes below the fields `names`.
fn without(all: Vec<Change>, names: &[&str]) -> Vec<Change> {
    let is_told = |change: &Change| !change.path.split('.').any(|word| names.contains(&word));
    all.into_iter().filter(is_told).collect()
}

/// Returns the changes as an object: a field has its path for a name.
fn as_fields(all: &[Change]) -> Value {
    let field = |change: &Change| (change.path.clone(), json!({"from": change.from, "to": change.to}));
    Value::Object(all.iter().map(field).collect())
}

fn keyed(list: &Value, key: impl Fn(&Value) -> String) -> BTreeMap<String, Value> {
    let items = list.as_array().map_or(&[][..], Vec::as_slice);
    items.iter().map(|one| (key(one), one.clone())).collect()
}

#[cfg(test)]
mod tests;
