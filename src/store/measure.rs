//! The size of a tree, as du(1) counts it.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::durable::PathError;
use crate::mount::table::{self, Mount};

use super::StoreError;

/// The unit of `st_blocks` (stat(2)).
const BLOCK_BYTES: u64 = 512;

/// The size of a tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Size {
    /// Number of files that are not directories.
    pub files: u64,
    /// Bytes on disk, directories included; a file with several names counts once.
    pub disk_bytes: u64,
    /// Sum of the files' lengths in bytes, holes included.
    pub length_bytes: u64,
}

impl Size {
    /// Returns the size of one file.
    pub(super) fn of(metadata: &Metadata) -> Self {
        let is_directory = metadata.is_dir();
        Self {
            files: u64::from(!is_directory),
            disk_bytes: metadata.blocks().saturating_mul(BLOCK_BYTES),
            length_bytes: if is_directory { 0 } else { metadata.len() },
        }
    }

    /// Returns this size without `part` of it.
    #[must_use]
    pub(super) fn without(self, part: Self) -> Self {
        Self {
            files: self.files.saturating_sub(part.files),
            disk_bytes: self.disk_bytes.saturating_sub(part.disk_bytes),
            length_bytes: self.length_bytes.saturating_sub(part.length_bytes),
        }
    }

    /// Returns the sum of this size and `other`.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self {
            files: self.files.saturating_add(other.files),
            disk_bytes: self.disk_bytes.saturating_add(other.disk_bytes),
            length_bytes: self.length_bytes.saturating_add(other.length_bytes),
        }
    }
}

/// Measures `path` and everything below it as du(1) does, except oic's own mounts there: a lazy base is no disk usage.
/// Files that vanish meanwhile or do not exist count nothing.
///
/// # Errors
/// If a directory or the mount table cannot be read.
pub fn measure(path: &Path) -> Result<Size, StoreError> {
    match path.canonicalize() {
        Ok(root) => Scale::new()?.weigh(root),
        Err(_) => Ok(Size::default()),
    }
}

/// Measures several trees, and counts a file with names in more than one of them once.
#[derive(Debug)]
pub(super) struct Scale {
    mounted: HashSet<PathBuf>,
    linked: HashSet<(u64, u64)>,
}

impl Scale {
    /// Makes a scale that leaves out the mounts that oic has now.
    ///
    /// # Errors
    /// If the mount table cannot be read.
    pub(super) fn new() -> Result<Self, StoreError> {
        let mut mounted = table::mounts()?;
        mounted.retain(Mount::is_ours);
        Ok(Self {
            mounted: mounted.into_iter().map(|mount| mount.mount_point).collect(),
            linked: HashSet::new(),
        })
    }

    /// Measures `root`, a canonical path, and everything below it.
    ///
    /// # Errors
    /// If a directory cannot be read.
    pub(super) fn weigh(&mut self, root: PathBuf) -> Result<Size, StoreError> {
        let mut size = Size::default();
        let mut pending = vec![root];
        while let Some(path) = pending.pop() {
            // Without a look at its metadata: the server of a mount may be dead.
            if self.mounted.contains(&path) {
                continue;
            }
            let Some(metadata) = look_at(&path)? else { continue };
            if metadata.is_dir() {
                pending.extend(list(&path)?);
            } else if metadata.nlink() > 1 && !self.linked.insert((metadata.dev(), metadata.ino())) {
                continue;
            }
            size = size.with(Size::of(&metadata));
        }
        Ok(size)
    }

    /// Measures the directory `path` alone.
    ///
    /// # Errors
    /// If it cannot be looked at.
    pub(super) fn weigh_directory(&self, path: &Path) -> Result<Size, StoreError> {
        Ok(look_at(path)?.map_or_else(Size::default, |metadata| Size::of(&metadata)))
    }
}

/// Returns the metadata of `path` itself; `None` if it does not exist.
pub(in crate::store) fn look_at(path: &Path) -> Result<Option<Metadata>, PathError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(PathError::on("look at", path)(error)),
    }
}

/// Returns the paths of the entries of a directory, sorted; none if it does not exist.
pub(super) fn list(directory: &Path) -> Result<Vec<PathBuf>, PathError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(PathError::on("read", directory)(error)),
    };
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<_>>()
        .map_err(PathError::on("read", directory))?;
    paths.sort();
    Ok(paths)
}
