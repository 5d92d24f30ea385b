//! A software bill of materials: the packages of a tree, their licences and origins, as SPDX 2.3 or CycloneDX 1.6.
//!
//! It is made of a tree (of a build, an image, a directory) and, where a build made the tree, of its lockfile: what the
//! lockfile does not have was installed by something else, and the bill says so. The same tree gives the same bytes.

mod copyright;
mod cyclonedx;
mod files;
mod identity;
mod licence;
mod names;
mod spdx;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use crate::disk::walk;
use crate::installed::{Database, InstalledError, Manager, Package};
use crate::model::StatedPackage;
use crate::overlay::layer::Layer;
use crate::package::{Checksum, ResolvedPackage};
use crate::parallel;
use crate::resolve::lockfile::{LockedRepository, Lockfile};

pub use copyright::{Copyright, common_licences};
pub use files::BilledFile;
pub use identity::{cpe, package_url};
pub use licence::{Reference, References, expression};

/// The version of what this module makes; it counts up when the same tree would become other bytes.
pub const VERSION: u32 = 1;
/// The directory of bills in an image, as the tool that oic replaces has it.
pub const DIRECTORY: &str = "/usr/share/sbom";

/// A form of the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// SPDX 2.3 in JSON.
    Spdx,
    /// CycloneDX 1.6 in JSON.
    CycloneDx,
}

impl Form {
    /// All forms.
    pub const ALL: [Self; 2] = [Self::Spdx, Self::CycloneDx];

    /// Returns the end of its files' names.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Spdx => "spdx.json",
            Self::CycloneDx => "cdx.json",
        }
    }
}

/// What a bill is made for.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The name of the image.
    pub name: &'a str,
    /// Its version; empty if unknown.
    pub version: &'a str,
    /// The time of its making, in seconds since 1970.
    pub epoch_seconds: u64,
    /// What the build of the tree knows about it.
    pub build: Option<&'a Build<'a>>,
    /// Whether each file is listed with its digests.
    pub with_files: bool,
    /// The number of threads.
    pub threads: usize,
}

/// What a build knows about its tree.
#[derive(Debug, Clone, Copy)]
pub struct Build<'a> {
    /// The packages that it has installed.
    pub lockfile: &'a Lockfile,
    /// What the template says about packages.
    pub stated: &'a [StatedPackage],
}

/// What os-release(5) says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Os {
    /// `ID`.
    pub id: String,
    /// `VERSION_ID`.
    pub version: String,
    /// `PRETTY_NAME`.
    pub name: String,
    /// `CPE_NAME`.
    pub cpe: String,
}

/// A bill.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bill {
    /// The name of the image.
    pub name: String,
    /// Its version; empty if unknown.
    pub version: String,
    /// The time of its making, in seconds since 1970.
    pub epoch_seconds: u64,
    /// The distribution.
    pub os: Os,
    /// The package manager.
    pub manager: Manager,
    /// The packages, sorted; then those that only the template states.
    pub components: Vec<Component>,
    /// Pairs of indices: the first needs the second.
    pub dependencies: Vec<(usize, usize)>,
    /// Licences without identifiers.
    pub references: References,
    /// The files, if they were asked for.
    pub files: Option<Vec<BilledFile>>,
}

/// A package of a bill.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Component {
    /// What the database says about it.
    pub package: Package,
    /// Its licence, as an expression of SPDX.
    pub licence: Option<String>,
    /// What is known where there is no expression.
    pub licence_comment: String,
    /// Where it came from.
    pub origin: Origin,
    /// Digests of its file: the algorithm in the words of SPDX, and the value.
    pub checksums: Vec<(String, String)>,
    /// The path of its file in its repository, or its name.
    pub file: String,
    /// The place that it can be fetched from, if the template states it.
    pub download: String,
}

/// Where a package came from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Origin {
    /// Nothing is known: no build of oic made the tree, or made it from another lockfile.
    #[default]
    Unknown,
    /// A repository with signed metadata, in words.
    Repository(String),
    /// A command or file of the template, behind the package manager or the build.
    Behind,
    /// The template states it; no database has it.
    Stated,
}

/// Makes the bill of the tree `layer`.
///
/// # Errors
/// If the database of packages or a file of a package cannot be read.
pub fn bill(layer: &dyn Layer, subject: &Subject<'_>) -> Result<Bill, InstalledError> {
    let database = Database::read(layer)?;
    let dependencies = database.dependencies();
    let files = subject
        .with_files
        .then(|| files::list(layer, &database, subject.threads))
        .transpose()?;
    let Database { manager, packages, .. } = database;
    let licences = licences(layer, manager, &packages, subject.threads)?;
    let mut bill = Bill {
        name: subject.name.to_owned(),
        version: subject.version.to_owned(),
        epoch_seconds: subject.epoch_seconds,
        os: os(layer)?,
        manager,
        components: Vec::with_capacity(packages.len()),
        dependencies,
        references: References::new(),
        files,
    };
    let locked = subject.build.map(|build| Locked::of(build.lockfile));
    for (package, licence) in packages.into_iter().zip(licences) {
        let mut component = Component {
            package,
            licence: licence.expression,
            licence_comment: licence.comment,
            ..Component::default()
        };
        bill.references.extend(licence.references);
        if let Some(locked) = &locked {
            component.locate(locked);
        }
        bill.components.push(component);
    }
    for stated in subject.build.map(|build| build.stated).unwrap_or_default() {
        bill.state(stated);
    }
    Ok(bill)
}

impl Bill {
    /// Returns the document in the form `form`.
    pub fn document(&self, form: Form) -> Vec<u8> {
        match form {
            Form::Spdx => spdx::document(self),
            Form::CycloneDx => cyclonedx::document(self),
        }
    }

    /// Adds what the template states about a package where nothing else says it.
    fn state(&mut self, stated: &StatedPackage) {
        let is_same = |component: &Component| {
            let package = &component.package;
            package.name == stated.name && (stated.version.is_empty() || stated.version == package.version)
        };
        let index = self.components.iter().position(is_same);
        let index = index.unwrap_or_else(|| {
            let package = Package {
                name: stated.name.clone(),
                version: stated.version.clone(),
                ..Package::default()
            };
            self.components.push(Component {
                package,
                origin: Origin::Stated,
                ..Component::default()
            });
            self.components.len() - 1
        });
        let Some(component) = self.components.get_mut(index) else {
            return;
        };
        let fill = |own: &mut String, value: &String| {
            if own.is_empty() {
                own.clone_from(value);
            }
        };
        fill(&mut component.package.supplier, &stated.supplier);
        fill(&mut component.package.homepage, &stated.homepage);
        fill(&mut component.package.summary, &stated.summary);
        fill(&mut component.download, &stated.download);
        if component.licence.is_none() && !stated.licence.is_empty() {
            let found = licence::expression(&stated.licence, &|_| None, &mut self.references);
            component.licence = Some(found);
        }
        for checksum in &stated.checksums {
            if component
                .checksums
                .iter()
                .all(|(algorithm, _)| *algorithm != checksum.0)
            {
                component.checksums.push(checksum.clone());
            }
        }
    }
}

/// The packages of a lockfile by what the database calls them.
struct Locked<'a> {
    packages: HashMap<(&'a str, &'a str), Vec<&'a ResolvedPackage>>,
    repositories: BTreeMap<&'a str, &'a LockedRepository>,
}

impl<'a> Locked<'a> {
    fn of(lockfile: &'a Lockfile) -> Self {
        let mut packages: HashMap<_, Vec<_>> = HashMap::new();
        for package in &lockfile.packages {
            packages
                .entry((package.name.as_str(), package.version.as_str()))
                .or_default()
                .push(package);
        }
        let repositories = lockfile.repositories.iter();
        Self {
            packages,
            repositories: repositories
                .map(|repository| (repository.id.as_str(), repository))
                .collect(),
        }
    }
}

impl Component {
    /// Sets where it came from.
    fn locate(&mut self, locked: &Locked<'_>) {
        let own = &self.package;
        let found = locked.packages.get(&(own.name.as_str(), own.version.as_str()));
        let found = found.and_then(|all| all.iter().find(|package| package.architecture == own.architecture));
        let Some(package) = found else {
            self.origin = Origin::Behind;
            return;
        };
        let repository = locked.repositories.get(package.repository.as_str());
        let words = repository.map_or_else(
            || package.repository.clone(),
            |repository| {
                let LockedRepository { id, suite, digest, .. } = repository;
                let suite = if suite.is_empty() {
                    String::new()
                } else {
                    format!(", suite {suite}")
                };
                let signed = if digest.is_empty() {
                    String::new()
                } else {
                    format!(", signed metadata {digest}")
                };
                format!("{id}{suite}{signed}")
            },
        );
        self.origin = Origin::Repository(words);
        self.checksums = vec![named(package.checksum)];
        self.file.clone_from(&package.path);
    }
}

/// Returns a digest with the name of its algorithm in SPDX.
fn named(checksum: Checksum) -> (String, String) {
    (checksum.algorithm().field().to_owned(), checksum.to_string())
}

/// What was found about a licence.
#[derive(Debug, Default)]
struct Found {
    expression: Option<String>,
    comment: String,
    references: References,
}

/// Finds the licences of `packages`, on `threads` threads.
fn licences(
    layer: &dyn Layer,
    manager: Manager,
    packages: &[Package],
    threads: usize,
) -> Result<Vec<Found>, InstalledError> {
    parallel::try_map(threads, packages, |package| match manager {
        Manager::Dpkg => of_copyright(layer, &package.name),
        Manager::Rpm | Manager::None => Ok(of_words(&package.licence)),
    })
}

/// Finds the licence of a package of Debian in its copyright file (Debian Policy, section 12.5).
fn of_copyright(layer: &dyn Layer, package: &str) -> Result<Found, InstalledError> {
    let path = format!("/usr/share/doc/{package}/copyright");
    let file = walk::read(layer, Path::new(&path)).map_err(InstalledError::on(&path))?;
    let Some(file) = file else {
        return Ok(Found {
            comment: format!("there is no {path}"),
            ..Found::default()
        });
    };
    let Some(copyright) = Copyright::parse(&file) else {
        let common = common_licences(&file).join(", ");
        let named = if common.is_empty() {
            String::new()
        } else {
            format!("; it names {common}")
        };
        let digest = crate::package::Sha256::of(&file);
        return Ok(Found {
            comment: format!("{path} is not machine-readable (SHA-256 {digest}){named}"),
            ..Found::default()
        });
    };
    let mut references = References::new();
    let text = |name: &str| copyright.text(name);
    let all: Vec<String> = copyright
        .licences
        .iter()
        .map(|licence| licence::expression(licence, &text, &mut references))
        .collect();
    Ok(Found {
        expression: licence::all_of(all.iter().map(String::as_str)),
        comment: String::new(),
        references,
    })
}

/// Finds the licence in what a header of rpm calls it.
fn of_words(text: &str) -> Found {
    let mut references = References::new();
    let text = text.trim();
    let expression = (!text.is_empty()).then(|| licence::expression(text, &|_| None, &mut references));
    Found {
        expression,
        comment: String::new(),
        references,
    }
}

/// Reads os-release(5) of the tree.
///
/// # Errors
/// If it cannot be read.
pub fn os(layer: &dyn Layer) -> Result<Os, InstalledError> {
    let read = |path: &str| walk::read(layer, Path::new(path)).map_err(InstalledError::on(path));
    let file = match read("/etc/os-release")? {
        Some(file) => file,
        None => read("/usr/lib/os-release")?.unwrap_or_default(),
    };
    let text = String::from_utf8_lossy(&file);
    let value = |key: &str| {
        let mut lines = text.lines().filter_map(|line| line.trim().split_once('='));
        let found = lines.find(|(own, _)| *own == key);
        found
            .map(|(_, value)| value.trim_matches(['"', '\'']).to_owned())
            .unwrap_or_default()
    };
    Ok(Os {
        id: value("ID"),
        version: value("VERSION_ID"),
        name: value("PRETTY_NAME"),
        cpe: value("CPE_NAME"),
    })
}

#[cfg(test)]
mod tests;
