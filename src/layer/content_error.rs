//! Why the content of a layer cannot be read.

use crate::cancel::Cancelled;
use crate::durable::PathError;

/// Why content could not be digested.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// An entry cannot be read.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The user asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}
