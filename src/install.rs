//! Installs the resolved packages into an image: one transaction of the target's
//! own package manager, from the package pool, without network.
//!
//! Three steps, in this order, each of which may be a layer of its own: [`install`] (perhaps twice),
//! [`make_initrds`], [`mark_automatic`].

mod apt;
mod initrd;
mod kernel;
mod marks;
mod modules;
mod rpm;

pub use marks::mark_automatic;

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use crate::cancel::{Cancel, Cancelled};
use crate::dpkg;
use crate::durable::PathError;
use crate::package::{Arch, ResolvedPackage};
use crate::progress::Progress;
use crate::provider::PackageSystem;
use crate::root::Root;
use crate::sandbox::{Sandbox, SandboxError, SandboxFile, SandboxSpec, ScriptFailure};

/// What [`install`] needs.
#[derive(Debug)]
pub struct InstallRequest<'a> {
    /// How the packages are packed.
    pub system: PackageSystem,
    /// The image's mounted root directory.
    pub root: &'a Path,
    /// What is to be installed, in installation order.
    pub packages: &'a [ResolvedPackage],
    /// Absolute path inside the image of a directory that holds the packages; for apt, with their `Packages` index.
    pub pool: &'a Path,
    /// The pool's directory on the host, if it is not already visible at `pool`.
    pub pool_source: Option<&'a Path>,
    /// A directory of the host for the package manager's lists and caches during the call.
    pub temporary: &'a Path,
    /// The target's architecture.
    pub arch: Arch,
    /// `SOURCE_DATE_EPOCH` in seconds.
    pub epoch: u64,
    /// Path of the `oic` executable (see [`SandboxSpec::helper`]).
    pub helper: &'a Path,
}

/// What [`make_initrds`] needs.
#[derive(Debug)]
pub struct InitrdRequest<'a> {
    /// How the packages are packed.
    pub system: PackageSystem,
    /// The image's mounted root directory, with kernels installed.
    pub root: &'a Path,
    /// Modules that the initrds get and load besides their own choice.
    pub modules: &'a [String],
    /// `SOURCE_DATE_EPOCH` in seconds.
    pub epoch: u64,
    /// Path of the `oic` executable (see [`SandboxSpec::helper`]).
    pub helper: &'a Path,
}

/// What an installation did.
#[derive(Debug, Clone, Default)]
pub struct InstallReport {
    /// Packages that were configured.
    pub packages: u64,
    /// Reading the pool's index.
    pub index: Duration,
    /// Unpacking, maintainer scripts and triggers.
    pub install: Duration,
    /// What was asked for and could not be done, in words.
    pub warnings: Vec<String>,
}

/// Why the packages could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The base cannot install packages.
    #[error("the base has no {program}: it cannot install packages")]
    NoProgram {
        /// The missing program.
        program: &'static str,
    },
    /// A package could not be unpacked or configured.
    #[error("cannot install {0}")]
    Script(Box<ScriptFailure>),
    /// The package manager refused or failed.
    #[error("{program} cannot install the packages: {}", complaints.join("; "))]
    Refused {
        /// The package manager.
        program: &'static str,
        /// What it says.
        complaints: Vec<String>,
    },
    /// A kernel's hooks failed, for instance its initrd could not be made.
    #[error("cannot make the initrd of kernel {version}: {source}")]
    Kernel {
        /// The kernel's version, as in `/lib/modules`.
        version: String,
        /// What went wrong.
        source: SandboxError,
    },
    /// The package manager could not be run.
    #[error(transparent)]
    Sandbox(SandboxError),
    /// A file of the image could not be read or written.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The user asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl InstallError {
    /// What it means that the hooks or the initrd of a kernel ended with `error`.
    fn of_kernel(version: String, error: SandboxError) -> Self {
        match error {
            SandboxError::Cancelled(cancelled) => Self::Cancelled(cancelled),
            source => Self::Kernel { version, source },
        }
    }

    /// What to do about it, where something can be done.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoProgram { program } => {
                let package = if *program == apt::PROGRAM { "apt" } else { "rpm" };
                Some(format!("add {package} to the provider's base packages"))
            }
            Self::Sandbox(error) => error.hint(),
            Self::Script(failure) if failure.message.contains("No space left") => {
                Some("the file system of the work directory is full".to_owned())
            }
            _ => None,
        }
    }
}

/// Installs `request.packages` in one transaction. Kernels get no initrd yet.
///
/// # Errors
/// [`InstallError`]; a failing maintainer script is named with its package and output.
pub fn install(
    request: &InstallRequest<'_>,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<InstallReport, InstallError> {
    let root = Root::open(request.root)?;
    let program = match request.system {
        PackageSystem::Deb => apt::PROGRAM,
        PackageSystem::Rpm => crate::rpm::PROGRAM,
    };
    if !root.exists(program)? {
        return Err(InstallError::NoProgram { program });
    }
    if request.packages.is_empty() {
        return Ok(InstallReport::default());
    }
    match request.system {
        PackageSystem::Deb => apt::install(request, progress, cancel),
        PackageSystem::Rpm => rpm::install(request, progress, cancel),
    }
}

/// Makes the initrd of each kernel that has none, as the kernel's own maintainer script would. Gives, in words,
/// what was asked for and cannot be done.
///
/// # Errors
/// [`InstallError::Kernel`] if a kernel's hooks fail.
pub fn make_initrds(
    request: &InitrdRequest<'_>,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Vec<String>, InstallError> {
    let root = Root::open(request.root)?;
    let warnings = modules::request(&root, request.modules)?;
    let mut spec = SandboxSpec::new(request.root);
    spec.helper = request.helper.to_owned();
    spec.env = environment(request.system, request.epoch);
    spec.files.extend(policy(request.system));
    let on_line = &mut |line: &str| progress.detail(line);
    match request.system {
        PackageSystem::Deb => kernel::finish(&root, &Sandbox::new(spec), on_line, cancel)?,
        PackageSystem::Rpm => {
            spec.files.push(initrd::configuration());
            initrd::make_missing(&root, &Sandbox::new(spec), on_line, cancel)?;
        }
    }
    Ok(warnings)
}

/// The environment for programs of an image, once everything is installed.
pub fn environment(system: PackageSystem, epoch: u64) -> Vec<(OsString, OsString)> {
    match system {
        PackageSystem::Deb => dpkg::environment(epoch),
        PackageSystem::Rpm => crate::rpm::environment(epoch),
    }
}

/// What keeps package scripts from starting services, where that takes a file.
pub fn policy(system: PackageSystem) -> Option<SandboxFile> {
    match system {
        PackageSystem::Deb => Some(dpkg::policy()),
        // systemctl does nothing to services where systemd does not run (systemctl(1), SYSTEMD_OFFLINE).
        PackageSystem::Rpm => None,
    }
}
