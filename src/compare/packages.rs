//! Packages that two sides do not have in common.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::installed::Package;
use crate::package::ResolvedPackage;

/// A package, as far as every kind of side knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Its name.
    pub name: String,
    /// Its architecture; empty if unknown.
    pub architecture: String,
    /// Its version.
    pub version: String,
    /// The sum of its files' sizes in bytes; 0 if unknown.
    pub installed_bytes: u64,
}

impl From<&Package> for Known {
    fn from(package: &Package) -> Self {
        Self {
            name: package.name.clone(),
            architecture: package.architecture.clone(),
            version: package.version.clone(),
            installed_bytes: package.installed_bytes,
        }
    }
}

impl From<&ResolvedPackage> for Known {
    fn from(package: &ResolvedPackage) -> Self {
        Self {
            name: package.name.clone(),
            architecture: package.architecture.clone(),
            version: package.version.clone(),
            installed_bytes: package.installed_size_bytes,
        }
    }
}

/// A package that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PackageChange {
    /// Its name.
    pub name: String,
    /// Its architecture; empty if unknown.
    pub architecture: String,
    /// Its version on the first side.
    pub from: Option<String>,
    /// Its version on the second side.
    pub to: Option<String>,
    /// By how much it has grown, in bytes; 0 if unknown.
    pub grown_bytes: i64,
}

impl PackageChange {
    /// Says it in words.
    pub fn words(&self) -> String {
        match (&self.from, &self.to) {
            (None, to) => format!("{} {} added", self.name, to.as_deref().unwrap_or_default()),
            (Some(from), None) => format!("{} {from} removed", self.name),
            (Some(from), Some(to)) => format!("{} {from} -> {to}", self.name),
        }
    }
}

/// Returns the packages that differ, sorted. A package that was there in several versions, such as a kernel of rpm, is
/// told by version.
pub fn compare_packages(from: &[Known], to: &[Known]) -> Vec<PackageChange> {
    let group = |all: &[Known]| {
        let mut by_name: BTreeMap<(String, String), Vec<Known>> = BTreeMap::new();
        for one in all {
            by_name
                .entry((one.name.clone(), one.architecture.clone()))
                .or_default()
                .push(one.clone());
        }
        by_name
    };
    let (from, mut to) = (group(from), group(to));
    let mut found = Vec::new();
    for ((name, architecture), before) in from {
        let after = to.remove(&(name.clone(), architecture.clone())).unwrap_or_default();
        pair(&name, &architecture, before, after, &mut found);
    }
    for ((name, architecture), after) in to {
        pair(&name, &architecture, Vec::new(), after, &mut found);
    }
    found.sort_by(|a, b| (&a.name, &a.architecture, &a.from).cmp(&(&b.name, &b.architecture, &b.from)));
    found
}

fn pair(name: &str, architecture: &str, before: Vec<Known>, after: Vec<Known>, found: &mut Vec<PackageChange>) {
    let lacks = |list: &[Known], one: &Known| list.iter().all(|other| other.version != one.version);
    let gone: Vec<&Known> = before.iter().filter(|one| lacks(&after, one)).collect();
    let new: Vec<&Known> = after.iter().filter(|one| lacks(&before, one)).collect();
    let size = |one: Option<&&Known>| one.map_or(0, |one| i64::try_from(one.installed_bytes).unwrap_or(i64::MAX));
    for index in 0..gone.len().max(new.len()) {
        let (old, next) = (gone.get(index), new.get(index));
        found.push(PackageChange {
            name: name.to_owned(),
            architecture: architecture.to_owned(),
            from: old.map(|one| one.version.clone()),
            to: next.map(|one| one.version.clone()),
            grown_bytes: size(next).saturating_sub(size(old)),
        });
    }
}
