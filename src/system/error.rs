//! Why a package system cannot offer, resolve or complete packages.

use std::path::PathBuf;

use crate::archive::ArchiveError;
use crate::cancel::Cancelled;
use crate::durable::PathError;
use crate::hint::Hint;
use crate::repo::RepoError;
use crate::resolve::ResolveError;

/// Why a package system cannot offer, resolve or complete packages.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the undescribed variants are the stages' own errors
pub enum SystemError {
    /// Packages in a plain directory carry no signature.
    #[error("{} is a plain directory of packages, which has no signature", .0.display())]
    Unsigned(PathBuf),
    /// Packages that a template names by file carry no signature.
    #[error("the packages of the repository {0} are files, which have no signature")]
    UnsignedFiles(String),
    /// A package that a template names, or that is in an archive that it names, cannot be used.
    #[error("{origin}: {error}")]
    OfFile {
        /// The place that it came from.
        origin: String,
        /// The error of its file.
        error: Box<SystemError>,
    },
    /// A package file cannot be used.
    #[error("{} {reason}", path.display())]
    Package {
        /// The package or its directory.
        path: PathBuf,
        /// What is wrong, to follow the name.
        reason: String,
    },
    #[error(transparent)]
    Repo(#[from] RepoError),
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Path(#[from] PathError),
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl SystemError {
    /// Makes an error that says of the package at `path`, or one of that directory, that it `reason`.
    pub fn package(path: impl Into<PathBuf>, reason: impl Into<String>) -> Self {
        Self::Package {
            path: path.into(),
            reason: reason.into(),
        }
    }

    /// Says what to do next, where something can be done.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::Unsigned(_) | Self::UnsignedFiles(_) => {
                Some("give the repository pkey: \"[trusted=yes]\" to take its packages all the same".into())
            }
            Self::Repo(error) => error.hint(),
            Self::Resolve(error) => error.hint(),
            Self::OfFile { .. } | Self::Package { .. } | Self::Archive(_) | Self::Path(_) | Self::Cancelled(_) => None,
        }
    }
}
