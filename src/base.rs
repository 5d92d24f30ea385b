//! The base: the packages that every image starts from, and what its package manager
//! needs to run, installed into an empty directory without any package tool of the host.
//!
//! Invariant: the target's own package manager does the installation, with all scripts, in
//! one transaction. oic only unpacks what that needs to run.

mod clean;
mod deb;
mod layout;
mod rpm;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

pub use clean::remove_traces;

use crate::cancel::{Cancel, Cancelled};
use crate::durable::PathError;
use crate::package::{Arch, ResolvedPackage};
use crate::progress::{Progress, Unit};
use crate::provider::PackageSystem;
use crate::root::Root;
use crate::sandbox::{Bind, SandboxError, SandboxSpec, ScriptFailure};

/// Where the package files are seen during the installation; on the sandbox's own `/run`.
const PACKAGES: &str = "/run/oic-packages";
/// Threads that unpack; more only wait for each other's directories.
const UNPACK_THREADS: usize = 4;

/// Unpacks the files of the package at the first path into the root directory at the second.
pub type Unpack<'a> = &'a (dyn Fn(&Path, &Path) -> Result<(), Box<dyn std::error::Error + Send + Sync>> + Sync);

/// What [`bootstrap`] needs.
pub struct BaseRequest<'a> {
    /// How the packages are packed.
    pub system: PackageSystem,
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

/// What a bootstrap did.
#[derive(Debug, Clone, Default)]
pub struct BaseReport {
    /// Unpacking the packages' files.
    pub unpack: Duration,
    /// The package manager and the packages' scripts.
    pub configure: Duration,
    /// Scripts that failed and that the package manager does not stop for, in words.
    pub warnings: Vec<String>,
}

/// Why the base could not be made. The root directory is then to be thrown away.
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
    /// What to do about it, where something can be done.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Sandbox(error) => error.hint(),
            Self::Unpack { .. } => Some("`oic cache verify` finds and removes damaged package files".to_owned()),
            Self::Path(error) if error.is_no_space() => {
                Some("the file system of the work directory is full".to_owned())
            }
            _ => None,
        }
    }
}

/// Makes the base in `request.root`.
///
/// # Errors
/// [`BaseError`]; a failing maintainer script is named with its package and output.
pub fn bootstrap(request: &BaseRequest<'_>, progress: &dyn Progress, cancel: &Cancel) -> Result<BaseReport, BaseError> {
    let root = Root::open(request.root)?;
    if !root.names("/")?.is_empty() {
        return Err(BaseError::NotEmpty(request.root.to_owned()));
    }
    match request.system {
        PackageSystem::Deb => deb::bootstrap(request, &root, progress, cancel),
        PackageSystem::Rpm => rpm::bootstrap(request, &root, progress, cancel),
    }
}

/// Unpacks the files of all packages into `target`, that of the root's shape first, the others side by side.
fn unpack_all(
    request: &BaseRequest<'_>,
    target: &Path,
    first_package: &str,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<(), BaseError> {
    let task = progress.start("Unpack base", Unit::Items, Some(request.packages.len() as u64));
    let unpack = |(package, file): &(ResolvedPackage, PathBuf)| -> Result<(), BaseError> {
        cancel.check()?;
        (request.unpack)(file, target).map_err(|source| BaseError::Unpack {
            package: package.name.clone(),
            file: file.clone(),
            source,
        })?;
        progress.advance(task, 1);
        Ok(())
    };
    let (first, others): (Vec<_>, Vec<_>) = request
        .packages
        .iter()
        .partition(|(package, _)| package.name == first_package);
    let result = first.into_iter().try_for_each(unpack).and_then(|()| {
        let next = AtomicUsize::new(0);
        let failure = Mutex::new(None);
        std::thread::scope(|scope| {
            for _ in 0..UNPACK_THREADS {
                scope.spawn(|| {
                    while let Some(package) = others.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if let Err(error) = unpack(package) {
                            next.store(others.len(), Ordering::Relaxed);
                            failure
                                .lock()
                                .unwrap_or_else(std::sync::PoisonError::into_inner)
                                .get_or_insert(error);
                        }
                    }
                });
            }
        });
        match failure.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    });
    progress.finish(task);
    result
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
