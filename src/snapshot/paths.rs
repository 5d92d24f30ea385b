//! The paths of a snapshot's files.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::path_bytes;
use crate::workspace::Workspace;

/// The paths of a snapshot's files.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SnapshotPaths {
    /// `chrootenv.tar.gz`.
    #[serde(with = "path_bytes")]
    pub tarball: PathBuf,
    /// `chrootenv.idx`.
    #[serde(with = "path_bytes")]
    pub index: PathBuf,
    /// The directory of the backing store; it is made if absent.
    #[serde(with = "path_bytes")]
    pub backing_dir: PathBuf,
}

impl SnapshotPaths {
    /// Returns the paths of a provider's base.
    pub fn of(workspace: &Workspace) -> Self {
        Self {
            tarball: workspace.tarball(),
            index: workspace.index(),
            backing_dir: workspace.backing_store(),
        }
    }
}
