//! The error of the image writer.

use super::ext4::ExtError;
use super::fat::FatError;
use super::labels::LabelError;
use crate::cancel::Cancelled;
use crate::durable::PathError;
use crate::hint::Hint;

/// The reason why no image was written. Nothing is left behind then.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A partition could not be filled.
    #[error("partition {id:?}: {source}")]
    Ext {
        /// Its id in the template.
        id: String,
        /// The cause.
        source: ExtError,
    },
    /// A partition could not be filled.
    #[error("partition {id:?}: {source}")]
    Fat {
        /// Its id in the template.
        id: String,
        /// The cause.
        source: FatError,
    },
    /// Files cannot be labelled.
    #[error("the labels of the image's SELinux policy: {0}")]
    Labels(#[from] LabelError),
    /// Files are meant for a partition without a file system.
    #[error("partition {0:?} was given files, but has no file system to put them in")]
    NoFileSystem(String),
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
                | Self::Ext {
                    source: ExtError::Cancelled(_),
                    ..
                }
                | Self::Fat {
                    source: FatError::Cancelled(_),
                    ..
                }
        )
    }

    /// Returns what the user can do next.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::Fat {
                id,
                source: FatError::Full {
                    least_mib: Some(mib), ..
                },
            } => {
                let text =
                    format!("enlarge the partition {id:?} in disk.partitions to at least {mib} MiB, or install less");
                Some(text.into())
            }
            Self::Ext {
                id,
                source: ExtError::Full { .. },
            }
            | Self::Fat {
                id,
                source: FatError::Full { .. },
            } => Some(format!("enlarge the partition {id:?} in disk.partitions, or install less").into()),
            _ => None,
        }
    }
}
