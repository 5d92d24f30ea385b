//! What builds leave on disk, seen as a whole: who uses it, how much it is, whether it is sound,
//! and how it is removed.
//!
//! Invariants: nothing is removed while a build of the provider runs, here or on a host that
//! shares the directories; removal never goes through a mount; images are removed only when
//! they are asked for by name of the scope.

use std::path::{Path, PathBuf};

use crate::cancel::Cancelled;
use crate::durable::{LockError, PathError};
use crate::mount::MountError;
use crate::snapshot::SnapshotError;
use crate::workspace::Workspace;

pub mod clean;
pub mod gc;
mod inventory;
mod measure;
pub mod stats;
mod usage;
pub mod verify;

pub use inventory::{Image, Package, Provider, Tarball, providers, tarballs};
pub use measure::{Size, measure};
pub use usage::{InUse, Removal};

/// The two directories that everything lies in.
#[derive(Debug, Clone)]
pub struct Store {
    /// Directory of the package cache.
    pub cache_dir: PathBuf,
    /// Directory of bases and images.
    pub work_dir: PathBuf,
}

impl Store {
    /// The directories of the provider `id`.
    pub fn workspace(&self, id: &str) -> Workspace {
        Workspace::new(&self.cache_dir, &self.work_dir, id)
    }
}

/// Why the store could not be looked at or changed.
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
    /// The snapshot cannot be looked at.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A build or another removal is going on.
    #[error("{provider} is in use by {by}; nothing was removed")]
    InUse {
        /// Provider id.
        provider: String,
        /// Who uses it, in words.
        by: String,
    },
    /// Something is mounted below what is to be removed.
    #[error("{} is mounted; nothing was removed", at.display())]
    Mounted {
        /// The mount point.
        at: PathBuf,
    },
    /// A directory is not one.
    #[error("{} is not a directory; nothing was removed", path.display())]
    NotADirectory {
        /// What should be one.
        path: PathBuf,
    },
}

impl StoreError {
    /// What the user can do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::InUse { .. } => Some("wait until it has ended, or stop it".to_owned()),
            Self::Mounted { at } => Some(format!("oic umount {}", at.display())),
            Self::Mount(error) => error.hint(),
            Self::Snapshot(error) => error.hint(),
            Self::Path(error) if error.source.kind() == std::io::ErrorKind::PermissionDenied => {
                Some("run the same command with sudo".to_owned())
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

/// A path in JSON, which is UTF-8: what is not becomes U+FFFD.
fn lossy<S: serde::Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

/// [`lossy`] for a list.
fn lossy_list<S: serde::Serializer>(paths: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(paths.iter().map(|path| path.to_string_lossy()))
}

/// Whether `name` can be that of a provider's directory: `{os}-{dist}-{arch}`, nothing else.
fn is_provider_id(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    name.len() <= 255
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(plain)
        && name.matches('-').count() >= 2
        && Path::new(name).extension().is_none_or(|extension| extension != "lock")
}
