//! The error of reading a disk.

use crate::durable::PathError;
use crate::overlay::layer::{Errno, LayerError};

/// The reason why a disk, or what is on it, cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The file of the disk cannot be read.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A structure on the disk contradicts its format.
    #[error("{structure} at byte {offset}: {problem}")]
    Damaged {
        /// The structure, with its article.
        structure: &'static str,
        /// Its offset on the disk, in bytes.
        offset: u64,
        /// The contradiction.
        problem: String,
    },
    /// The disk uses something that oic does not read, which the text names.
    #[error("{0}")]
    Unsupported(String),
}

impl From<DiskError> for LayerError {
    fn from(error: DiskError) -> Self {
        let errno = match error {
            DiskError::Unsupported(_) => Errno::OPNOTSUPP,
            DiskError::Path(_) | DiskError::Damaged { .. } => Errno::IO,
        };
        Self::new(errno, error.to_string())
    }
}
