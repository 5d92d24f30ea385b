//! ext2, ext3 and ext4, written from scratch: all places are planned first, then each byte is written once. The result
//! depends on the tree and the [`Spec`] alone.
//!
//! The writer makes the features that distributions use: extents, 64 bit, flexible block groups, metadata checksums,
//! indexed directories, a journal, room to grow. The parts that a small change of the tree changes lie at the end
//! ([`plan`]). Empty block groups are marked as not initialised, and nothing is written there.
//!
//! The format is described in the kernel's `Documentation/filesystems/ext4`; the tests compare with e2fsck, debugfs,
//! the kernel, and `mke2fs -d` of the same tree.

mod block_map;
mod bytes;
pub(crate) mod checksum;
mod directory;
pub(crate) mod disk;
pub(super) mod draft;
pub(crate) mod extents;
mod geometry;
mod hash;
pub(crate) mod inode;
mod plan;
mod space;
pub(crate) mod superblock;
mod write;
pub(crate) mod xattr;

use uuid::Uuid;

use super::file_system::{FileSystem, FileSystemError, Files, Unfit, Volume};
use super::region::Region;
use super::stream::{self, Contents};
use super::tree::Tree;
use crate::overlay::layer::Timestamp;
use crate::work::Work;

/// The file system of the ext family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Blocks in lists, no journal.
    Ext2,
    /// With a journal.
    Ext3,
    /// With extents, checksums and more.
    Ext4,
}

impl Kind {
    fn is_ext4(self) -> bool {
        self == Self::Ext4
    }

    fn has_journal(self) -> bool {
        self != Self::Ext2
    }

    fn descriptor_bytes(self) -> usize {
        if self.is_ext4() { 64 } else { 32 }
    }
}

/// The parameters of a file system.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The file system of the ext family.
    pub kind: Kind,
    /// Size of the partition in bytes.
    pub size_bytes: u64,
    /// UUID of the file system.
    pub uuid: Uuid,
    /// Seed of the directory hashes.
    pub hash_seed: Uuid,
    /// Label, at most 16 bytes.
    pub label: Option<String>,
    /// The time of its making, in seconds since 1970, at least 1; no file in it is younger.
    pub epoch_seconds: u64,
}

impl Spec {
    fn epoch(&self) -> Timestamp {
        Timestamp {
            seconds: i64::try_from(self.epoch_seconds.max(1)).unwrap_or(i64::MAX),
            nanoseconds: 0,
        }
    }
}

impl FileSystem for Kind {
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
            kind: *self,
            size_bytes: region.size_bytes(),
            uuid: volume.uuid,
            hash_seed: volume.hash_seed,
            label: volume.label.map(str::to_owned),
            epoch_seconds: volume.epoch_seconds,
        };
        write(region, &spec, files.tree, work)
    }
}

/// Writes a file system with `tree` onto `region`; contents on the threads of `work`.
///
/// Owners, modes, links, devices, extended attributes and large holes are kept; modification times later than the
/// epoch, and all other times, become the epoch. The file system's root is the tree's; it gets a `lost+found` unless
/// it has one.
///
/// # Errors
/// [`FileSystemError`]; a tree that does not fit fails before anything is written.
pub fn write(region: Region<'_>, spec: &Spec, tree: &Tree, work: Work<'_>) -> Result<(), FileSystemError> {
    let plan = plan::Plan::new(spec, tree)?;
    write::metadata(region, spec, &plan)?;
    let contents = Contents {
        tree,
        pieces: &plan.pieces,
        block_bytes: geometry::BLOCK_BYTES,
    };
    Ok(stream::write(region, contents, work)?)
}

#[cfg(test)]
pub(crate) mod tests;
