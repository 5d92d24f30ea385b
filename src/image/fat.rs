//! A FAT16 or FAT32 file system with VFAT long names, written in one go.
//!
//! From Microsoft's "FAT: General Overview of On-Disk Format" 1.03. Every file
//! and directory is contiguous, in order of name; the same tree gives the same
//! bytes.

pub(crate) mod disk;
mod fit;
mod geometry;
pub(crate) mod name;
mod tree;
mod write;

use std::path::PathBuf;

use geometry::{Geometry, SECTOR_BYTES};
use name::volume_label;
use tree::Tree;
use write::Spec;

use super::content::Source;
use super::file_system::{FileSystem, FileSystemError, Files, Unfit, Volume};
use super::region::Region;
use crate::cancel::Cancel;
use crate::work::Work;

/// The size of the entries in a FAT file system's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 16 bits.
    Fat16,
    /// 32 bits.
    Fat32,
}

/// A FAT file system for a disk with sectors of 4,096 bytes: no driver reads one with smaller sectors than its disk has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LargeSectors(pub Kind);

impl LargeSectors {
    const BYTES: u64 = 4096;
}

impl FileSystem for Kind {
    fn is_unix(&self) -> bool {
        false
    }

    fn check(&self, size_bytes: u64, label: Option<&str>) -> Result<(), Unfit> {
        check(*self, SECTOR_BYTES, size_bytes, label)
    }

    /// Writes the file system; its volume id is the first four bytes of the volume's UUID. Names that differ in case
    /// alone are one name.
    fn write(
        &self,
        region: Region<'_>,
        volume: &Volume<'_>,
        files: Files<'_>,
        work: Work<'_>,
    ) -> Result<(), FileSystemError> {
        write_tree((*self, SECTOR_BYTES), region, volume, &tree_of(files)?, work.cancel)
    }
}

impl FileSystem for LargeSectors {
    fn is_unix(&self) -> bool {
        false
    }

    fn check(&self, size_bytes: u64, label: Option<&str>) -> Result<(), Unfit> {
        check(self.0, Self::BYTES, size_bytes, label)
    }

    /// Writes the file system as [`Kind`] does.
    fn write(
        &self,
        region: Region<'_>,
        volume: &Volume<'_>,
        files: Files<'_>,
        work: Work<'_>,
    ) -> Result<(), FileSystemError> {
        write_tree((self.0, Self::BYTES), region, volume, &tree_of(files)?, work.cancel)
    }
}

fn check(kind: Kind, sector_bytes: u64, size_bytes: u64, label: Option<&str>) -> Result<(), Unfit> {
    Geometry::with_sectors(kind, sector_bytes, size_bytes).map_err(|error| Unfit::Size(error.to_string()))?;
    match label.is_some_and(|label| volume_label(label).is_none()) {
        true => Err(Unfit::Label(
            "a FAT label has at most 11 characters, ASCII letters, digits and some signs",
        )),
        false => Ok(()),
    }
}

fn tree_of(files: Files<'_>) -> Result<Tree, FileSystemError> {
    let mut tree = Tree::default();
    tree.add_tree(files.tree)?;
    for (path, source) in files.added {
        tree.add_file(path, source.clone())?;
    }
    Ok(tree)
}

/// Returns the size in bytes of the smallest file system of `kind` that holds `added`, files by their path.
///
/// # Errors
/// [`FileSystemError`] if FAT cannot hold one of them, or all of them.
pub(super) fn least_bytes(kind: Kind, added: &[(PathBuf, Source)]) -> Result<u64, FileSystemError> {
    let mut tree = Tree::default();
    for (path, source) in added {
        tree.add_file(path, source.clone())?;
    }
    let full = FileSystemError::Full {
        size_bytes: 0,
        needed_bytes: None,
    };
    fit::least_mib(&tree, kind, SECTOR_BYTES)
        .map(|mib| mib << 20)
        .ok_or(full)
}

fn write_tree(
    (kind, sector_bytes): (Kind, u64),
    region: Region<'_>,
    volume: &Volume<'_>,
    tree: &Tree,
    cancel: &Cancel,
) -> Result<(), FileSystemError> {
    let [a, b, c, d, ..] = *volume.uuid.as_bytes();
    let spec = Spec {
        geometry: Geometry::with_sectors(kind, sector_bytes, region.size_bytes())?,
        volume_id: u32::from_be_bytes([a, b, c, d]),
        label: volume.label.and_then(volume_label),
        epoch_seconds: volume.epoch_seconds,
    };
    match write::write(region, &spec, tree, cancel) {
        Err(FileSystemError::Full { size_bytes, .. }) => Err(FileSystemError::Full {
            size_bytes,
            needed_bytes: fit::least_mib(tree, kind, sector_bytes).map(|mib| mib << 20),
        }),
        written => written,
    }
}

#[cfg(test)]
mod tests;
