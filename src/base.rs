//! The base: the packages that every image starts from, and what its package manager
//! needs to run, installed into an empty directory without any package tool of the host.
//!
//! Invariant: the target's own package manager does the installation, with all scripts, in
//! one transaction. oic only unpacks what that needs to run.

mod clean;
pub mod deb;
mod layout;
pub mod rpm;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use clean::remove_traces;
#[cfg(test)]
pub(crate) use clean::{CLEARED, FILES as CLEANED_FILES};

use crate::cancel::Cancelled;
use crate::durable::PathError;
use crate::hint::{Hint, Means};
use crate::package::{Arch, ResolvedPackage};
use crate::parallel;
use crate::progress::Unit;
use crate::root::Root;
use crate::sandbox::{Bind, SandboxError, SandboxSpec, ScriptFailure};
use crate::work::Work;

/// Where the package files appear during the installation; on the sandbox's own `/run`.
const PACKAGES: &str = "/run/oic-packages";

/// A function that unpacks the files of the package at the first path into the root directory at the second.
pub type Unpack<'a> = &'a (dyn Fn(&Path, &Path) -> Result<(), Box<dyn std::error::Error + Send + Sync>> + Sync);

/// What making a base needs.
pub struct BaseRequest<'a> {
    /// The packages and their verified files, in installation order.
    pub packages: &'a [(ResolvedPackage, PathBuf)],
    /// An existing, empty directory, owned by root, on a file system with device nodes.
    pub root: &'a Path,
    /// The target's architecture.
    pub arch: Arch,
    /// `SOURCE_DATE_EPOCH` in seconds.
    pub epoch: u64,
    /// Path of the `oic` executable (see [`SandboxSpec::helper`]).
    pub helper: &'a Path,
    /// How a package's files are unpacked.
    pub unpack: Unpack<'a>,
}

impl std::fmt::Debug for BaseRequest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BaseRequest")
            .field("root", &self.root)
            .field("packages", &self.packages.len())
            .finish_non_exhaustive()
    }
}

/// Times and warnings of a bootstrap.
#[derive(Debug, Clone, Default)]
pub struct BaseReport {
    /// Time for unpacking the packages' files.
    pub unpack: Duration,
    /// Time of the package manager and the packages' scripts.
    pub configure: Duration,
    /// Scripts that failed without stopping the package manager, in words.
    pub warnings: Vec<String>,
}

/// Why the base could not be made. The caller then discards the root directory.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    /// The base must begin with an empty directory.
    #[error("{} is not empty: the base needs a directory of its own", .0.display())]
    NotEmpty(PathBuf),
    /// A package's files could not be unpacked.
    #[error("cannot unpack {package} from {}: {source}", file.display())]
    Unpack {
        /// The package.
        package: String,
        /// Its file.
        file: PathBuf,
        /// What went wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A package could not be installed.
    #[error("the base cannot be installed: {0}")]
    Script(Box<ScriptFailure>),
    /// The package manager refuses.
    #[error("the base cannot be installed: {}", .0.join("; "))]
    Refused(Vec<String>),
    /// The package manager could not be run, or failed without naming a package.
    #[error("the base cannot be installed: {0}")]
    Sandbox(#[from] SandboxError),
    /// A file of the base could not be written.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The user asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl BaseError {
    /// Says what to do about it, where something can be done.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::Sandbox(error) => error.hint(),
            Self::Unpack { .. } => {
                Some(Hint::new("verify the cache: damaged package files are removed").by(Means::VerifyCache))
            }
            _ => None,
        }
    }
}

/// Opens the directory that becomes the base.
///
/// # Errors
/// [`BaseError::NotEmpty`] if something is in it.
fn open_empty(directory: &Path) -> Result<Root, BaseError> {
    let root = Root::open(directory)?;
    match root.names("/")?.is_empty() {
        true => Ok(root),
        false => Err(BaseError::NotEmpty(directory.to_owned())),
    }
}

/// Unpacks the files of all packages into `target`: first the package that gives the root its shape, then the others
/// side by side.
fn unpack_all(request: &BaseRequest<'_>, target: &Path, first_package: &str, work: Work<'_>) -> Result<(), BaseError> {
    let task = work.start("Unpack base", Unit::Items, Some(request.packages.len() as u64));
    let unpack = |(package, file): &(ResolvedPackage, PathBuf)| -> Result<(), BaseError> {
        work.cancel.check()?;
        (request.unpack)(file, target).map_err(|source| BaseError::Unpack {
            package: package.name.clone(),
            file: file.clone(),
            source,
        })?;
        task.advance(1);
        Ok(())
    };
    let (first, others): (Vec<_>, Vec<_>) = request
        .packages
        .iter()
        .partition(|(package, _)| package.name == first_package);
    first.into_iter().try_for_each(unpack)?;
    parallel::try_map(work.threads, others, unpack).map(drop)
}

/// Makes the package files visible in the sandbox; gives their paths inside.
fn bind_packages(request: &BaseRequest<'_>, spec: &mut SandboxSpec) -> Result<Vec<OsString>, BaseError> {
    let mut paths = Vec::new();
    let mut places = BTreeMap::new();
    for (package, file) in request.packages {
        let (Some(directory), Some(name)) = (file.parent(), file.file_name()) else {
            return Err(BaseError::Unpack {
                package: package.name.clone(),
                file: file.clone(),
                source: "not the path of a file".into(),
            });
        };
        let number = places.len();
        let place = places
            .entry(directory)
            .or_insert_with(|| Path::new(PACKAGES).join(number.to_string()));
        paths.push(place.join(name).into());
    }
    spec.binds.extend(places.into_iter().map(|(source, target)| Bind {
        source: source.to_owned(),
        target,
        read_only: true,
    }));
    Ok(paths)
}
