//! The reasons why a package is unavailable.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::cancel::Cancelled;
use crate::durable::{BadFileName, FullDisk, PathError};
use crate::fetch::FetchError;
use crate::hint::{Hint, Means};
use crate::package::ResolvedPackage;
use crate::verify::rpm::RpmVerifyError;

/// A package that is not in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingPackage {
    /// Name.
    pub name: String,
    /// Full version.
    pub version: String,
    /// Architecture as the package system writes it.
    pub architecture: String,
    /// Size of the package file in bytes.
    pub size_bytes: u64,
}

impl From<&ResolvedPackage> for MissingPackage {
    fn from(package: &ResolvedPackage) -> Self {
        Self {
            name: package.name.clone(),
            version: package.version.clone(),
            architecture: package.architecture.clone(),
            size_bytes: package.size_bytes,
        }
    }
}

/// The reason why the package cache failed.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// A package could not be downloaded.
    #[error("package {package}: {source}")]
    Fetch {
        /// Name and version.
        package: String,
        /// The cause.
        source: FetchError,
    },
    /// Offline, and these packages are not in the cache.
    #[error("{}", missing_text(.packages))]
    Missing {
        /// All missing packages.
        packages: Vec<MissingPackage>,
    },
    /// The file system of the cache is too full.
    #[error("the packages need {} MiB: {full}", needed_bytes.div_ceil(1 << 20))]
    NoSpace {
        /// Bytes still to be written.
        needed_bytes: u64,
        /// The file system.
        #[source]
        full: FullDisk,
    },
    /// A provider id or package would not be a plain file name.
    #[error(transparent)]
    BadName(#[from] BadFileName),
    /// Two different packages of one request have the same file name.
    #[error("two different packages have the file name {name}: {first} and {second}")]
    Conflict {
        /// The file name.
        name: String,
        /// Repository and digest of one.
        first: String,
        /// Repository and digest of the other.
        second: String,
    },
    /// A package does not have the signature that its repository's packages must have.
    #[error("package {package} of repository {repository}: {source}")]
    Signature {
        /// Name and version.
        package: String,
        /// `Repository::id`.
        repository: String,
        /// The reason of the refusal.
        source: RpmVerifyError,
    },
    /// Another program changed a package as soon as it was fetched, again and again.
    #[error("{} does not stay as it was fetched; something else writes to the package cache", path.display())]
    Unstable {
        /// The file.
        path: PathBuf,
    },
    /// Reading or writing the cache failed.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The user asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl CacheError {
    /// Returns what the user can do about it, if anything is known to help.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::Fetch { source, .. } => source.hint(),
            Self::Signature { source, .. } => source.hint(),
            Self::Missing { .. } => Some(Hint::new("allow downloads once to fetch them").by(Means::Online)),
            Self::Conflict { .. } => Some(
                "give one of the repositories a higher priority, or restrict it with allowPackages or excludePackages"
                    .into(),
            ),
            Self::NoSpace { .. } | Self::BadName(_) | Self::Unstable { .. } | Self::Path(_) | Self::Cancelled(_) => {
                None
            }
        }
    }

    /// Wraps a failed download of `package`; keeps cancellations and path errors as they are.
    pub(super) fn of(package: &ResolvedPackage) -> impl FnOnce(FetchError) -> Self {
        let package = format!("{} {}", package.name, package.version);
        move |source| match source {
            FetchError::Cancelled(cancelled) => Self::Cancelled(cancelled),
            FetchError::Path(error) => Self::Path(error),
            source => Self::Fetch { package, source },
        }
    }
}

fn missing_text(packages: &[MissingPackage]) -> String {
    let mut text = match packages.len() {
        1 => "offline, and a package is not in the cache:".to_owned(),
        count => format!("offline, and {count} packages are not in the cache:"),
    };
    for MissingPackage {
        name,
        version,
        architecture,
        size_bytes,
    } in packages
    {
        // Writing to a string does not fail.
        let _ = write!(text, "\n  {name} {version} {architecture} ({size_bytes} bytes)");
    }
    text
}
