//! The error of file operations.

use std::io;
use std::path::{Path, PathBuf};

use super::full::{FullDisk, is_full};

/// An I/O error with the path and the action that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct PathError {
    /// The action, as a verb: `create`, `write`, `lock`.
    pub action: &'static str,
    /// The path of the action.
    pub path: PathBuf,
    /// The system's error.
    pub source: io::Error,
}

impl PathError {
    /// Makes the argument of `map_err`: `fs::read(p).map_err(PathError::on("read", p))`. An error about a full file
    /// system then says which one ([`FullDisk`]).
    pub fn on(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self {
            action,
            source: FullDisk::explain(source, &path),
            path,
        }
    }

    /// Returns whether the disk could not read what it keeps (`EIO`).
    pub fn is_unreadable(&self) -> bool {
        self.source.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
    }

    /// Returns whether the file system, or the quota on it, was full.
    pub fn is_no_space(&self) -> bool {
        is_full(&self.source)
    }
}
