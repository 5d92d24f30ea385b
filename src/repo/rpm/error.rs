//! The problems that only an RPM repository can have, with hints for the user.

use crate::hint::{Hint, Means};
use crate::repo::error::{FormatProblem, may_be_updating};

/// A problem of an RPM repository.
#[derive(Debug, thiserror::Error)]
pub enum RpmProblem {
    /// The server has no `repomd.xml`.
    #[error("{url} does not exist")]
    NoRepomd {
        /// The URL that it should have.
        url: String,
    },
    /// The list of mirrors names none that can be used.
    #[error("{url} names no mirror that can be reached over http or https")]
    NoMirror {
        /// URL of the list.
        url: String,
    },
    /// `repomd.xml` has none of the digests in the metalink.
    #[error("{url} is not the file that the metalink describes: the mirror is out of date, or something changed it")]
    NotOfMetalink {
        /// URL of `repomd.xml`.
        url: String,
    },
    /// `repomd.xml` does not list a required index.
    #[error("{url} lists no {kind} index")]
    NoIndex {
        /// URL of `repomd.xml`.
        url: String,
        /// `primary` or `filelists`.
        kind: &'static str,
    },
    /// `repomd.xml` states the index's digest only by a broken or unknown algorithm.
    #[error(
        "{url} lists the {kind} index with a digest by {algorithm:?} only: accepted are sha224, sha256, sha384 and sha512, \
         for others can be forged or are not known"
    )]
    WeakDigest {
        /// URL of `repomd.xml`.
        url: String,
        /// `primary`.
        kind: &'static str,
        /// The algorithm as named there (`sha` is SHA-1).
        algorithm: String,
    },
    /// The form of the index is unknown.
    #[error("{url} is compressed in a way that is not known (known are .gz, .xz, .zst, .bz2)")]
    UnknownForm {
        /// URL of the index.
        url: String,
    },
}

impl FormatProblem for RpmProblem {
    fn hint(&self) -> Option<Hint> {
        let text = match self {
            Self::NoRepomd { .. } => {
                "check the repository's URL: repodata/repomd.xml must lie below it (createrepo_c makes it)"
            }
            Self::NoMirror { .. } => {
                let text = "check the network, choose another mirror, or build from the cache";
                return Some(Hint::new(text).by(Means::Mirror).by(Means::Offline));
            }
            Self::NoIndex { .. } | Self::WeakDigest { .. } => {
                "ask the owner of the repository to use createrepo_c with its usual checksums"
            }
            Self::NotOfMetalink { .. } => return Some(may_be_updating()),
            Self::UnknownForm { .. } => return None,
        };
        Some(text.into())
    }
}
