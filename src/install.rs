//! Installs the resolved packages into an image: one transaction of the target's
//! own apt, from the package pool, without network.
//!
//! Invariant: apt gets the exact versions of the resolution and nothing else to
//! choose from; its lists, caches and configuration live on the sandbox's `/run`
//! and leave nothing in the image.
//!
//! Three steps, in this order, each of which may be a layer of its own: [`install`] (perhaps twice),
//! [`make_initrds`], [`mark_automatic`].

mod kernel;
mod marks;
mod modules;

pub use marks::mark_automatic;

use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::cancel::{Cancel, Cancelled};
use crate::dpkg::{self, ScriptFailure, Transcript};
use crate::durable::{PathError, TEMPORARY_PREFIX};
use crate::package::{Arch, ResolvedPackage};
use crate::progress::Progress;
use crate::root::Root;
use crate::sandbox::{Bind, Command, STATUS_FD, Sandbox, SandboxError, SandboxFile, SandboxSpec};

/// apt's lists and caches, kept between its two runs.
const STATE: &str = "/run/oic-apt";
const SOURCE_LIST: &str = "/run/oic/pool.list";
const CONFIGURATION: &str = "/run/oic/apt.conf";

/// What [`install`] needs.
#[derive(Debug)]
pub struct InstallRequest<'a> {
    /// The image's mounted root directory.
    pub root: &'a Path,
    /// What is to be installed, in installation order.
    pub packages: &'a [ResolvedPackage],
    /// Absolute path inside the image of a flat repository that holds the packages and their `Packages` index.
    pub pool: &'a Path,
    /// The pool's directory on the host, if it is not already visible at `pool`.
    pub pool_source: Option<&'a Path>,
    /// A directory of the host for apt's lists and caches during the call.
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
}

/// Why the packages could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The base cannot install packages.
    #[error("the base has no {program}: it cannot install packages")]
    NoApt {
        /// The missing program.
        program: &'static str,
    },
    /// A package could not be unpacked or configured.
    #[error("cannot install {0}")]
    Script(Box<ScriptFailure>),
    /// apt refused or failed.
    #[error("apt cannot install the packages: {}", .0.join("; "))]
    Apt(Vec<String>),
    /// A kernel's hooks failed, for instance its initrd could not be made.
    #[error("cannot make the initrd of kernel {version}: {source}")]
    Kernel {
        /// The kernel's version, as in `/lib/modules`.
        version: String,
        /// What went wrong.
        source: SandboxError,
    },
    /// apt could not be run.
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
    /// What to do about it, where something can be done.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoApt { .. } => Some("add apt to the provider's base packages".to_owned()),
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
    if !root.exists("/usr/bin/apt-get")? {
        return Err(InstallError::NoApt { program: "apt-get" });
    }
    if request.packages.is_empty() {
        return Ok(InstallReport::default());
    }
    let state = tempfile::Builder::new()
        .prefix(TEMPORARY_PREFIX)
        .tempdir_in(request.temporary)
        .map_err(PathError::on("create a directory in", request.temporary))?;
    for directory in ["lists/partial", "cache/archives/partial", "log"] {
        let directory = state.path().join(directory);
        std::fs::create_dir_all(&directory).map_err(PathError::on("create", &directory))?;
    }
    let sandbox = Sandbox::new(spec(request, state.path()));
    let started = Instant::now();
    let mut complaints = Vec::new();
    let update = Command::new(["apt-get", "update"]);
    if let Err(error) = sandbox.run(&update, &mut |_, line| listen(line, progress, &mut complaints), cancel) {
        return Err(explain(error, None, complaints));
    }
    let index = started.elapsed();
    let mut transcript = Transcript::new(progress, "Install", request.packages.len() as u64);
    let run = sandbox.run(
        &command(request),
        &mut |_, line| {
            listen(line, progress, &mut complaints);
            transcript.line(line);
        },
        cancel,
    );
    if let Err(error) = run {
        return Err(explain(error, transcript.failures().first(), complaints));
    }
    Ok(InstallReport {
        packages: transcript.configured(),
        index,
        install: started.elapsed().saturating_sub(index),
    })
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
    spec.env = dpkg::environment(request.epoch);
    spec.files.push(dpkg::policy());
    let sandbox = Sandbox::new(spec);
    kernel::finish(&root, &sandbox, &mut |line| progress.detail(line), cancel)?;
    Ok(warnings)
}

/// Keeps what apt itself complains about.
fn listen(line: &str, progress: &dyn Progress, complaints: &mut Vec<String>) {
    progress.detail(line);
    if let Some(complaint) = line.strip_prefix("E: ") {
        complaints.push(complaint.to_owned());
    }
}

/// The most telling of what is known about a failure: the package, then apt, then the process.
fn explain(error: SandboxError, failure: Option<&ScriptFailure>, complaints: Vec<String>) -> InstallError {
    match (error, failure) {
        (SandboxError::Cancelled(cancelled), _) => cancelled.into(),
        (_, Some(failure)) => InstallError::Script(Box::new(failure.clone())),
        (SandboxError::Failed { .. }, None) if !complaints.is_empty() => InstallError::Apt(complaints),
        (error, None) => InstallError::Sandbox(error),
    }
}

fn spec(request: &InstallRequest<'_>, state: &Path) -> SandboxSpec {
    let mut spec = SandboxSpec::new(request.root);
    spec.helper = request.helper.to_owned();
    spec.env = dpkg::environment(request.epoch);
    spec.env.push(("APT_CONFIG".into(), CONFIGURATION.into()));
    spec.binds.push(Bind {
        source: state.to_owned(),
        target: STATE.into(),
        read_only: false,
    });
    spec.binds.extend(request.pool_source.map(|source| Bind {
        source: source.to_owned(),
        target: request.pool.to_owned(),
        read_only: true,
    }));
    spec.files.push(dpkg::policy());
    for (target, contents) in [
        (CONFIGURATION, configuration(request.arch)),
        (SOURCE_LIST, source_line(request.pool)),
    ] {
        spec.files.push(SandboxFile {
            target: target.into(),
            mode: 0o644,
            contents: contents.into_bytes(),
        });
    }
    // dpkg syncs its journal after every step; in memory that costs nothing, and an
    // image whose installation was interrupted is thrown away anyhow.
    spec.scratch.push("/var/lib/dpkg/updates".into());
    spec
}

/// apt.conf(5), in place of the image's: no hook of a package changes the transaction.
fn configuration(arch: Arch) -> String {
    format!(
        r#"Dir::Etc::Main "/dev/null";
Dir::Etc::Parts "/dev/null";
Dir::Etc::SourceList "{SOURCE_LIST}";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Dir::State::Lists "{STATE}/lists";
Dir::Cache "{STATE}/cache";
Dir::Log "{STATE}/log";
APT::Architecture "{arch}";
APT::Sandbox::User "root";
APT::Install-Recommends "false";
APT::Get::Assume-Yes "true";
APT::Color "false";
Acquire::Languages "none";
Quiet "1";
DPkg::Use-Pty "false";
DPkg::Options {{ "--force-confdef"; "--force-confold"; "--force-unsafe-io"; "--status-fd"; "{STATUS_FD}"; }};
APT::Keep-Fds {{ "{STATUS_FD}"; }};
"#,
        arch = arch.deb()
    )
}

/// What is in the pool was verified when it was fetched: `trusted` adds no risk (sources.list(5)).
fn source_line(pool: &Path) -> String {
    format!("deb [trusted=yes] file://{} ./\n", pool.display())
}

fn command(request: &InstallRequest<'_>) -> Command {
    let mut argv: Vec<OsString> = vec!["apt-get".into(), "install".into()];
    argv.extend(
        request
            .packages
            .iter()
            .map(|package| specifier(package, request.arch).into()),
    );
    let mut command = Command::new(argv).with_status();
    command.env.push((kernel::NOT_YET.0.into(), kernel::NOT_YET.1.into()));
    command
}

/// `name=version`, with the architecture where it is not the image's own (apt-get(8), "install").
fn specifier(package: &ResolvedPackage, arch: Arch) -> String {
    let ResolvedPackage {
        name,
        version,
        architecture,
        ..
    } = package;
    if architecture == arch.deb() || architecture == "all" {
        format!("{name}={version}")
    } else {
        format!("{name}:{architecture}={version}")
    }
}
