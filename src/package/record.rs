//! The record of a package in a repository index, and the part that a resolution keeps.

use std::sync::Arc as Shared;

use serde::{Deserialize, Serialize};

use super::Checksum;

/// Values of the `Multi-Arch` field (deb-control(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MultiArch {
    /// Absent or `no`: satisfies only its own architecture.
    #[default]
    No,
    /// `same`: co-installable with itself of another architecture.
    Same,
    /// `foreign`: satisfies dependencies of any architecture.
    Foreign,
    /// `allowed`: satisfies `name:any`.
    Allowed,
}

/// One package version as one repository offers it. Relation fields hold the
/// field's text; `resolve` parses only those that it reaches.
#[derive(Debug, Clone)]
pub struct PackageRecord {
    /// Package name.
    pub name: Box<str>,
    /// Full version, epoch and revision included.
    pub version: Box<str>,
    /// Architecture as the package system writes it (`amd64`, `all`).
    pub architecture: Box<str>,
    /// Its behaviour towards other architectures.
    pub multi_arch: MultiArch,
    /// `Essential: yes`.
    pub essential: bool,
    /// `Priority` (`required`, `important`, …); empty if absent.
    pub priority: Box<str>,
    /// `Depends`, unparsed.
    pub depends: Box<str>,
    /// `Pre-Depends`, unparsed.
    pub pre_depends: Box<str>,
    /// `Recommends`, unparsed.
    pub recommends: Box<str>,
    /// `Provides`, unparsed.
    pub provides: Box<str>,
    /// `Conflicts`, unparsed.
    pub conflicts: Box<str>,
    /// `Breaks`, unparsed.
    pub breaks: Box<str>,
    /// `Replaces`, unparsed.
    pub replaces: Box<str>,
    /// Path of the file, relative to the repository's base URL.
    pub path: Box<str>,
    /// Size of the package file in bytes.
    pub size_bytes: u64,
    /// Space that its files take when installed, in bytes (the field itself is in KiB).
    pub installed_size_bytes: u64,
    /// Digest of the package file.
    pub checksum: Checksum,
    /// Id of the repository that offers it (`repo::Repository::id`).
    pub repository: Shared<str>,
    /// Pin priority of that repository (apt_preferences(5)); 500 is the default.
    pub priority_pin: i32,
    /// The stanza as the index has it, for the pool's own index.
    pub stanza: Stanza,
}

/// A stanza inside the text of an index, without a copy.
#[derive(Clone)]
pub struct Stanza {
    text: Shared<str>,
    start: usize,
    end: usize,
}

impl Stanza {
    /// Takes the bytes `range` of `text`, clamped to the length of `text`, so that it cannot fail later.
    pub fn new(text: Shared<str>, range: std::ops::Range<usize>) -> Self {
        let valid = text.get(range.clone()).is_some();
        let (start, end) = if valid { (range.start, range.end) } else { (0, 0) };
        Self { text, start, end }
    }

    /// Returns the stanza's text, without the empty line that ends it.
    pub fn as_str(&self) -> &str {
        &self.text[self.start..self.end]
    }
}

impl std::fmt::Debug for Stanza {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stanza({} bytes)", self.end - self.start)
    }
}

/// One package of a resolution: all that oic needs to fetch, verify and name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolvedPackage {
    /// Package name.
    pub name: String,
    /// Full version, epoch and revision included.
    pub version: String,
    /// Architecture as the package system writes it.
    pub architecture: String,
    /// Id of the repository that offers it.
    pub repository: String,
    /// Path of the file, relative to the repository's base URL.
    pub path: String,
    /// Size of the package file in bytes.
    pub size_bytes: u64,
    /// Space that its files take when installed, in bytes.
    pub installed_size_bytes: u64,
    /// Digest of the package file; in JSON, its field has the name of the algorithm.
    #[serde(flatten, with = "super::checksum::named")]
    pub checksum: Checksum,
    /// The index's stanza, for the pool's own index; not part of a lockfile.
    #[serde(skip)]
    pub stanza: String,
}

impl ResolvedPackage {
    /// Returns the name of the file in the package cache: complete, flat, and the same as in apt's archive directory
    /// (`:` of an epoch becomes `%3a`), or as rpm names files, with the extension of the path.
    pub fn file_name(&self) -> String {
        let version = self.version.replace(':', "%3a");
        let is_extension = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase());
        match self.path.rsplit_once('.') {
            Some((_, extension)) if is_extension(extension) && !extension.ends_with("deb") => {
                format!("{}-{version}.{}.{extension}", self.name, self.architecture)
            }
            _ => format!("{}_{version}_{}.deb", self.name, self.architecture),
        }
    }
}

/// The kind of need that one package of a resolution has for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DependencyKind {
    /// The needed package must be configured before the dependent is unpacked.
    PreDepends,
    /// The needed package must be configured before the dependent is configured.
    Depends,
    /// The package works without the other one, which came because recommendations were asked for.
    Recommends,
}

/// An edge between two packages of a resolution, by their index in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Dependency {
    /// Index of the package that needs.
    pub from: usize,
    /// Index of the package that is needed.
    pub to: usize,
    /// The field that states the need.
    pub kind: DependencyKind,
}

/// The exact set of packages for a request, in installation order.
#[derive(Debug, Clone, Default)]
pub struct Resolution {
    /// The packages; the needs of a package come before it, except in cycles.
    pub packages: Vec<ResolvedPackage>,
    /// The edges between them.
    pub dependencies: Vec<Dependency>,
    /// Indices of the packages that were requested by name.
    pub requested: Vec<usize>,
}

impl Resolution {
    /// Returns the sum of the installed sizes in bytes.
    pub fn installed_size_bytes(&self) -> u64 {
        self.packages
            .iter()
            .fold(0, |sum, package| sum.saturating_add(package.installed_size_bytes))
    }
}
