//! erofs, written from scratch: a file system that is never written, with no room left over. All places are planned first,
//! then each byte is written once. The result depends on the tree and the [`Spec`] alone.
//!
//! The parts that a small change of the tree changes lie at the end (`plan`), so a repeated build writes little. Ends of
//! files, directories and links lie behind their inodes, extended attributes that several files have lie in one place.
//! Contents may be compressed (`packed`).
//!
//! The format is described in the kernel's `fs/erofs/erofs_fs.h` and `Documentation/filesystems/erofs.rst`; the tests
//! compare with fsck.erofs and the kernel.

mod directory;
pub(crate) mod disk;
mod draft;
mod packed;
mod plan;
mod slots;
mod write;
mod xattr;

use uuid::Uuid;

use super::file_system::{FileSystem, FileSystemError, Files, Unfit, Volume};
use super::region::Region;
use super::stream::{self, Contents};
use super::tree::Tree;
use crate::model::FileCompression;
use crate::overlay::layer::Timestamp;
use crate::work::Work;

use disk::BLOCK_BYTES;

/// erofs.
#[derive(Debug)]
pub struct Erofs;

/// The parameters of a file system.
#[derive(Debug, Clone)]
pub struct Spec {
    /// UUID of the file system.
    pub uuid: Uuid,
    /// Label, at most 16 bytes.
    pub label: Option<String>,
    /// The time of its making, in seconds since 1970; no file in it is younger.
    pub epoch_seconds: u64,
    /// How contents are compressed; `None` if they are not.
    pub compression: Option<FileCompression>,
}

impl Spec {
    fn epoch(&self) -> Timestamp {
        Timestamp {
            seconds: i64::try_from(self.epoch_seconds).unwrap_or(i64::MAX),
            nanoseconds: 0,
        }
    }
}

impl FileSystem for Erofs {
    fn is_unix(&self) -> bool {
        true
    }

    fn check(&self, _size_bytes: u64, _label: Option<&str>) -> Result<(), Unfit> {
        Ok(())
    }

    fn write(
        &self,
        region: Region<'_>,
        volume: &Volume<'_>,
        files: Files<'_>,
        work: Work<'_>,
    ) -> Result<(), FileSystemError> {
        files.refuse_added()?;
        let spec = Spec {
            uuid: volume.uuid,
            label: volume.label.map(str::to_owned),
            epoch_seconds: volume.epoch_seconds,
            compression: volume.compression,
        };
        write(region, &spec, files.tree, work)
    }
}

/// Writes a file system with `tree` onto `region`; contents on the threads of `work`.
///
/// Owners, modes, links, devices, extended attributes and large holes are kept; modification times later than the epoch
/// become the epoch.
///
/// # Errors
/// [`FileSystemError`]; a tree that does not fit fails before anything is written, unless contents are compressed.
pub fn write(region: Region<'_>, spec: &Spec, tree: &Tree, work: Work<'_>) -> Result<(), FileSystemError> {
    let plan = plan::Plan::new(spec, tree)?;
    let mut contents = plan::Contents::new(&plan);
    match spec.compression {
        Some(algorithm) => packed::write(region, &plan, &mut contents, algorithm, work)?,
        None => plan.files.iter().for_each(|index| contents.place(&plan, *index)),
    }
    let placed = plan
        .finish(contents.end, size_blocks(region))
        .map_err(|blocks| full(region, blocks))?;
    contents.settle(&placed);
    write::metadata(region, spec, &placed, &contents.data)?;
    let contents = Contents {
        tree,
        pieces: &contents.pieces,
        block_bytes: BLOCK_BYTES as u64,
    };
    Ok(stream::write(region, contents, work)?)
}

/// Returns the number of blocks that fit into `region`.
fn size_blocks(region: Region<'_>) -> u64 {
    (region.size_bytes() / BLOCK_BYTES as u64).min(u64::from(disk::HOLE))
}

/// Makes the error of a `region` that has fewer than `blocks`.
fn full(region: Region<'_>, blocks: u64) -> FileSystemError {
    FileSystemError::Full {
        size_bytes: region.size_bytes(),
        needed_bytes: (blocks <= u64::from(disk::HOLE)).then_some(blocks * BLOCK_BYTES as u64),
    }
}

#[cfg(test)]
mod tests;
