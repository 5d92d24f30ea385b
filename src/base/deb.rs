//! The base of a distribution of `.deb` packages: unpacked, then installed by its own dpkg.

use std::ffi::OsString;
use std::time::Instant;

use super::{BaseError, BaseReport, BaseRequest, bind_packages, layout, remove_traces, unpack_all};
use crate::cancel::Cancel;
use crate::dpkg::{self, Transcript};
use crate::progress::Progress;
use crate::root::Root;
use crate::sandbox::{Command, Sandbox, SandboxError, SandboxSpec};

/// Ships the links `/bin`, `/lib` and `/sbin` that all others are unpacked through.
const FIRST_PACKAGE: &str = "base-files";

/// First every package's files are unpacked, so that the target's own dpkg can run; then that dpkg
/// installs the same packages properly, in one go, with their maintainer scripts. The result is what
/// `mmdebstrap --variant=custom` makes of the same packages, apart from logs, caches and times.
pub(super) fn bootstrap(
    request: &BaseRequest<'_>,
    root: &Root,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<BaseReport, BaseError> {
    let started = Instant::now();
    layout::prepare(root, request.arch)?;
    unpack_all(request, request.root, FIRST_PACKAGE, progress, cancel)?;
    layout::make_devices(root)?;
    let unpack = started.elapsed();
    let started = Instant::now();
    configure_all(request, progress, cancel)?;
    remove_traces(root)?;
    layout::make_lock_directory(root)?;
    Ok(BaseReport {
        unpack,
        configure: started.elapsed(),
        warnings: Vec::new(),
    })
}

/// Lets the target's dpkg install all packages in one transaction.
fn configure_all(request: &BaseRequest<'_>, progress: &dyn Progress, cancel: &Cancel) -> Result<(), BaseError> {
    let mut spec = SandboxSpec::new(request.root);
    spec.helper = request.helper.to_owned();
    spec.env = dpkg::environment(request.epoch);
    spec.files.push(dpkg::policy());
    // dpkg syncs its journal after every step; in memory that costs nothing, and a
    // base whose installation was interrupted is thrown away anyhow.
    spec.scratch.push("/var/lib/dpkg/updates".into());
    const STATUS_FD: &str = "3";
    // Pre-Depends may be unpacked but not configured yet: with everything unpacked that is enough.
    let options = [
        "dpkg",
        "--install",
        "--force-depends",
        "--force-unsafe-io",
        "--status-fd",
        STATUS_FD,
    ];
    let mut argv: Vec<OsString> = options.map(OsString::from).into();
    argv.extend(bind_packages(request, &mut spec)?);
    let mut transcript = Transcript::new(progress, "Configure base", request.packages.len() as u64);
    let result = Sandbox::new(spec).run(
        &Command::new(argv).with_status(),
        &mut |line| {
            progress.detail(line);
            transcript.line(line);
        },
        cancel,
    );
    match (result, transcript.failures().first()) {
        (Ok(_), _) => Ok(()),
        (Err(SandboxError::Cancelled(cancelled)), _) => Err(cancelled.into()),
        (Err(_), Some(failure)) => Err(BaseError::Script(Box::new(failure.clone()))),
        (Err(error), None) => Err(error.into()),
    }
}
