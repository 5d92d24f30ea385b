//! The lazy base: a tree stored as `chrootenv.tar.gz` plus an index, and read without unpacking it as a whole.
//!
//! [`write()`] makes both files, [`foreign::prepare`] makes an index for a tarball from elsewhere, [`Snapshot`] serves
//! them as a layer. Invariant: every byte that a reader gets was verified; damage is an error that names the file and
//! the repair. `docs/snapshot-format.md` describes the files byte by byte.

use std::path::PathBuf;

use crate::cancel::Cancelled;
use crate::durable::PathError;
use crate::hint::{Hint, Means};

mod builder;
mod check;
mod checksums;
mod damage;
mod disk;
pub mod dump;
mod entry;
pub mod foreign;
mod format;
mod hints;
mod index;
mod inflate;
mod layer;
mod map;
mod member_id;
mod members;
mod memory;
mod options;
mod pack;
mod paths;
mod read_ahead;
mod reader;
mod sequential;
mod store;
mod tarball;
#[cfg(test)]
mod tests;
mod toc;
mod unpacking;
mod walk;
mod writer;

pub use damage::{Damaged, Examined, examine};
pub use format::VERSION;
pub use member_id::MemberId;
pub use options::WriteOptions;
pub use paths::SnapshotPaths;
pub use read_ahead::ReadAhead;
pub use reader::{Snapshot, SnapshotStats};
pub use toc::rebuild_index;
pub use writer::{SnapshotSummary, write};

/// The reason why a snapshot could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A file could not be read or written.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The tarball is damaged, cut short, or was not written by oic.
    #[error("snapshot {path:?} is unusable: {problem}")]
    Tarball {
        /// The tarball.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A tarball from elsewhere is damaged, or its content cannot be shown.
    #[error("tarball {path:?} is unusable: {problem}")]
    Foreign {
        /// The tarball.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A file that is no tarball, or one that cannot be read in parts.
    #[error("{path:?} {found}")]
    NotTarball {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        found: NotTarball,
    },
    /// The index is damaged or belongs to another tarball.
    #[error("snapshot index {path:?} is unusable: {problem}")]
    Index {
        /// The index.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A file of the tree cannot be kept in a snapshot.
    #[error("cannot take {path:?} into the snapshot: {problem}")]
    Tree {
        /// The file, relative to the tree.
        path: PathBuf,
        /// The reason.
        problem: String,
    },
    /// The user stopped the work.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// What a file is instead of a tarball, and what its user can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotTarball {
    /// The kind of file, or the compression.
    what: &'static str,
    /// Whether `what` is a compression.
    is_packed: bool,
    advice: &'static str,
}

impl std::fmt::Display for NotTarball {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.is_packed {
            true => write!(f, "is compressed by {}, which cannot be read in parts", self.what),
            false => write!(f, "is {}; a .tar, .tar.gz or .tar.zst file is needed", self.what),
        }
    }
}

impl SnapshotError {
    /// Returns what a user can do about it.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::Tarball { .. } => Some(Hint::new("delete the base and build again").by(Means::CleanWorkspace)),
            Self::NotTarball { found, .. } => Some(found.advice.into()),
            Self::Foreign { path, .. } => Some(format!("replace {path:?} by a good copy").into()),
            Self::Index { path, .. } => {
                Some(format!("delete {path:?}: it is made again from the snapshot when that is used next").into())
            }
            _ => None,
        }
    }
}
