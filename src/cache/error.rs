//! Why a package cannot be had.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::cancel::Cancelled;
use crate::durable::PathError;
use crate::fetch::FetchError;
use crate::package::ResolvedPackage;
use crate::verify::rpm::RpmVerifyError;

/// A package that is not in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingPackage {
    /// Package name.
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

/// Why the package cache could not give what was asked for.
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
        /// All of them.
        packages: Vec<MissingPackage>,
    },
    /// The file system of the cache is too full.
    #[error("no space left for packages in {}: {needed_bytes} bytes are needed, {available_bytes} are available", path.display())]
    NoSpace {
        /// What is still to be written, in bytes.
        needed_bytes: u64,
        /// What the file system has, in bytes.
        available_bytes: u64,
        /// The directory of the cache.
        path: PathBuf,
    },
    /// A provider id or package would not be a plain file name.
    #[error("{name:?} cannot be a file name in the package cache")]
    BadName {
        /// The name.
        name: String,
    },
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
        /// What is wrong with it.
        source: RpmVerifyError,
    },
    /// A package was changed by somebody else as soon as it was fetched, again and again.
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
    /// What the user can do about it, if anything is known to help.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Fetch { source, .. } => source.hint(),
            Self::Signature { source, .. } => source.hint(),
            Self::Missing { .. } => Some("run once without --offline to fetch them".to_owned()),
            Self::NoSpace { .. } => {
                Some("free some space (oic cache clean), or choose another place with --cache-dir".to_owned())
            }
            Self::Conflict { .. } => Some(
                "give one of the repositories a higher priority, or restrict it with allowPackages or excludePackages"
                    .to_owned(),
            ),
            Self::BadName { .. } | Self::Unstable { .. } | Self::Path(_) | Self::Cancelled(_) => None,
        }
    }

    /// A failed download of `package`; being stopped is nobody's fault.
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
