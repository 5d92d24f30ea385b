//! The limits of a process (getrlimit(2)): raised where that is allowed, and an error with a message where one is reached.

use std::error::Error;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use rustix::process::{Resource, Rlimit};
use signal_hook::consts::{SIGXCPU, SIGXFSZ};

use crate::cancel::Cancel;

/// Whether the processor time that this process may use is over.
static PROCESSOR_TIME: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Raises the soft limit of open files to the hard one: a build has hundreds of files open. Makes a write beyond the
/// limit of file size an error of that write (EFBIG); without a handler, its signal ends the process without a word.
///
/// It is called at the start of each process of oic. Programs that oic runs get the usual handlers.
pub fn prepare() {
    let files = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: files.maximum,
        maximum: files.maximum,
    };
    if let Err(error) = rustix::process::setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
    let ignored = Arc::new(AtomicBool::new(false));
    if let Err(error) = signal_hook::flag::register(SIGXFSZ, ignored) {
        tracing::debug!(%error, "a limit of file size ends the process");
    }
}

/// Makes the end of the processor time stop the work, as Ctrl-C does.
///
/// # Errors
/// If a handler cannot be registered.
pub(super) fn watch(cancel: &Cancel) -> io::Result<()> {
    signal_hook::flag::register(SIGXCPU, Arc::clone(PROCESSOR_TIME.get_or_init(Arc::default)))?;
    signal_hook::flag::register(SIGXCPU, cancel.flag())?;
    Ok(())
}

/// Returns whether the processor time that this process may use is over.
pub(super) fn is_processor_time_over() -> bool {
    PROCESSOR_TIME.get().is_some_and(|over| over.load(Ordering::Relaxed))
}

/// Returns what the user can do if `error` comes from a limit.
pub(super) fn hint(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(number) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return of_errno(number);
        }
        cause = error.source();
    }
    None
}

/// Returns the hint for an error number (errno(3)).
fn of_errno(number: i32) -> Option<&'static str> {
    match number {
        libc::EMFILE => Some("raise the limit of open files: ulimit -n, or LimitNOFILE= of a service"),
        libc::ENFILE => Some("the whole system has too many files open: raise fs.file-max (sysctl)"),
        libc::EFBIG => Some("raise the limit of file size (ulimit -f), or choose a file system that takes large files"),
        _ => None,
    }
}
