//! One transaction of the target's own apt.
//!
//! Invariant: apt gets the exact versions of the resolution and nothing else to
//! choose from; its lists, caches and configuration live on the sandbox's `/run`
//! and leave nothing in the image.

use std::ffi::OsString;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Instant;

use super::{InstallError, InstallReport, InstallRequest, brings_uname, constant_sandbox, is_needed, kernel};
use crate::dpkg::{self, Transcript};
use crate::durable::{self, PathError, TEMPORARY_PREFIX};
use crate::model::DebconfAnswer;
use crate::package::{Arch, ResolvedPackage, Targets};
use crate::progress::Progress;
use crate::root::Root;
use crate::sandbox::{Bind, Command, STATUS_FD, Sandbox, SandboxError, SandboxFile, SandboxSpec, ScriptFailure};
use crate::work::Work;

/// The directory of apt's lists and caches, kept between its two runs.
const STATE: &str = "/run/oic-apt";
const SOURCE_LIST: &str = "/run/oic/pool.list";
const CONFIGURATION: &str = "/run/oic/apt.conf";
const PROGRAM: &str = "/usr/bin/apt-get";
/// The program that stores answers before packages ask (debconf-set-selections(1)).
const ANSWERER: &str = "debconf-set-selections";

/// Installs `request.packages`. Kernels get no initrd yet.
///
/// # Errors
/// [`InstallError`]; a maintainer script that fails is named with its package and output.
pub fn install(request: &InstallRequest<'_>, work: Work<'_>) -> Result<InstallReport, InstallError> {
    if !is_needed(request, PROGRAM, "apt")? {
        return Ok(InstallReport::default());
    }
    let state = tempfile::Builder::new()
        .prefix(TEMPORARY_PREFIX)
        // Open to the user that apt becomes in the sandbox; the directory above is closed.
        .permissions(Permissions::from_mode(0o755))
        .tempdir_in(request.temporary)
        .map_err(PathError::on("create a directory in", request.temporary))?;
    for directory in ["lists/partial", "cache/archives/partial", "log"] {
        let directory = state.path().join(directory);
        durable::public_directory(&directory)?;
    }
    let mut spec = spec(request, state.path())?;
    spec.files
        .extend(kernel::configuration(&Root::open(request.root)?, request.file_systems)?);
    dpkg::add_architectures(&Root::open(request.root)?, request.targets())?;
    let sandbox = Sandbox::new(spec);
    answer(&sandbox, request.answers, work)?;
    let started = Instant::now();
    let mut complaints = Vec::new();
    let update = Command::new(["apt-get", "update"]);
    if let Err(error) = sandbox.run(
        &update,
        &mut |line| listen(line, work.progress, &mut complaints),
        work.cancel,
    ) {
        return Err(explain(error, None, complaints));
    }
    let index = started.elapsed();
    let mut transcript = Transcript::new(work.progress, "Install", request.packages.len() as u64);
    let run = sandbox.run(
        &command(request),
        &mut |line| {
            listen(line, work.progress, &mut complaints);
            transcript.line(line);
        },
        work.cancel,
    );
    if let Err(error) = run {
        return Err(explain(error, transcript.failures().first(), complaints));
    }
    Ok(InstallReport {
        packages: transcript.configured(),
        index,
        install: started.elapsed().saturating_sub(index),
        warnings: Vec::new(),
    })
}

/// Stores the answers to the packages' questions. They reach the program through its standard input only.
fn answer(sandbox: &Sandbox, answers: &[&DebconfAnswer], work: Work<'_>) -> Result<(), InstallError> {
    if answers.is_empty() {
        return Ok(());
    }
    let lines: String = answers.iter().map(|answer| answer.line()).collect();
    let command = Command::new([ANSWERER]).with_stdin(lines);
    let run = sandbox.run(&command, &mut |_| {}, work.cancel);
    run.map(drop).map_err(|error| match error {
        SandboxError::Cancelled(cancelled) => cancelled.into(),
        SandboxError::Failed { ended, .. } => InstallError::Answers {
            program: ANSWERER,
            how: format!("ended with {ended}"),
        },
        error => InstallError::Sandbox(error),
    })
}

/// Adds what apt itself complains about to `complaints`.
fn listen(line: &str, progress: &dyn Progress, complaints: &mut Vec<String>) {
    progress.detail(line);
    if let Some(complaint) = line.strip_prefix("E: ") {
        complaints.push(complaint.to_owned());
    }
}

/// Chooses the most informative error of a failure: that of the package, then apt's, then that of the process.
fn explain(error: SandboxError, failure: Option<&ScriptFailure>, complaints: Vec<String>) -> InstallError {
    match (error, failure) {
        (SandboxError::Cancelled(cancelled), _) => cancelled.into(),
        (_, Some(failure)) => InstallError::Script(Box::new(failure.clone())),
        (SandboxError::Failed { .. }, None) if !complaints.is_empty() => InstallError::Refused {
            program: "apt",
            complaints,
        },
        (error, None) => InstallError::Sandbox(error),
    }
}

fn spec(request: &InstallRequest<'_>, state: &Path) -> Result<SandboxSpec, PathError> {
    let mut spec = constant_sandbox(&Root::open(request.root)?, request.helper)?;
    spec.own_release = !brings_uname(request.packages);
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
        (CONFIGURATION, configuration(request.targets())),
        (SOURCE_LIST, source_line(request.pool)),
    ] {
        spec.files.push(SandboxFile {
            target: target.into(),
            mode: 0o644,
            contents: contents.into_bytes(),
        });
    }
    // dpkg syncs its journal after every step; in memory that costs nothing, and an image whose installation was
    // interrupted is discarded anyhow.
    spec.scratch.push("/var/lib/dpkg/updates".into());
    Ok(spec)
}

/// Gives the text of apt.conf(5) that replaces the image's: no hook of a package changes the transaction. The versions
/// are those of the resolution, also where the base has a newer one.
fn configuration(targets: Targets<'_>) -> String {
    let all: String = targets.deb().map(|arch| format!(" \"{arch}\";")).collect();
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
APT::Architectures {{{all} }};
APT::Sandbox::User "root";
APT::Install-Recommends "false";
APT::Get::Assume-Yes "true";
APT::Get::Allow-Downgrades "true";
APT::Color "false";
Acquire::Languages "none";
Quiet "1";
DPkg::Path "";
DPkg::Use-Pty "false";
DPkg::Options {{ "--force-confdef"; "--force-confold"; "--force-unsafe-io"; "--status-fd"; "{STATUS_FD}"; }};
APT::Keep-Fds {{ "{STATUS_FD}"; }};
"#,
        arch = targets.native.deb()
    )
}

/// Gives the line for the pool. Its contents were verified when they were fetched: `trusted` adds no risk
/// (sources.list(5)).
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

/// Gives `name=version`, with the architecture where it is not the image's own (apt-get(8), "install").
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
