//! The record of a package in the index of an RPM repository.

use std::sync::Arc as Shared;

use super::{Checksum, ResolvedPackage};

/// One package version as one RPM repository offers it.
///
/// Relation fields hold one dependency per line, as [`RpmDependency::parse`](super::RpmDependency::parse)
/// reads them; `resolve` parses only those that it reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RpmRecord {
    /// Package name.
    pub name: Box<str>,
    /// `[epoch:]version-release`; an epoch of 0 is left out.
    pub evr: Box<str>,
    /// Architecture as rpm writes it (`x86_64`, `noarch`).
    pub arch: Box<str>,
    /// What it is, in one line.
    pub summary: Box<str>,
    /// `Requires` that must hold before the package's scripts run (`Requires(pre)` and its like).
    pub requires_pre: Box<str>,
    /// All other `Requires`.
    pub requires: Box<str>,
    /// `Recommends`.
    pub recommends: Box<str>,
    /// `Provides`.
    pub provides: Box<str>,
    /// `Conflicts`.
    pub conflicts: Box<str>,
    /// `Obsoletes`.
    pub obsoletes: Box<str>,
    /// The files that the primary index lists, one path per line: configuration and commands.
    pub files: Box<str>,
    /// Path of the file, relative to the repository's base URL.
    pub path: Box<str>,
    /// Size of the package file in bytes.
    pub size_bytes: u64,
    /// Space that its files take when installed, in bytes.
    pub installed_size_bytes: u64,
    /// Time of the build, in seconds since 1970.
    pub built_at: u64,
    /// Digest of the package file.
    pub checksum: Checksum,
    /// Id of the repository that offers it (`repo::Repository::id`).
    pub repository: Shared<str>,
    /// Priority of that repository: the greater is preferred; 500 is the default.
    pub priority: i32,
}

impl RpmRecord {
    /// Returns the names that a user may call it by besides its name, as with dnf: with its version, its release and
    /// its epoch, and each of these, or the name, with its architecture.
    pub fn longer_names(&self) -> Vec<String> {
        let Self { name, evr, arch, .. } = self;
        let without_epoch = evr.split_once(':').map_or(&**evr, |(_, rest)| rest);
        let version = without_epoch
            .rsplit_once('-')
            .map_or(without_epoch, |(version, _)| version);
        let mut names = vec![format!("{name}-{evr}"), format!("{name}-{version}")];
        if without_epoch.len() < evr.len() {
            names.push(format!("{name}-{without_epoch}"));
        }
        let with_arch: Vec<_> = names.iter().map(|name| format!("{name}.{arch}")).collect();
        names.push(format!("{name}.{arch}"));
        names.extend(with_arch);
        names
    }

    /// Returns what a resolution keeps of it.
    pub fn resolved(&self) -> ResolvedPackage {
        ResolvedPackage {
            name: self.name.to_string(),
            version: self.evr.to_string(),
            architecture: self.arch.to_string(),
            repository: self.repository.to_string(),
            path: self.path.to_string(),
            size_bytes: self.size_bytes,
            installed_size_bytes: self.installed_size_bytes,
            checksum: self.checksum,
            stanza: String::new(),
        }
    }
}
