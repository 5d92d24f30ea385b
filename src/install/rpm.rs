//! One transaction of the target's own rpm.

use std::ffi::OsString;
use std::time::Instant;

use super::{InstallError, InstallReport, InstallRequest, initrd};
use crate::cancel::Cancel;
use crate::progress::Progress;
use crate::rpm::{self, Transcript};
use crate::sandbox::{Bind, Command, Sandbox, SandboxError, SandboxSpec};

/// Installs the packages from the pool. Scriptlets that rpm does not stop for become warnings.
pub(super) fn install(
    request: &InstallRequest<'_>,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<InstallReport, InstallError> {
    let started = Instant::now();
    let files = request
        .packages
        .iter()
        .map(|package| request.pool.join(package.file_name()));
    let mut command = Command::new(rpm::upgrade(None, files.map(OsString::from)));
    command.env.push(rpm::not_yet());
    let sandbox = Sandbox::new(spec(request));
    let mut transcript = Transcript::new(progress, "Install", request.packages);
    let run = sandbox.run(
        &command,
        &mut |line| {
            progress.detail(line);
            transcript.line(line);
        },
        cancel,
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

/// The most telling of what is known about a failure: the scriptlet, then rpm, then the process.
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

fn spec(request: &InstallRequest<'_>) -> SandboxSpec {
    let mut spec = SandboxSpec::new(request.root);
    spec.helper = request.helper.to_owned();
    spec.env = rpm::environment(request.epoch);
    spec.files.push(initrd::configuration());
    spec.binds.extend(request.pool_source.map(|source| Bind {
        source: source.to_owned(),
        target: request.pool.to_owned(),
        read_only: true,
    }));
    spec
}
