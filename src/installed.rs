//! What is installed in a tree: the packages of dpkg's and rpm's databases, and the files that belong to them.
//!
//! Everything is read through a [`Layer`], so that a mounted directory, a disk image and the tree of a build are the same.
//! All bytes are hostile: sizes are bounded, and what is damaged is an error that names the file.

pub mod capabilities;
pub mod dpkg;
pub mod people;
pub mod rpm;
pub mod rpmdb;
pub mod visit;

mod owners;

use std::path::Path;

use serde::Serialize;

use crate::disk::walk;
use crate::overlay::layer::{FileKind, Layer, LayerError};

pub use owners::{Owners, plain};

/// The package manager of a tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub enum Manager {
    /// No package manager that oic knows.
    #[default]
    #[serde(rename = "")]
    None,
    /// dpkg(1).
    #[serde(rename = "dpkg")]
    Dpkg,
    /// rpm(8).
    #[serde(rename = "rpm")]
    Rpm,
}

impl Manager {
    /// Returns the word of package URLs and file names for its packages; empty for none.
    pub fn package_word(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Dpkg => "deb",
            Self::Rpm => "rpm",
        }
    }

    /// Returns its own name; empty for none.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Dpkg => "dpkg",
            Self::Rpm => "rpm",
        }
    }
}

/// An installed package.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version, epoch and revision included.
    pub version: String,
    /// Its architecture, in the package manager's words.
    pub architecture: String,
    /// The package that it was built from.
    pub source: String,
    /// The version of the source package.
    #[serde(skip)]
    pub source_version: String,
    /// Who maintains or sells it; empty if unknown.
    #[serde(skip)]
    pub supplier: String,
    /// Its home page; empty if unknown.
    #[serde(skip)]
    pub homepage: String,
    /// What it is, in one line.
    #[serde(skip)]
    pub summary: String,
    /// The licence as the database states it; dpkg's has none.
    #[serde(skip)]
    pub licence: String,
    /// What it needs: one of the names of each list.
    #[serde(skip)]
    pub needs: Vec<Vec<String>>,
    /// The names that it provides besides its own.
    #[serde(skip)]
    pub provides: Vec<String>,
    /// The sum of its files' sizes in bytes, as the package states it.
    #[serde(skip)]
    pub installed_bytes: u64,
    /// Its files, where the database of packages lists them; dpkg has a list of its own for each package.
    #[serde(skip)]
    pub files: Vec<String>,
}

/// The packages of a tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Database {
    /// The package manager.
    pub manager: Manager,
    /// The file that was read, from the tree's root.
    pub path: &'static str,
    /// The packages, sorted.
    pub packages: Vec<Package>,
}

/// The error of reading a database of packages.
#[derive(Debug, thiserror::Error)]
pub enum InstalledError {
    /// A file of the tree cannot be read.
    #[error("{path}: {source}")]
    Layer {
        /// The file, from the tree's root.
        path: String,
        /// The cause.
        source: LayerError,
    },
    /// The database is damaged.
    #[error("{path} is damaged: {source}")]
    Damaged {
        /// The file, from the tree's root.
        path: &'static str,
        /// The damage.
        source: rpmdb::DatabaseError,
    },
}

impl InstalledError {
    /// Makes the function that adds `path` to an error of the layer.
    pub(crate) fn on(path: &str) -> impl FnOnce(LayerError) -> Self + '_ {
        move |source| Self::Layer {
            path: path.to_owned(),
            source,
        }
    }
}

impl Database {
    /// Reads the database of packages in the tree `layer`; one without packages if there is none.
    ///
    /// # Errors
    /// [`InstalledError`].
    pub fn read(layer: &dyn Layer) -> Result<Self, InstalledError> {
        let status = walk::read(layer, Path::new(dpkg::STATUS)).map_err(InstalledError::on(dpkg::STATUS))?;
        if let Some(status) = status {
            return Ok(Self {
                manager: Manager::Dpkg,
                path: dpkg::STATUS,
                packages: dpkg::installed(&status),
            });
        }
        rpm::read(layer).map(Option::unwrap_or_default)
    }

    /// Lists the dependencies among the packages, as pairs of indices: the first needs the second. Of alternatives the
    /// first counts that is installed. What no package provides is left out.
    pub fn dependencies(&self) -> Vec<(usize, usize)> {
        let mut providers = std::collections::HashMap::new();
        for (index, package) in self.packages.iter().enumerate() {
            for name in &package.provides {
                providers.entry(name.as_str()).or_insert(index);
            }
        }
        if self.manager == Manager::Rpm {
            // A package may need a file of another one.
            for (index, package) in self.packages.iter().enumerate() {
                for path in &package.files {
                    providers.entry(path.as_str()).or_insert(index);
                }
            }
        }
        // A real package comes before a virtual one.
        for (index, package) in self.packages.iter().enumerate() {
            providers.insert(package.name.as_str(), index);
        }
        let mut found = Vec::new();
        for (index, package) in self.packages.iter().enumerate() {
            let first = |names: &Vec<String>| names.iter().find_map(|name| providers.get(name.as_str()).copied());
            found.extend(package.needs.iter().filter_map(first).map(|needed| (index, needed)));
        }
        found.retain(|(from, to)| from != to);
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// Lists the names in the directory `path` of `layer`, sorted, with their kinds; none if there is no such directory.
///
/// # Errors
/// If the layer cannot be read.
pub fn names(layer: &dyn Layer, path: &str) -> Result<Vec<(String, FileKind)>, InstalledError> {
    let node = match walk::find(layer, Path::new(path), true) {
        Ok(node) => node,
        Err(error) if walk::is_absence(&error) => return Ok(Vec::new()),
        Err(error) => return Err(InstalledError::on(path)(error)),
    };
    if layer.attributes(node).map_err(InstalledError::on(path))?.kind != FileKind::Directory {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    layer
        .entries(node, 0, &mut |entry| {
            names.push((entry.name.to_string_lossy().into_owned(), entry.kind));
            true
        })
        .map_err(InstalledError::on(path))?;
    names.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(names)
}

#[cfg(test)]
mod tests;
