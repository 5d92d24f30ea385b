//! Installs the resolved packages into an image: one transaction of the target's
//! own package manager, from the package pool, without network.
//!
//! Three steps, in this order, each of which may be a layer of its own: the transaction (perhaps twice; [`apt`],
//! [`rpm`]), the initrds ([`kernel`], [`initrd`]), [`mark_automatic`].

pub mod apt;
mod dracut;
pub mod encrypted;
pub mod initrd;
pub mod inputs;
pub mod kernel;
mod marks;
mod modules;
pub mod rpm;
pub mod verity;

pub use initrd::generic_initrds;
pub use marks::{Marks, mark_automatic};

use std::path::Path;
use std::time::Duration;

use crate::cancel::Cancelled;
use crate::durable::PathError;
use crate::hint::Hint;
use crate::model::DebconfAnswer;
use crate::package::{Arch, ForeignArch, ResolvedPackage, Targets};
use crate::root::Root;
use crate::sandbox::{self, CONFINED, SandboxError, SandboxSpec, ScriptFailure};

/// What a transaction needs.
#[derive(Debug)]
pub struct InstallRequest<'a> {
    /// The image's mounted root directory.
    pub root: &'a Path,
    /// The packages to install, in installation order.
    pub packages: &'a [ResolvedPackage],
    /// Absolute path inside the image of a directory that holds the packages; for apt, with their `Packages` index.
    pub pool: &'a Path,
    /// The pool's directory on the host, if it is not already visible at `pool`.
    pub pool_source: Option<&'a Path>,
    /// A directory of the host for the package manager's lists and caches during the call.
    pub temporary: &'a Path,
    /// The target's architecture.
    pub arch: Arch,
    /// Architectures besides whose packages are to be installed, for `.deb` packages.
    pub foreign: &'a [ForeignArch],
    /// Types of the file systems that initrds check.
    pub file_systems: &'a [&'static str],
    /// Answers to the packages' questions, for `.deb` packages.
    pub answers: &'a [&'a DebconfAnswer],
    /// `SOURCE_DATE_EPOCH` in seconds.
    pub epoch: u64,
    /// Path of the `oic` executable (see [`SandboxSpec::helper`]).
    pub helper: &'a Path,
}

impl InstallRequest<'_> {
    /// Gives the architectures of the packages.
    pub fn targets(&self) -> Targets<'_> {
        Targets {
            native: self.arch,
            foreign: self.foreign,
        }
    }
}

/// What making initrds needs.
#[derive(Debug)]
pub struct InitrdRequest<'a> {
    /// The image's mounted root directory, with kernels installed.
    pub root: &'a Path,
    /// Modules that the initrds contain and load besides their own choice.
    pub modules: &'a [String],
    /// Types of the file systems that the initrds check.
    pub file_systems: &'a [&'static str],
    /// `SOURCE_DATE_EPOCH` in seconds.
    pub epoch: u64,
    /// Path of the `oic` executable (see [`SandboxSpec::helper`]).
    pub helper: &'a Path,
}

/// Counts, times and warnings of an installation.
#[derive(Debug, Clone, Default)]
pub struct InstallReport {
    /// Number of packages that were configured.
    pub packages: u64,
    /// Time for reading the pool's index.
    pub index: Duration,
    /// Time for unpacking, maintainer scripts and triggers.
    pub install: Duration,
    /// What the template asked for and could not be done, in words.
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
        /// The package that has it.
        package: &'static str,
    },
    /// A package could not be unpacked or configured.
    #[error("cannot install {0}")]
    Script(Box<ScriptFailure>),
    /// The package manager refused or failed.
    #[error("{program} cannot install the packages: {}", complaints.join("; "))]
    Refused {
        /// The package manager.
        program: &'static str,
        /// Its messages.
        complaints: Vec<String>,
    },
    /// The answers to the packages' questions could not be stored. What the program says is left out: it repeats them.
    #[error("the answers of systemConfig.debconf cannot be stored: {program} {how}")]
    Answers {
        /// The program that stores them.
        program: &'static str,
        /// How it ended, in words.
        how: String,
    },
    /// The image has nothing that makes an initrd for a verified root.
    #[error(
        "systemConfig.immutability.enabled: the initrd of a verified root needs {file}, which the image does not have"
    )]
    NoVerity {
        /// The missing file.
        file: &'static str,
        /// The packages that have it.
        package: &'static str,
    },
    /// The image has what makes initrds that cannot mount a verified root.
    #[error("systemConfig.immutability.enabled: the initrds of {package} cannot mount a verified root")]
    NotVerity {
        /// Its package.
        package: &'static str,
    },
    /// The image has nothing that makes an initrd for encrypted partitions.
    #[error("systemConfig.fde.enabled: the initrd that opens the disk needs {file}, which the image does not have")]
    NoCryptsetup {
        /// The missing file.
        file: &'static str,
        /// The packages that have it.
        package: &'static str,
    },
    /// The image has what makes initrds that cannot open encrypted partitions.
    #[error("systemConfig.fde.enabled: the initrds of {package} do not open the disk")]
    NotCryptsetup {
        /// Its package.
        package: &'static str,
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
    /// Makes the error of a kernel whose hooks or initrd ended with `error`.
    fn of_kernel(version: String, error: SandboxError) -> Self {
        match error {
            SandboxError::Cancelled(cancelled) => Self::Cancelled(cancelled),
            source => Self::Kernel { version, source },
        }
    }

    /// Says what to do about it, where something can be done.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::NoProgram { package, .. } => Some(format!("add {package} to the provider's base packages").into()),
            Self::NoVerity { package, .. } | Self::NoCryptsetup { package, .. } => {
                Some(format!("add the package {package} to systemConfig.packages").into())
            }
            Self::NotVerity { package } | Self::NotCryptsetup { package } => {
                Some(format!("use dracut: add \"-{package}\" and \"dracut\" to systemConfig.packages").into())
            }
            Self::Sandbox(error) => error.hint(),
            Self::Script(_) => Some(CONFINED.into()),
            Self::Answers { .. } => Some("check packages, questions, types and values of systemConfig.debconf".into()),
            _ => None,
        }
    }
}

/// Checks that the image can install packages with `program`, which `package` has. Says whether any package is to be
/// installed.
///
/// # Errors
/// [`InstallError::NoProgram`] if it cannot.
fn is_needed(request: &InstallRequest<'_>, program: &'static str, package: &'static str) -> Result<bool, InstallError> {
    match Root::open(request.root)?.exists(program)? {
        true => Ok(!request.packages.is_empty()),
        false => Err(InstallError::NoProgram { program, package }),
    }
}

/// Begins what makes initrds: opens the image, requests the modules, and describes the sandbox. Also gives, in words,
/// what the template asked for and cannot be done.
fn begin_initrds(request: &InitrdRequest<'_>) -> Result<(Root, SandboxSpec, Vec<String>), InstallError> {
    let root = Root::open(request.root)?;
    let warnings = modules::request(&root, request.modules)?;
    let mut spec = constant_sandbox(&root, request.helper)?;
    spec.own_release = true;
    Ok((root, spec, warnings))
}

/// Describes a sandbox on `root` whose programs get the same answers on every build host.
fn constant_sandbox(root: &Root, helper: &Path) -> Result<SandboxSpec, PathError> {
    let mut spec = SandboxSpec::new(root.path());
    spec.helper = helper.to_owned();
    spec.files.push(sandbox::machine_id(Path::new("/")));
    spec.files.extend(initrd::generic_initrds(root)?);
    Ok(spec)
}

/// Says whether one of `packages` brings uname(1), whose place must then be free.
fn brings_uname(packages: &[ResolvedPackage]) -> bool {
    let brings = |name: &str| name.starts_with("coreutils") || name.ends_with("-coreutils");
    packages.iter().any(|package| brings(&package.name))
}
