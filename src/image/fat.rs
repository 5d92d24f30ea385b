//! A FAT16 or FAT32 file system with VFAT long names, written in one go.
//!
//! From Microsoft's "FAT: General Overview of On-Disk Format" 1.03. Every file
//! and directory is contiguous, in order of name; the same tree gives the same
//! bytes.

mod disk;
mod fit;
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

/// The reason why no FAT file system could be made.
#[derive(Debug, thiserror::Error)]
pub enum FatError {
    /// The partition's size gives no valid number of clusters for this kind of FAT.
    #[error("its {} MiB are too {what}", size_bytes >> 20)]
    Size {
        /// Size of the partition in bytes.
        size_bytes: u64,
        /// `small for FAT32` and the like.
        what: &'static str,
    },
    /// The tree is larger than the file system.
    #[error("{} does not fit into the FAT file system{}", path.display(), needs(*least_mib))]
    Full {
        /// The first file or directory without a place.
        path: PathBuf,
        /// The size in MiB of the smallest partition that takes everything, if one does.
        least_mib: Option<u64>,
    },
    /// FAT cannot store this file or directory.
    #[error("{} cannot be stored on a FAT file system: {reason}", path.display())]
    Unstorable {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
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

fn needs(least_mib: Option<u64>) -> String {
    least_mib.map_or_else(String::new, |mib| format!(", which needs {mib} MiB for everything"))
}

#[cfg(test)]
mod tests;
