//! Archives that packages come in: `.deb` containers and the tar streams inside, the cpio payloads of `.rpm`.
//!
//! Invariant: nothing an archive says is trusted. Sizes are bounded before memory
//! is taken, and no member ever reaches outside the directory it is unpacked into.

use std::io;
use std::path::{Path, PathBuf};

mod ar;
pub mod compression;
mod cpio;
pub mod deb;
pub mod rpm;
pub mod stream;
pub mod unpack;

/// Why an archive could not be read or unpacked. Every message names the archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The archive itself could not be read, or its compressed stream is damaged.
    #[error("cannot read {archive:?}: {source}")]
    Read {
        /// The archive.
        archive: PathBuf,
        /// What the system or the decompressor said.
        source: io::Error,
    },
    /// The archive breaks the rules of its format.
    #[error("{archive:?} is malformed: {problem}")]
    Malformed {
        /// The archive.
        archive: PathBuf,
        /// Which rule, and where.
        problem: String,
    },
    /// A member is of a kind, name or size that is refused.
    #[error("{archive:?}: member {member:?} is refused: {problem}")]
    Refused {
        /// The archive.
        archive: PathBuf,
        /// The member's name as the archive gives it.
        member: PathBuf,
        /// Why.
        problem: String,
    },
    /// A member could not be created in the target directory.
    #[error("cannot {action} {member:?} of {archive:?}: {source}")]
    Place {
        /// The archive.
        archive: PathBuf,
        /// The member's name as the archive gives it.
        member: PathBuf,
        /// What was tried, as a verb: `create`, `write`, `link`.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The user stopped the work.
    #[error(transparent)]
    Cancelled(#[from] crate::cancel::Cancelled),
}

impl ArchiveError {
    /// For `map_err`: a read error of `archive`.
    fn read(archive: &Path) -> impl FnOnce(io::Error) -> Self {
        let archive = archive.to_owned();
        move |source| Self::Read { archive, source }
    }

    fn malformed(archive: &Path, problem: impl Into<String>) -> Self {
        Self::Malformed {
            archive: archive.to_owned(),
            problem: problem.into(),
        }
    }

    fn refused(archive: &Path, member: &Path, problem: impl Into<String>) -> Self {
        Self::Refused {
            archive: archive.to_owned(),
            member: member.to_owned(),
            problem: problem.into(),
        }
    }

    /// What a user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Read { .. } | Self::Malformed { .. } | Self::Refused { .. } => {
                Some("run `oic cache verify`: a damaged package is deleted and fetched again by the next build".into())
            }
            Self::Place { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("free some space below the work directory, or choose another with --work-dir".into())
            }
            Self::Place { .. } | Self::Cancelled(_) => None,
        }
    }
}
