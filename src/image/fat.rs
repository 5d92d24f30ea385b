//! A FAT16 or FAT32 file system with VFAT long names, written in one go.
//!
//! From Microsoft's "FAT: General Overview of On-Disk Format" 1.03. Every file
//! and directory is contiguous, in order of name; the same tree gives the same
//! bytes.

mod geometry;
mod name;
mod tree;
mod write;

use std::path::PathBuf;

pub use geometry::Geometry;
pub use name::volume_label;
pub use tree::Tree;
pub use write::{Spec, write};

use crate::cancel::Cancelled;
use crate::durable::PathError;

/// Why no FAT file system could be made.
#[derive(Debug, thiserror::Error)]
pub enum FatError {
    /// The number of clusters that fit decides which kind of FAT it is.
    #[error("a partition of {size_bytes} bytes is too {what}")]
    Size {
        /// Size of the partition.
        size_bytes: u64,
        /// `small for FAT32` and the like.
        what: &'static str,
    },
    /// The tree is larger than the file system.
    #[error("{} bytes do not fit: {} is where the FAT file system is full", needed_bytes, path.display())]
    Full {
        /// What was to be allocated.
        needed_bytes: u64,
        /// For which file or directory.
        path: PathBuf,
    },
    /// FAT has no way to store this.
    #[error("{} cannot be stored on a FAT file system: {reason}", path.display())]
    Unstorable {
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        reason: &'static str,
    },
    /// A file was cut short while it was read.
    #[error("{} became shorter while it was read", .0.display())]
    Changed(PathBuf),
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] PathError),
    /// The user asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

#[cfg(test)]
mod tests;
