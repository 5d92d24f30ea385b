//! The common parts of both FUSE adapters: the connection to the kernel, the counters, and the answers that take more
//! than a line.

pub(super) mod attr;
pub(super) mod counters;
pub(super) mod inode_flags;
mod polling;
pub(super) mod workers;

use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use fuser::{Config, Filesystem, INodeNo, KernelConfig, Notifier, ReplyData, ReplyXattr, Request, Session, SessionACL};
use serde::{Deserialize, Serialize};

pub use self::counters::Counts;
use self::counters::{Counters, count};
use self::polling::Polling;
use crate::overlay::layer::{Errno, LayerError, LayerResult};

/// The time for which the kernel may remember an answer: about 30 years, which is "for good" and far from any
/// overflow.
pub(super) const FOREVER: Duration = Duration::from_secs(1_000_000_000);
/// The largest read or write, in bytes; the kernel's own limit is 256 pages unless raised (`fs.fuse.max_pages_limit`).
pub(super) const MAX_READ_BYTES: u32 = 1024 * 1024;
/// Requests (read-ahead) in flight; enough to keep workers busy while pages are used.
const MAX_BACKGROUND: u16 = 64;
/// The entries that every listing begins with. Their offsets are 1 and 2; a layer's cookies follow.
pub(super) const DOTS: [&str; 2] = [".", ".."];
/// The offset behind these entries.
pub(super) const DOT_ENTRIES: u64 = DOTS.len() as u64;

/// Options of a server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServeOptions {
    /// Threads that answer the kernel. One is enough, since workers do slow work, and only a single thread polls for
    /// requests instead of sleeping (`adapter::polling`).
    pub threads: usize,
    /// Threads per layer for reads that have to wait.
    pub workers: usize,
    /// Whether to answer every user, not only the one that mounted.
    pub allow_other: bool,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            threads: 1,
            workers: 8,
            allow_other: false,
        }
    }
}

/// A server whose connection is set up; it answers only once [`Server::run`] is called.
pub struct Server<F: Filesystem> {
    session: Session<F>,
    counters: Arc<Counters>,
}

impl<F: Filesystem> fmt::Debug for Server<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

impl<F: Filesystem> Server<F> {
    /// Answers the kernel's `FUSE_INIT` on `device`, a `/dev/fuse` descriptor that belongs to a mount. `counters` are
    /// those of the desk of `file_system`.
    ///
    /// # Errors
    /// If the kernel hung up or lacks what is needed.
    pub(super) fn start(
        device: OwnedFd,
        options: &ServeOptions,
        file_system: F,
        counters: Arc<Counters>,
    ) -> io::Result<Self> {
        let mut config = Config::default();
        config.n_threads = Some(options.threads.max(1));
        config.clone_fd = true;
        let acl = if options.allow_other {
            SessionACL::All
        } else {
            SessionACL::Owner
        };
        let session = Session::from_fd(file_system, device, acl, config)?;
        Ok(Self { session, counters })
    }

    /// Returns a reader for the counters, for another thread.
    pub fn counts(&self) -> CountsReader {
        CountsReader(Arc::clone(&self.counters))
    }

    /// Returns a channel through which the server can send the kernel data that it has not requested.
    pub(super) fn notifier(&self) -> Notifier {
        self.session.notifier()
    }

    /// Answers requests until the file system is unmounted everywhere.
    ///
    /// # Errors
    /// If the connection breaks in another way.
    pub fn run(self) -> io::Result<()> {
        self.session.run()
    }
}

/// Reads a server's counters while it runs.
#[derive(Debug, Clone)]
pub struct CountsReader(Arc<Counters>);

impl CountsReader {
    /// Returns the counters as they are now.
    pub fn read(&self) -> Counts {
        self.0.counts()
    }
}

/// Sets the limits of a connection. (The setters answer with the nearest valid value; these values are valid.)
pub(super) fn set_limits(config: &mut KernelConfig) {
    let _ = config.set_max_write(MAX_READ_BYTES);
    let _ = config.set_max_background(MAX_BACKGROUND);
}

/// A request, as the log names it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    /// The kernel's number for the request.
    id: u64,
    operation: &'static str,
    ino: INodeNo,
}

impl Call {
    /// Returns the name of `request`, which asks for `operation` on `ino`.
    pub(super) fn of(request: &Request, operation: &'static str, ino: INodeNo) -> Self {
        Self {
            id: request.unique().0,
            operation,
            ino,
        }
    }
}

/// Counts and logs `error` if a person should know it; errors that programs provoke all the time are left out.
/// Returns it in the kernel's form.
pub(super) fn fail(counters: &Counters, call: Call, error: &LayerError) -> fuser::Errno {
    if matches!(
        error.errno,
        Errno::IO | Errno::STALE | Errno::NOSPC | Errno::MFILE | Errno::NFILE | Errno::OVERFLOW
    ) {
        count(&counters.errors, 1);
        let Call { id, operation, ino } = call;
        tracing::warn!(request = id, operation, inode = ino.0, "{operation} fails: {error}");
    }
    fuser::Errno::from_i32(error.errno.raw_os_error())
}

/// Fills a buffer of `length` bytes by `fill`, which returns how many it has filled, and replies. Runs on any thread.
pub(super) fn read(
    counters: &Counters,
    call: Call,
    length: usize,
    reply: ReplyData,
    fill: impl FnOnce(&mut [u8]) -> LayerResult<usize>,
) {
    thread_local! {
        static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    BUFFER.with_borrow_mut(|buffer| {
        if buffer.len() < length {
            buffer.resize(length, 0);
        }
        let Some(part) = buffer.get_mut(..length) else {
            return reply.error(fuser::Errno::EIO);
        };
        match fill(part) {
            Ok(given) => {
                count(&counters.read_bytes, given as u64);
                reply.data(part.get(..given).unwrap_or_default());
            }
            Err(error) => reply.error(fail(counters, call, &error)),
        }
    });
}

/// Joins names in the form of listxattr(2): each ended by a NUL.
pub(super) fn joined(names: &[OsString]) -> Vec<u8> {
    let mut all = Vec::new();
    for name in names {
        all.extend_from_slice(name.as_encoded_bytes());
        all.push(0);
    }
    all
}

/// Returns those of `.` and `..` that lie behind `offset` in a listing, with the offset behind each.
pub(super) fn dots_behind(offset: u64) -> impl Iterator<Item = (u64, &'static OsStr)> {
    let dots = (1..).zip(DOTS.map(OsStr::new));
    dots.filter(move |(next, _)| *next > offset)
}

/// The entry point of a connection's requests: counts them and reports failures.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) counters: Arc<Counters>,
    polling: Polling,
}

impl Desk {
    /// Opens the desk of the connection `device`.
    ///
    /// # Errors
    /// If the descriptor cannot be duplicated or no thread be started.
    pub(super) fn open(device: &OwnedFd, options: &ServeOptions) -> io::Result<Self> {
        Ok(Self {
            counters: Arc::default(),
            polling: Polling::new(device, options.threads)?,
        })
    }

    /// Records that a request has come; to be called on the thread that reads them.
    pub(super) fn noticed(&self) {
        self.polling.noticed();
    }

    /// Records that a request has come, of the kind that `counter` counts.
    pub(super) fn asked(&self, counter: &AtomicU64) {
        count(counter, 1);
        self.noticed();
    }

    /// Reports `error`, as [`fail`] does.
    pub(super) fn fail(&self, call: Call, error: &LayerError) -> fuser::Errno {
        fail(&self.counters, call, error)
    }

    /// Answers a request for the value of an attribute, or for a list of names: the length if `size` is 0, else the
    /// value if it fits into `size` bytes (getxattr(2)).
    pub(super) fn reply_xattr(&self, call: Call, size: u32, value: LayerResult<Vec<u8>>, reply: ReplyXattr) {
        self.asked(&self.counters.xattrs);
        match value {
            Err(error) => reply.error(self.fail(call, &error)),
            Ok(value) => match u32::try_from(value.len()) {
                Ok(length) if size == 0 => reply.size(length),
                Ok(length) if length <= size => reply.data(&value),
                _ => reply.error(fuser::Errno::ERANGE),
            },
        }
    }
}
