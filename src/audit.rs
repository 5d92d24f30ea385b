//! Known vulnerabilities of packages, from a database that the user has downloaded: the export of Debian's security tracker,
//! or entries of OSV. There is no network.

mod cvss;
mod debian;
mod osv;

use std::cmp::Ordering;
use std::path::Path;

use serde::Serialize;

use crate::disk::walk;
use crate::installed::{Database, InstalledError, Manager, Package};
use crate::overlay::layer::Layer;
use crate::package::{DebVersion, Evr};
use crate::resolve::lockfile::Lockfile;

pub use cvss::base_score;

/// The largest database that is read, in bytes.
pub const DATABASE_BYTES_MAX: u64 = 2 << 30;

/// How bad a vulnerability is (CVSS 3.1, section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It does not matter in this distribution.
    Unimportant,
    /// Low.
    Low,
    /// Nobody has rated it yet; it counts like a medium one.
    Unknown,
    /// Medium.
    Medium,
    /// High.
    High,
    /// Critical.
    Critical,
}

impl Severity {
    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unimportant => "unimportant",
            Self::Low => "low",
            Self::Unknown => "unknown",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// Returns what a database calls `word`.
    fn named(word: &str) -> Self {
        match word.to_ascii_lowercase().trim_end_matches('*') {
            "unimportant" | "negligible" | "none" => Self::Unimportant,
            "low" => Self::Low,
            "medium" | "moderate" => Self::Medium,
            "high" | "important" => Self::High,
            "critical" => Self::Critical,
            _ => Self::Unknown,
        }
    }
}

/// A package as a database of vulnerabilities knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audited {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The name of its source.
    pub source: String,
    /// The version of its source.
    pub source_version: String,
}

/// What is audited.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct System {
    /// The distribution, as os-release(5) names it.
    pub id: String,
    /// Its version.
    pub version: String,
    /// Its codename.
    pub codename: String,
    /// The kind of its packages.
    pub manager: Manager,
    /// Its packages.
    pub packages: Vec<Audited>,
}

/// A vulnerability that a package has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Its identifier, such as `CVE-2024-3094`.
    pub id: String,
    /// The package.
    pub package: String,
    /// The package's version.
    pub version: String,
    /// The version that has it no more; empty if there is none yet.
    pub fixed: String,
    /// What it is.
    pub summary: String,
}

/// The reason why an audit fails.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The database is no JSON of the kinds that are known.
    #[error("it is neither the export of Debian's security tracker nor of OSV: {0}")]
    Database(#[from] serde_json::Error),
    /// The tree has no packages.
    #[error("it has no packages of dpkg or rpm")]
    NoPackages,
    /// The tree cannot be read.
    #[error(transparent)]
    Installed(#[from] InstalledError),
}

impl System {
    /// Reads the system in the tree `layer`.
    ///
    /// # Errors
    /// [`AuditError`].
    pub fn of_tree(layer: &dyn Layer) -> Result<Self, AuditError> {
        let Database { manager, packages, .. } = Database::read(layer)?;
        if manager == Manager::None {
            return Err(AuditError::NoPackages);
        }
        let release = "/etc/os-release";
        let text = walk::read(layer, Path::new(release)).map_err(InstalledError::on(release))?;
        let text = String::from_utf8_lossy(&text.unwrap_or_default()).into_owned();
        let value = |key: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once('='));
            let found = lines
                .find(|(own, _)| *own == key)
                .map(|(_, value)| value.trim_matches('"'));
            found.unwrap_or_default().to_owned()
        };
        Ok(Self {
            id: value("ID"),
            version: value("VERSION_ID"),
            codename: value("VERSION_CODENAME"),
            manager,
            packages: packages.iter().map(Audited::of).collect(),
        })
    }

    /// Takes the system of `lockfile`. A package of Debian lies in a directory that is named after its source.
    pub fn of_lockfile(lockfile: &Lockfile) -> Self {
        let is_deb = lockfile.packages.iter().any(|package| package.path.ends_with(".deb"));
        let source = |path: &str| {
            let parts: Vec<&str> = path.split('/').collect();
            match parts.as_slice() {
                ["pool", .., source, _] => Some((*source).to_owned()),
                _ => None,
            }
        };
        let audited = lockfile.packages.iter().map(|package| Audited {
            name: package.name.clone(),
            version: package.version.clone(),
            source: source(&package.path).unwrap_or_else(|| package.name.clone()),
            source_version: without_rebuild(&package.version).to_owned(),
        });
        let codename = lockfile.repositories.first().map(|first| first.codename.clone());
        // `{os}-{dist}-{arch}`, where the distribution ends with its version.
        let mut parts = lockfile.provider.rsplitn(3, '-').skip(1);
        let dist = parts.next().unwrap_or_default();
        let name = dist.trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
        Self {
            id: parts.next().unwrap_or(name).replace('-', ""),
            version: dist.get(name.len()..).unwrap_or_default().to_owned(),
            codename: codename.unwrap_or_default(),
            manager: if is_deb { Manager::Dpkg } else { Manager::Rpm },
            packages: audited.collect(),
        }
    }

    /// Compares two versions as the package manager does.
    fn compare(&self, a: &str, b: &str) -> Ordering {
        match self.manager {
            Manager::Rpm => Evr::new(a).cmp(&Evr::new(b)),
            Manager::Dpkg | Manager::None => DebVersion::new(a).cmp(&DebVersion::new(b)),
        }
    }
}

impl Audited {
    fn of(package: &Package) -> Self {
        Self {
            name: package.name.clone(),
            version: package.version.clone(),
            source: package.source.clone(),
            source_version: package.source_version.clone(),
        }
    }
}

/// Returns `version` without the number of a rebuild for one architecture (Debian Policy, section 5.6.12).
fn without_rebuild(version: &str) -> &str {
    match version.rsplit_once("+b") {
        Some((rest, number)) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => rest,
        _ => version,
    }
}

/// Returns the vulnerabilities of `system` that the database `content` knows: the worst first.
///
/// # Errors
/// [`AuditError::Database`].
pub fn audit(system: &System, content: &[u8]) -> Result<Vec<Finding>, AuditError> {
    let mut found = match osv::entries(content)? {
        Some(entries) => osv::findings(system, &entries),
        None => debian::findings(system, content)?,
    };
    found.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.cmp(b)));
    found.dedup();
    Ok(found)
}

#[cfg(test)]
mod tests;
