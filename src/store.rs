//! The files that builds leave on disk, as a whole: the processes that use them, their size, their soundness, and their
//! removal. A *foreign* tarball is one that oic did not make.
//!
//! Invariants: nothing is removed while a build of the provider runs, here or on a host that shares the directories;
//! removal never goes through a mount; images are removed only when the scope names them. `places` is the table of what
//! may lie where.

use std::path::{Path, PathBuf};

use crate::cancel::Cancelled;
use crate::durable::{LockError, PathError};
use crate::hint::{Hint, Means};
use crate::image::ImageError;
use crate::mount::MountError;
use crate::snapshot::SnapshotError;
use crate::workspace::Workspace;

pub mod clean;
pub mod gc;
mod inventory;
mod measure;
mod places;
pub mod stats;
pub mod sweep;
mod usage;
pub mod verify;

pub use inventory::{Image, Package, Provider, Tarball, providers, tarballs};
pub use measure::{Size, measure};
pub use usage::{InUse, Removal};

/// The two directories of the store.
#[derive(Debug, Clone)]
pub struct Store {
    /// Directory of the package cache.
    pub cache_dir: PathBuf,
    /// Directory of bases and images.
    pub work_dir: PathBuf,
}

impl Store {
    /// Returns the directories of the provider `id`.
    pub fn workspace(&self, id: &str) -> Workspace {
        Workspace::new(&self.cache_dir, &self.work_dir, id)
    }
}

/// The reason why the store could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file could not be used.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The user asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// The mount table cannot be read.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The snapshot cannot be read.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The disk of an image cannot be read.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A build or another removal is going on.
    #[error("{provider} is in use by {by}; nothing was removed")]
    InUse {
        /// Provider id.
        provider: String,
        /// The processes that use it, in words.
        by: String,
    },
    /// A file system is mounted below a directory to be removed.
    #[error("{} is mounted; nothing was removed", at.display())]
    Mounted {
        /// The mount point.
        at: PathBuf,
    },
    /// A path that should be a directory is not one.
    #[error("{} is not a directory; nothing was removed", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
}

impl StoreError {
    /// Returns what the user can do next.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::InUse { .. } => Some("wait until it has ended, or stop it".into()),
            Self::Mounted { at } => Some(Hint::new(format!("unmount {}", at.display())).by(Means::Unmount)),
            Self::Mount(error) => error.hint(),
            Self::Snapshot(error) => error.hint(),
            Self::Path(error) if error.source.kind() == std::io::ErrorKind::PermissionDenied => {
                Some("run the same command with sudo".into())
            }
            _ => None,
        }
    }
}

impl From<LockError> for StoreError {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Path(error) => Self::Path(error),
            LockError::Cancelled(error) => Self::Cancelled(error),
        }
    }
}

/// Serializes a path for JSON, which is UTF-8: all other bytes become U+FFFD.
fn lossy<S: serde::Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

/// Serializes a list of paths as [`lossy`] does.
fn lossy_list<S: serde::Serializer>(paths: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(paths.iter().map(|path| path.to_string_lossy()))
}

/// Says whether `name` can be the name of a provider's directory: `{os}-{dist}-{arch}`, nothing else.
fn is_provider_id(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    name.len() <= 255
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(plain)
        && name.matches('-').count() >= 2
        && Path::new(name).extension().is_none_or(|extension| extension != "lock")
}
