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
mod checksum;
mod directory;
mod disk;
mod draft;
mod extents;
mod geometry;
mod hash;
mod inode;
mod plan;
mod space;
mod superblock;
mod write;
mod xattr;

use std::path::PathBuf;

use uuid::Uuid;

use super::canvas::Canvas;
use super::labels::LabelError;
use super::stream::{self, Contents, StreamError};
use super::tree::{Tree, TreeError};
use crate::cancel::Cancelled;
use crate::durable::PathError;
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
    /// The start of the partition in the raw file, in bytes.
    pub offset_bytes: u64,
    /// Its size in bytes.
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

/// The reason why no file system was made.
#[derive(Debug, thiserror::Error)]
pub enum ExtError {
    /// The tree is larger than the partition.
    #[error(
        "the files do not fit into {} MiB: they need at least {} MiB",
        size_bytes >> 20,
        needed_bytes.div_ceil(1 << 20)
    )]
    Full {
        /// Size of the partition in bytes.
        size_bytes: u64,
        /// The size that it needs, in bytes.
        needed_bytes: u64,
    },
    /// A file system of this size is impossible.
    #[error("{size_bytes} bytes are too few or too many for an ext file system")]
    Size {
        /// Size of the partition in bytes.
        size_bytes: u64,
    },
    /// This file system cannot hold such a file.
    #[error("{} cannot be stored: {reason}", path.display())]
    Unstorable {
        /// The file, from the top of the partition.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
    /// A file could not be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A file's label is not known.
    #[error("the labels of the image's SELinux policy: {0}")]
    Labels(#[from] LabelError),
    /// Writing failed.
    #[error(transparent)]
    Io(#[from] PathError),
    /// The user asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl From<StreamError> for ExtError {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Tree(error) => Self::Tree(error),
            StreamError::Io(error) => Self::Io(error),
            StreamError::Cancelled(error) => Self::Cancelled(error),
        }
    }
}

/// Writes a file system with `tree` onto `canvas`; contents on the threads of `work`.
///
/// Owners, modes, links, devices, extended attributes and large holes are kept; modification times later than the
/// epoch, and all other times, become the epoch. The file system's root is the tree's; it gets a `lost+found` unless
/// it has one.
///
/// # Errors
/// [`ExtError`]; a tree that does not fit fails before anything is written.
pub fn write(canvas: &Canvas<'_>, spec: &Spec, tree: &Tree, work: Work<'_>) -> Result<(), ExtError> {
    let plan = plan::Plan::new(spec, tree)?;
    write::metadata(canvas, spec, &plan)?;
    let contents = Contents {
        tree,
        pieces: &plan.pieces,
        block_bytes: geometry::BLOCK_BYTES,
    };
    Ok(stream::write(canvas, contents, work)?)
}

#[cfg(test)]
pub(super) mod tests;
