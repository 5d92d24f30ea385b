//! `disk.path` and `disk.selectionPolicy`: where an installer writes.

use std::path::PathBuf;

use super::DiskStrategy;

/// The choice of a disk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Installation {
    /// `path`: this disk and no other.
    pub path: Option<PathBuf>,
    /// `selectionPolicy`.
    pub selection: Option<Selection>,
}

/// `disk.selectionPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selection {
    /// `strategy`.
    pub strategy: DiskStrategy,
    /// `excludeRemovable`.
    pub exclude_removable: bool,
    /// `requireEmpty`.
    pub require_empty: bool,
}

impl Installation {
    /// Says whether nobody is asked.
    pub fn is_unattended(&self) -> bool {
        self.path.is_some() || self.selection.is_some()
    }
}
