//! The problems that only a Debian repository can have, with hints for the user.

use crate::date;
use crate::hint::{Hint, Means};
use crate::repo::error::{FormatProblem, may_be_updating};

/// A problem of a Debian repository.
#[derive(Debug, thiserror::Error)]
pub enum DebProblem {
    /// Neither `InRelease` nor `Release` exists.
    #[error("{url} does not exist, nor does Release beside it")]
    NoRelease {
        /// URL of the `InRelease` file.
        url: String,
    },
    /// The Release file is for another suite than the requested one.
    #[error("{url} is for suite {suite:?} (codename {codename:?}), not for {wanted:?}")]
    WrongSuite {
        /// URL of the Release file.
        url: String,
        /// The requested suite.
        wanted: String,
        /// Its `Suite`.
        suite: String,
        /// Its `Codename`.
        codename: String,
    },
    /// The time in `Valid-Until` has passed.
    #[error(
        "{url} of {} has expired: its Valid-Until is {}, and it is {} now",
        date::show(*.date), date::show(*.valid_until), date::show(*.now)
    )]
    Expired {
        /// URL of the Release file.
        url: String,
        /// Its `Date`, seconds since 1970.
        date: i64,
        /// Its `Valid-Until`, seconds since 1970.
        valid_until: i64,
        /// The time it was compared with, seconds since 1970.
        now: i64,
    },
    /// `Date` lies in the future.
    #[error("{url} is of {}, and it is only {} now", date::show(*.date), date::show(*.now))]
    FromTheFuture {
        /// URL of the Release file.
        url: String,
        /// Its `Date`, seconds since 1970.
        date: i64,
        /// The time it was compared with, seconds since 1970.
        now: i64,
    },
    /// The Release file lists no index for a component and architecture.
    #[error(
        "{url} lists no packages of component {component:?} for {architecture} \
         (components: {components}; architectures: {architectures})"
    )]
    NoIndex {
        /// URL of the Release file.
        url: String,
        /// The requested component.
        component: String,
        /// The architecture under its dpkg name.
        architecture: String,
        /// The listed components.
        components: String,
        /// The listed architectures.
        architectures: String,
    },
    /// The Release file of a flat repository lists no index.
    #[error("{url} lists no file Packages beside it")]
    NoFlatIndex {
        /// URL of the Release file.
        url: String,
    },
    /// An index cannot be decompressed.
    #[error("{url} cannot be decompressed: {reason}")]
    Decompress {
        /// URL of the index.
        url: String,
        /// The cause.
        reason: String,
    },
}

impl FormatProblem for DebProblem {
    fn hint(&self) -> Option<Hint> {
        let text = match self {
            Self::NoRelease { .. } => {
                "check the URL and the suite; a directory of packages needs a Release file (apt-ftparchive release)"
            }
            Self::WrongSuite { .. } => {
                return Some(Hint::new("correct the suite, or choose another mirror").by(Means::Mirror));
            }
            Self::Expired { .. } => {
                let text = "check the clock of this machine; if it is right, the mirror is out of date: choose another \
                            one, or give an archive that stays as it is `checkValidUntil: false` in packageRepositories";
                return Some(Hint::new(text).by(Means::Mirror));
            }
            Self::FromTheFuture { .. } => {
                let text =
                    "check the clock of this machine; if it is right, the mirror is out of date: choose another one";
                return Some(Hint::new(text).by(Means::Mirror));
            }
            Self::NoIndex { .. } => "correct the component or the architecture",
            Self::NoFlatIndex { .. } => {
                "make the Release file anew (apt-ftparchive release), or name the suite instead of a directory"
            }
            Self::Decompress { .. } => return Some(may_be_updating()),
        };
        Some(text.into())
    }
}
