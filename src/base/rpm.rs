//! The base of a distribution of `.rpm` packages: installed by its own rpm, which runs in a tree that
//! is thrown away.

use std::os::unix::fs::{PermissionsExt as _, fchown};
use std::path::Path;
use std::time::Instant;

use super::{BaseError, BaseReport, BaseRequest, bind_packages, remove_traces, unpack_all};
use crate::cancel::Cancel;
use crate::durable::{PathError, ScratchDir};
use crate::progress::Progress;
use crate::root::Root;
use crate::rpm::{self, Transcript};
use crate::sandbox::{Bind, Command, Sandbox, SandboxError, SandboxSpec};

/// Has the links `/bin`, `/lib` and `/sbin` that all others are unpacked through.
const FIRST_PACKAGE: &str = "filesystem";
/// Where the base is seen by the rpm that installs it.
const TARGET: &str = "/oic-target";
/// What the sandbox mounts on, in the base as well; packages have these directories.
const MOUNT_POINTS: [&str; 5] = ["dev", "proc", "run", "sys", "tmp"];

/// Unpacks all packages into a tree beside the root: enough for their rpm to run. That rpm then
/// installs the same packages into the empty root (`--root`), as it would on a machine that has it
/// already: in the order that it chooses, with every scriptlet and trigger.
pub(super) fn bootstrap(
    request: &BaseRequest<'_>,
    root: &Root,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<BaseReport, BaseError> {
    let started = Instant::now();
    let beside = request.root.parent().unwrap_or(request.root);
    let scratch = ScratchDir::create_in(beside)?;
    unpack_all(request, scratch.path(), FIRST_PACKAGE, progress, cancel)?;
    let tools = Root::open(scratch.path())?;
    if !tools.exists(rpm::PROGRAM)? {
        let reason = format!("none of its packages has {}", rpm::PROGRAM);
        return Err(BaseError::Refused(vec![reason]));
    }
    for name in MOUNT_POINTS {
        root.create_directory(Path::new("/").join(name))?;
    }
    let unpack = started.elapsed();
    let started = Instant::now();
    let warnings = install_all(request, scratch.path(), progress, cancel)?;
    for name in MOUNT_POINTS {
        finish_mount_point(&scratch.path().join(name), &request.root.join(name))?;
    }
    remove_traces(root)?;
    Ok(BaseReport {
        unpack,
        configure: started.elapsed(),
        warnings,
    })
}

/// Lets the rpm in `tools` install all packages in one transaction. Gives the scriptlets that failed.
fn install_all(
    request: &BaseRequest<'_>,
    tools: &Path,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Vec<String>, BaseError> {
    let mut spec = SandboxSpec::new(tools);
    spec.helper = request.helper.to_owned();
    spec.env = rpm::environment(request.epoch);
    spec.env.push(rpm::not_yet());
    spec.binds.push(Bind {
        source: request.root.to_owned(),
        target: TARGET.into(),
        read_only: false,
    });
    spec.chroot = Some(TARGET.into());
    let files = bind_packages(request, &mut spec)?;
    let packages = request.packages.iter().map(|(package, _)| package);
    let mut transcript = Transcript::new(progress, "Install base", packages);
    let result = Sandbox::new(spec).run(
        &Command::new(rpm::upgrade(Some(Path::new(TARGET)), files)),
        &mut |line| {
            progress.detail(line);
            transcript.line(line);
        },
        cancel,
    );
    match (result, transcript.failures().last(), transcript.complaints()) {
        (Ok(_), _, _) => Ok(transcript.failures().iter().map(ToString::to_string).collect()),
        (Err(SandboxError::Cancelled(cancelled)), _, _) => Err(cancelled.into()),
        (Err(SandboxError::Failed { .. }), Some(failure), _) => Err(BaseError::Script(Box::new(failure.clone()))),
        (Err(SandboxError::Failed { .. }), None, complaints @ [_, ..]) => Err(BaseError::Refused(complaints.to_vec())),
        (Err(error), _, _) => Err(error.into()),
    }
}

/// Gives a directory that something was mounted on meanwhile the owner, mode and time that its package has.
fn finish_mount_point(unpacked: &Path, made: &Path) -> Result<(), PathError> {
    let Ok(wanted) = std::fs::symlink_metadata(unpacked) else {
        return Ok(());
    };
    let set = || {
        let directory = std::fs::File::open(made)?;
        fchown(&directory, Some(0), Some(0))?;
        directory.set_permissions(std::fs::Permissions::from_mode(wanted.permissions().mode()))?;
        directory.set_times(std::fs::FileTimes::new().set_modified(wanted.modified()?))
    };
    set().map_err(PathError::on("set the mode of", made))
}
