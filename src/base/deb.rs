//! The base of a distribution of `.deb` packages: unpacked, then installed by its own dpkg.

use std::ffi::OsString;
use std::path::Path;
use std::time::Instant;

use super::{BaseError, BaseReport, BaseRequest, bind_packages, layout, open_empty, remove_traces, unpack_all};
use crate::dpkg::{self, Transcript};
use crate::sandbox::{self, Command, Sandbox, SandboxError, SandboxSpec};
use crate::work::Work;

/// The package with the links `/bin`, `/lib` and `/sbin`, through which all others are unpacked.
const FIRST_PACKAGE: &str = "base-files";

/// Unpacks every package's files, so that the target's own dpkg can run; then lets that dpkg install the same packages
/// properly, in one go, with their maintainer scripts. The result is what `mmdebstrap --variant=custom` makes of the
/// same packages, apart from logs, caches and times.
///
/// # Errors
/// [`BaseError`]; a script that fails is named with its package and output.
pub fn bootstrap(request: &BaseRequest<'_>, work: Work<'_>) -> Result<BaseReport, BaseError> {
    let root = open_empty(request.root)?;
    let started = Instant::now();
    layout::prepare(&root, request.arch)?;
    unpack_all(request, request.root, FIRST_PACKAGE, work)?;
    layout::make_devices(&root)?;
    let unpack = started.elapsed();
    let started = Instant::now();
    configure_all(request, work)?;
    remove_traces(&root)?;
    layout::make_lock_directory(&root)?;
    Ok(BaseReport {
        unpack,
        configure: started.elapsed(),
        warnings: Vec::new(),
    })
}

/// Lets the target's dpkg install all packages in one transaction.
fn configure_all(request: &BaseRequest<'_>, work: Work<'_>) -> Result<(), BaseError> {
    let mut spec = SandboxSpec::new(request.root);
    spec.helper = request.helper.to_owned();
    spec.env = dpkg::environment(request.epoch);
    spec.files.push(dpkg::policy());
    spec.files.push(sandbox::machine_id(Path::new("/")));
    // dpkg syncs its journal after every step; in memory that costs nothing, and a base whose installation was
    // interrupted is discarded anyhow.
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
    let mut transcript = Transcript::new(work.progress, "Configure base", request.packages.len() as u64);
    let result = Sandbox::new(spec).run(
        &Command::new(argv).with_status(),
        &mut |line| {
            work.progress.detail(line);
            transcript.line(line);
        },
        work.cancel,
    );
    match (result, transcript.failures().first()) {
        (Ok(_), _) => Ok(()),
        (Err(SandboxError::Cancelled(cancelled)), _) => Err(cancelled.into()),
        (Err(_), Some(failure)) => Err(BaseError::Script(Box::new(failure.clone()))),
        (Err(error), None) => Err(error.into()),
    }
}
