//! How much a tree takes, as du(1) counts it.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::durable::PathError;
use crate::mount::table::{self, Mount};

use super::StoreError;

/// `st_blocks` counts in these units (stat(2)).
const BLOCK_BYTES: u64 = 512;

/// What a tree takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Size {
    /// Files that are not directories.
    pub files: u64,
    /// Bytes on disk, directories included; a file with several names counts once.
    pub disk_bytes: u64,
    /// Sum of the files' lengths in bytes, holes included.
    pub length_bytes: u64,
}

impl Size {
    /// Of one file.
    pub(super) fn of(metadata: &Metadata) -> Self {
        let is_directory = metadata.is_dir();
        Self {
            files: u64::from(!is_directory),
            disk_bytes: metadata.blocks().saturating_mul(BLOCK_BYTES),
            length_bytes: if is_directory { 0 } else { metadata.len() },
        }
    }

    /// This without `part` of it.
    #[must_use]
    pub(super) fn without(self, part: Self) -> Self {
        Self {
            files: self.files.saturating_sub(part.files),
            disk_bytes: self.disk_bytes.saturating_sub(part.disk_bytes),
            length_bytes: self.length_bytes.saturating_sub(part.length_bytes),
        }
    }

    /// This and `other` together.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self {
            files: self.files.saturating_add(other.files),
            disk_bytes: self.disk_bytes.saturating_add(other.disk_bytes),
            length_bytes: self.length_bytes.saturating_add(other.length_bytes),
        }
    }
}

/// Measures `path` and everything below it as du(1) does, except what oic itself has mounted
/// there: a lazy base is no disk usage. What vanishes meanwhile, or is not there, counts nothing.
///
/// # Errors
/// If a directory or the mount table cannot be read.
pub fn measure(path: &Path) -> Result<Size, StoreError> {
    let mut size = Size::default();
    let Ok(root) = path.canonicalize() else { return Ok(size) };
    let mut mounted = table::mounts_below(&root)?;
    mounted.retain(Mount::is_ours);
    let mounted: HashSet<PathBuf> = mounted.into_iter().map(|mount| mount.mount_point).collect();
    let mut linked = HashSet::new();
    let mut pending = vec![root];
    while let Some(path) = pending.pop() {
        // Not even looked at: the server of a mount may be dead.
        if mounted.contains(&path) {
            continue;
        }
        let Some(metadata) = look_at(&path)? else { continue };
        if metadata.is_dir() {
            pending.extend(list(&path)?);
        } else if metadata.nlink() > 1 && !linked.insert((metadata.dev(), metadata.ino())) {
            continue;
        }
        size = size.with(Size::of(&metadata));
    }
    Ok(size)
}

/// The metadata of `path` itself; `None` if it is not there.
pub(super) fn look_at(path: &Path) -> Result<Option<Metadata>, PathError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(PathError::on("look at", path)(error)),
    }
}

/// The entries of a directory, sorted; none if it is not there.
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
