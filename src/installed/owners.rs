//! The package that each file belongs to.

use std::collections::HashMap;

use super::{Database, InstalledError, Manager, dpkg};
use crate::overlay::layer::Layer;

/// The directories that may be links into `/usr`.
const MERGED: [&str; 6] = ["/bin/", "/sbin/", "/lib/", "/lib32/", "/lib64/", "/libx32/"];

/// The packages of files, by path.
#[derive(Debug, Clone, Default)]
pub struct Owners {
    /// By path as [`plain`] gives it: the index of the package.
    files: HashMap<String, u32>,
}

impl Owners {
    /// Reads which files the packages of `database` have in the tree `layer`.
    ///
    /// # Errors
    /// If a list cannot be read.
    pub fn read(layer: &dyn Layer, database: &Database) -> Result<Self, InstalledError> {
        let mut files = HashMap::new();
        if database.manager == Manager::Dpkg {
            let named = database.packages.iter().zip(0..);
            let by_name: HashMap<&str, u32> = named.map(|(package, index)| (package.name.as_str(), index)).collect();
            dpkg::lists(layer, &mut |package, list| {
                if let Some(index) = by_name.get(package) {
                    files.extend(list.lines().map(|path| (plain(path), *index)));
                }
            })?;
        }
        for (package, index) in database.packages.iter().zip(0..) {
            files.extend(package.files.iter().map(|path| (plain(path), index)));
        }
        Ok(Self { files })
    }

    /// Returns the index of the package that the file or directory `path` belongs to; of several, any one.
    pub fn of(&self, path: &str) -> Option<usize> {
        self.files.get(&plain(path)).map(|index| *index as usize)
    }

    /// Returns the paths of the packages' files and directories, as [`plain`] gives them, each with its package's index.
    pub fn files(&self) -> impl Iterator<Item = (&str, usize)> {
        self.files.iter().map(|(path, index)| (path.as_str(), *index as usize))
    }
}

/// Returns `path` as it is, whether or not `/bin`, `/lib` and their like are links into `/usr`.
pub fn plain(path: &str) -> String {
    let path = path.strip_suffix("/.").unwrap_or(path);
    match MERGED.iter().any(|directory| path.starts_with(directory)) {
        true => format!("/usr{path}"),
        false => path.to_owned(),
    }
}
