//! What takes the space of a system: by package, and by directory.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use serde::Serialize;

use crate::installed::visit::Listing;
use crate::installed::{Database, Owners};
use crate::overlay::layer::FileKind;

/// The depth of the directories that are told.
const DEPTH: usize = 3;

/// The sizes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sizes {
    /// The sum of the sizes of all files, in bytes. A file with several names counts once.
    pub total_bytes: u64,
    /// The part of it that belongs to no package.
    pub unowned_bytes: u64,
    /// By package, the largest first.
    pub packages: Vec<Size>,
    /// By directory, with all below it, in the order of paths.
    pub directories: Vec<Size>,
}

/// The size of something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Size {
    /// Its name.
    pub name: String,
    /// The sum of the sizes of its files in bytes.
    pub size_bytes: u64,
    /// The number of its files.
    pub files: u64,
}

impl Sizes {
    /// Sums up the files of `listing`.
    pub(super) fn of(listing: &Listing, database: &Database, owners: &Owners) -> Self {
        let mut sizes = Self::default();
        let mut packages = vec![(0_u64, 0_u64); database.packages.len()];
        let mut directories: BTreeMap<&Path, (u64, u64)> = BTreeMap::new();
        let mut seen = HashSet::new();
        for file in listing
            .files
            .iter()
            .filter(|file| file.attributes.kind == FileKind::Regular)
        {
            if file.attributes.links > 1 && !seen.insert(file.node) {
                continue;
            }
            let bytes = file.attributes.size_bytes;
            sizes.total_bytes = sizes.total_bytes.saturating_add(bytes);
            let owner = owners
                .of(&file.path.to_string_lossy())
                .and_then(|owner| packages.get_mut(owner));
            match owner {
                Some(size) => add(size, bytes),
                None => sizes.unowned_bytes = sizes.unowned_bytes.saturating_add(bytes),
            }
            let above: Vec<&Path> = file.path.ancestors().skip(1).collect();
            for directory in above.into_iter().rev().skip(1).take(DEPTH) {
                add(directories.entry(directory).or_default(), bytes);
            }
        }
        let named = database.packages.iter().zip(packages);
        sizes.packages = named
            .map(|(package, size)| sized(package.name.clone(), size))
            .filter(|size| size.files > 0)
            .collect();
        sizes
            .packages
            .sort_by(|a, b| (b.size_bytes, &a.name).cmp(&(a.size_bytes, &b.name)));
        let directories = directories.into_iter();
        sizes.directories = directories
            .map(|(path, size)| sized(path.display().to_string(), size))
            .collect();
        sizes
    }
}

fn add((bytes, files): &mut (u64, u64), more: u64) {
    *bytes = bytes.saturating_add(more);
    *files += 1;
}

fn sized(name: String, (size_bytes, files): (u64, u64)) -> Size {
    Size {
        name,
        size_bytes,
        files,
    }
}
