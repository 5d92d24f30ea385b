//! The base of a distribution of `.rpm` packages: installed by its own rpm, which runs in a tree that is removed
//! afterwards.

use std::os::unix::fs::{PermissionsExt as _, fchown};
use std::path::Path;
use std::time::Instant;

use rustix::fs::{Mode, OFlags};

use super::{BaseError, BaseReport, BaseRequest, bind_packages, open_empty, remove_traces, unpack_all};
use crate::durable::{PathError, ScratchDir};
use crate::root::Root;
use crate::rpm::{self, Transcript};
use crate::sandbox::{self, Bind, Command, Sandbox, SandboxError, SandboxSpec};
use crate::work::Work;

/// The package with the links `/bin`, `/lib` and `/sbin`, through which all others are unpacked.
const FIRST_PACKAGE: &str = "filesystem";
/// Where the rpm that installs the base sees it.
const TARGET: &str = "/oic-target";
/// Directories that the sandbox mounts on, in the base as well; packages have these directories.
const MOUNT_POINTS: [&str; 5] = ["dev", "proc", "run", "sys", "tmp"];

/// Unpacks all packages into a tree beside the root: enough for their rpm to run. Then lets that rpm install the same
/// packages into the empty root (`--root`), as it would on a machine that has it already: in the order that it chooses,
/// with every scriptlet and trigger.
///
/// # Errors
/// [`BaseError`]; a script that fails is named with its package and output.
pub fn bootstrap(request: &BaseRequest<'_>, work: Work<'_>) -> Result<BaseReport, BaseError> {
    let root = open_empty(request.root)?;
    let started = Instant::now();
    let beside = request.root.parent().unwrap_or(request.root);
    let scratch = ScratchDir::create_in(beside)?;
    unpack_all(request, scratch.path(), FIRST_PACKAGE, work)?;
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
    let warnings = install_all(request, scratch.path(), work)?;
    for name in MOUNT_POINTS {
        finish_mount_point(&scratch.path().join(name), &request.root.join(name))?;
    }
    remove_traces(&root)?;
    Ok(BaseReport {
        unpack,
        configure: started.elapsed(),
        warnings,
    })
}

/// Lets the rpm in `tools` install all packages in one transaction. Gives the scriptlets that failed.
fn install_all(request: &BaseRequest<'_>, tools: &Path, work: Work<'_>) -> Result<Vec<String>, BaseError> {
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
    spec.files.push(sandbox::machine_id(Path::new(TARGET)));
    let files = bind_packages(request, &mut spec)?;
    let packages = request.packages.iter().map(|(package, _)| package);
    let mut transcript = Transcript::new(work.progress, "Install base", packages);
    let result = Sandbox::new(spec).run(
        &Command::new(rpm::upgrade(Some(Path::new(TARGET)), files)),
        &mut |line| {
            work.progress.detail(line);
            transcript.line(line);
        },
        work.cancel,
    );
    match (result, transcript.failures().last(), transcript.complaints()) {
        (Ok(_), _, _) => Ok(transcript.failures().iter().map(ToString::to_string).collect()),
        (Err(SandboxError::Cancelled(cancelled)), _, _) => Err(cancelled.into()),
        (Err(SandboxError::Failed { .. }), Some(failure), _) => Err(BaseError::Script(Box::new(failure.clone()))),
        (Err(SandboxError::Failed { .. }), None, complaints @ [_, ..]) => Err(BaseError::Refused(complaints.to_vec())),
        (Err(error), _, _) => Err(error.into()),
    }
}

/// Gives a directory that was mounted on meanwhile the owner, mode and time that its package has.
fn finish_mount_point(unpacked: &Path, made: &Path) -> Result<(), PathError> {
    let wanted = match std::fs::symlink_metadata(unpacked) {
        Ok(wanted) => wanted,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(PathError::on("look at", unpacked)(error)),
    };
    let set = || {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = std::fs::File::from(rustix::fs::open(made, flags, Mode::empty())?);
        fchown(&directory, Some(0), Some(0))?;
        directory.set_permissions(std::fs::Permissions::from_mode(wanted.permissions().mode()))?;
        directory.set_times(std::fs::FileTimes::new().set_modified(wanted.modified()?))
    };
    set().map_err(PathError::on("set the mode of", made))
}
