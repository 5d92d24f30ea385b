//! One transaction of the target's own rpm.

use std::ffi::OsString;
use std::time::Instant;

use super::{InstallError, InstallReport, InstallRequest, brings_uname, constant_sandbox, initrd, is_needed};
use crate::durable::PathError;
use crate::root::Root;
use crate::rpm::{self, Transcript};
use crate::sandbox::{Bind, Command, Sandbox, SandboxError, SandboxSpec};
use crate::work::Work;

/// Installs `request.packages` from the pool. Scriptlets that rpm does not stop for become warnings.
///
/// # Errors
/// [`InstallError`]; a scriptlet that rpm stops for is named with its package and output.
pub fn install(request: &InstallRequest<'_>, work: Work<'_>) -> Result<InstallReport, InstallError> {
    if !is_needed(request, rpm::PROGRAM, "rpm")? {
        return Ok(InstallReport::default());
    }
    let started = Instant::now();
    let files = request
        .packages
        .iter()
        .map(|package| request.pool.join(package.file_name()));
    let mut command = Command::new(rpm::upgrade(None, files.map(OsString::from)));
    command.env.push(rpm::not_yet());
    let sandbox = Sandbox::new(spec(request)?);
    let mut transcript = Transcript::new(work.progress, "Install", request.packages);
    let run = sandbox.run(
        &command,
        &mut |line| {
            work.progress.detail(line);
            transcript.line(line);
        },
        work.cancel,
    );
    if let Err(error) = run {
        return Err(explain(error, &transcript));
    }
    Ok(InstallReport {
        packages: transcript.installed(),
        install: started.elapsed(),
        warnings: transcript.failures().iter().map(ToString::to_string).collect(),
        ..InstallReport::default()
    })
}

/// Chooses the most informative error of a failure: that of the scriptlet, then rpm's, then that of the process.
fn explain(error: SandboxError, transcript: &Transcript<'_>) -> InstallError {
    match (error, transcript.failures().last(), transcript.complaints()) {
        (SandboxError::Cancelled(cancelled), _, _) => cancelled.into(),
        (SandboxError::Failed { .. }, Some(failure), _) => InstallError::Script(Box::new(failure.clone())),
        (SandboxError::Failed { .. }, None, complaints @ [_, ..]) => InstallError::Refused {
            program: "rpm",
            complaints: complaints.to_vec(),
        },
        (error, _, _) => InstallError::Sandbox(error),
    }
}

fn spec(request: &InstallRequest<'_>) -> Result<SandboxSpec, PathError> {
    let mut spec = constant_sandbox(&Root::open(request.root)?, request.helper)?;
    let of_dracut = initrd::of_dracut();
    if !spec.files.iter().any(|file| file.target == of_dracut.target) {
        spec.files.push(of_dracut);
    }
    spec.own_release = !brings_uname(request.packages);
    spec.env = rpm::environment(request.epoch);
    spec.binds.extend(request.pool_source.map(|source| Bind {
        source: source.to_owned(),
        target: request.pool.to_owned(),
        read_only: true,
    }));
    Ok(spec)
}
