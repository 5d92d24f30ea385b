//! Why package files that a template names cannot be used.

use crate::archive::{ArchiveError, bundle};
use crate::cancel::Cancelled;
use crate::durable::PathError;
use crate::fetch::FetchError;
use crate::hint::Hint;
use crate::package::Sha256;

/// Why the package files of a template cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the undescribed variants are the stages' own errors
pub enum PackageFilesError {
    /// The name of a file says that it is something else.
    #[error("{origin} is neither a .{extension} package nor an archive")]
    OtherKind {
        /// The entry of the template.
        origin: String,
        /// The ending of the provider's packages.
        extension: &'static str,
    },
    /// An archive or directory has no packages.
    #[error("{origin} has no .{extension} packages in it")]
    Empty {
        /// The entry of the template.
        origin: String,
        /// The ending of the provider's packages.
        extension: &'static str,
    },
    /// A file of the build host is not the one that the template pins.
    #[error("{origin} has the SHA-256 {found}, but the template pins {expected}")]
    OtherDigest {
        /// The entry of the template.
        origin: String,
        /// The digest in the template.
        expected: Sha256,
        /// The digest of the file.
        found: Sha256,
    },
    /// A directory has no digest.
    #[error("{0} is a directory, which no digest can pin")]
    PinnedDirectory(String),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Path(#[from] PathError),
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl PackageFilesError {
    /// Says what to do next, where something can be done.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::OtherKind { .. } => {
                let endings = bundle::ENDINGS.map(|(ending, _)| ending).join(", ");
                Some(format!("archives have names that end with one of {endings}").into())
            }
            Self::OtherDigest { .. } => Some("if the new file is the right one, pin its digest".into()),
            Self::PinnedDirectory(_) => Some("name its files one by one, each with its digest".into()),
            // The digest is the template's, not that of an index.
            Self::Fetch(FetchError::WrongDigest { .. }) => Some(
                "the vendor has replaced the file, or something alters downloads: pin its digest if it is right".into(),
            ),
            Self::Fetch(error) => error.hint(),
            Self::Empty { .. } | Self::Archive(_) | Self::Path(_) | Self::Cancelled(_) => None,
        }
    }
}
