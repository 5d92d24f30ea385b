//! The lazy base: a tree kept as `chrootenv.tar.gz` plus an index, and read without
//! ever being unpacked as a whole.
//!
//! [`write()`] makes both files, [`foreign::prepare`] an index for a tarball that came from elsewhere,
//! [`Snapshot`] serves them as a layer. Invariant: every
//! byte that is given out was verified; damage is an error that names the file and
//! the repair. `docs/snapshot-format.md` describes the files byte by byte.

use std::path::PathBuf;

use crate::cancel::Cancelled;
use crate::durable::PathError;

mod ahead;
mod builder;
mod check;
pub mod dump;
mod entry;
pub mod foreign;
mod format;
mod hints;
mod index;
mod inflate;
mod kept;
mod layer;
mod map;
mod once;
mod pack;
mod reader;
mod sequential;
mod store;
mod sums;
mod tarball;
#[cfg(test)]
mod tests;
mod toc;
mod unpacking;
mod walk;
mod writer;

pub use ahead::ReadAhead;
pub use check::Check;
pub use format::{MemberId, VERSION};
pub use reader::{Snapshot, SnapshotPaths, SnapshotStats};
pub use toc::rebuild_index;
pub use writer::{SnapshotSummary, WriteOptions, write};

/// Why a snapshot could not be written or read.
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
    /// A tarball that came from elsewhere is damaged, or holds what cannot be shown.
    #[error("tarball {path:?} is unusable: {problem}")]
    Foreign {
        /// The tarball.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
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
        /// Why.
        problem: String,
    },
    /// The user stopped the work.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl SnapshotError {
    /// What a user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Path(error) if error.is_no_space() => {
                Some("free some space below the work directory, or choose another with --work-dir".into())
            }
            Self::Tarball { .. } => Some(REPAIR_TARBALL.into()),
            Self::Foreign { path, .. } => Some(format!("replace {path:?} by a good copy")),
            Self::Index { path, .. } => Some(format!(
                "delete {path:?}: it is made again from the snapshot when that is used next"
            )),
            _ => None,
        }
    }
}

/// The repair of a damaged tarball, for messages.
const REPAIR_TARBALL: &str = "run `oic cache clean --workspace` and build again";
