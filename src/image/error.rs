//! The error of the image writer.

use super::file_system::FileSystemError;
use super::labels::LabelError;
use super::verity::VerityError;
use crate::cancel::Cancelled;
use crate::durable::PathError;
use crate::hint::Hint;

/// The reason why no image was written. Nothing is left behind then.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A partition could not be filled.
    #[error("partition {id:?}: {source}")]
    FileSystem {
        /// Its id in the template.
        id: String,
        /// The cause.
        source: FileSystemError,
    },
    /// An archive of the tree could not be made.
    #[error(transparent)]
    Archive(FileSystemError),
    /// The hash tree of a partition could not be written.
    #[error("partition {id:?}: {source}")]
    HashTree {
        /// The id, in the template, of the partition for the tree.
        id: String,
        /// The cause.
        source: VerityError,
    },
    /// Files cannot be labelled.
    #[error("the labels of the image's SELinux policy: {0}")]
    Labels(#[from] LabelError),
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] PathError),
    /// The user asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl ImageError {
    /// Says whether the user asked to stop.
    pub fn is_cancelled(&self) -> bool {
        matches!(
            self,
            Self::Cancelled(_)
                | Self::Archive(FileSystemError::Cancelled(_))
                | Self::FileSystem {
                    source: FileSystemError::Cancelled(_),
                    ..
                }
                | Self::HashTree {
                    source: VerityError::Cancelled(_),
                    ..
                }
        )
    }

    /// Returns what the user can do next.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::FileSystem {
                id,
                source: FileSystemError::Full { needed_bytes, .. },
            } => {
                let size = needed_bytes.map_or_else(String::new, |bytes| format!(" to at least {} MiB", bytes >> 20));
                Some(format!("enlarge the partition {id:?} in disk.partitions{size}, or install less").into())
            }
            _ => None,
        }
    }
}
