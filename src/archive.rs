//! Archives that packages come in: `.deb` containers and the tar streams inside, the cpio payloads of `.rpm`.
//!
//! Invariant: nothing an archive says is trusted. Sizes are bounded before memory is allocated, and no member ever
//! reaches outside the directory it is unpacked into.

use crate::hint::{Hint, Means};
use std::io;
use std::path::{Path, PathBuf};

mod ar;
pub mod bundle;
pub mod compression;
mod cpio;
pub mod deb;
pub mod rpm;
pub mod stream;
pub mod unpack;
mod zip;

/// Most bytes behind the end of an archive in its stream: fillers are far shorter.
const REST_BYTES_MAX: u64 = 64 << 20;

/// Reads `stream` to its end, behind the end of the archive in it, so that the decoder checks the stream's own checksum.
fn to_the_end(stream: &mut impl io::Read, archive: &Path) -> Result<(), ArchiveError> {
    let rest = io::copy(&mut io::Read::take(stream, REST_BYTES_MAX), &mut io::sink());
    match rest.map_err(ArchiveError::read(archive))? {
        REST_BYTES_MAX => Err(ArchiveError::malformed(
            archive,
            "its stream goes on far behind its end",
        )),
        _ => Ok(()),
    }
}

/// Why an archive could not be read or unpacked. Every message names the archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The archive itself could not be read, or its compressed stream is damaged.
    #[error("cannot read {archive:?}: {source}")]
    Read {
        /// The archive.
        archive: PathBuf,
        /// The cause, from the system or the decompressor.
        source: io::Error,
    },
    /// The archive breaks the rules of its format.
    #[error("{archive:?} is malformed: {problem}")]
    Malformed {
        /// The archive.
        archive: PathBuf,
        /// The broken rule, and the place.
        problem: String,
    },
    /// A member is of a kind, name or size that is refused.
    #[error("{archive:?}: member {member:?} is refused: {problem}")]
    Refused {
        /// The archive.
        archive: PathBuf,
        /// The member's name as the archive gives it.
        member: PathBuf,
        /// The reason.
        problem: String,
    },
    /// A member could not be created in the target directory.
    #[error("cannot {action} {member:?} of {archive:?}: {source}")]
    Place {
        /// The archive.
        archive: PathBuf,
        /// The member's name as the archive gives it.
        member: PathBuf,
        /// The failed action as a verb: `create`, `write`, `link`.
        action: &'static str,
        /// The cause, from the system.
        source: io::Error,
    },
    /// The user stopped the work.
    #[error(transparent)]
    Cancelled(#[from] crate::cancel::Cancelled),
}

impl ArchiveError {
    /// Wraps a read error of `archive`, for `map_err`.
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

    /// Returns what a user can do about it.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::Read { .. } | Self::Malformed { .. } | Self::Refused { .. } => Some(
                Hint::new("verify the cache: a damaged package is deleted, and the next build fetches it again")
                    .by(Means::VerifyCache),
            ),
            Self::Place { .. } | Self::Cancelled(_) => None,
        }
    }
}
