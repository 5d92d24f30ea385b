//! `systemConfig.fde`: encrypted partitions.

use std::path::PathBuf;

use super::Unlock;

/// Partitions that are encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encryption {
    /// Their ids; empty for the one mounted at `/`.
    pub partitions: Vec<String>,
    /// File of the passphrase.
    pub passphrase: PathBuf,
    /// File from which the volume keys are drawn; by default a build draws them by chance.
    pub seed: Option<PathBuf>,
    /// What opens them at boot.
    pub unlock: Unlock,
}

impl Encryption {
    /// Says whether it encrypts the partition of this id and mount point.
    pub fn has(&self, id: &str, mount_point: Option<&str>) -> bool {
        match self.partitions.is_empty() {
            true => mount_point == Some("/"),
            false => self.partitions.iter().any(|partition| partition == id),
        }
    }
}
