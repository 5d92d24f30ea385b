//! The writable FUSE adapter: shows an [`Overlay`] through `fuser`, nothing else.
//!
//! All changes come through the mount, so the kernel may keep what it was told for good; it
//! knows itself what its own requests change. `open` and `opendir` cost no message, because there
//! are no handles: the overlay finds the content of a node when it is asked for. That also
//! means that no file is ever opened with passthrough, so there is no backing file in the kernel through
//! which a write could reach anything but the upper (`docs/decisions/0009-fuse-engine.md`).
//!
//! Permissions, locks, and `O_TRUNC` (a `SETATTR`) are the kernel's business. Set-id bits are ours
//! (`FUSE_HANDLE_KILLPRIV_V2`), which saves a request per `write`.

mod convert;
mod filesystem;
mod groups;
mod pressure;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use fuser::{Config, Generation, INodeNo, ReplyEmpty, ReplyEntry, ReplyXattr, Request, Session, SessionACL};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use self::convert::{attr, caller};
use self::pressure::Pressure;
use super::lower::counters::{Counters, count};
use super::lower::workers::Workers;
use super::lower::{CountsReader, FOREVER, LowerOptions};
use super::polling::Polling;
use crate::overlay::layer::{Errno, LayerError, LayerResult};
use crate::overlay::{Ino, NewMode, NewNode, Overlay, Stat};

/// A server that took up the connection, but answers only once [`Server::run`] is called.
pub struct Server {
    session: Session<Cow>,
    counters: Arc<Counters>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

impl Server {
    /// Answers the kernel's `FUSE_INIT` on `device`, a `/dev/fuse` descriptor that belongs to a mount. With
    /// `volatile`, nothing is synced.
    ///
    /// # Errors
    /// If the kernel hung up or lacks what is needed.
    pub fn new(device: OwnedFd, overlay: Overlay, volatile: bool, options: &LowerOptions) -> io::Result<Self> {
        let counters = Arc::<Counters>::default();
        let cow = Cow {
            overlay: Arc::new(overlay),
            workers: Workers::new(options.workers),
            volatile,
            counters: Arc::clone(&counters),
            polling: Polling::new(&device, options.threads)?,
            pressure: Pressure::new(),
        };
        let mut config = Config::default();
        config.n_threads = Some(options.threads.max(1));
        config.clone_fd = true;
        let acl = match options.allow_other {
            true => SessionACL::All,
            false => SessionACL::Owner,
        };
        let session = Session::from_fd(cow, device, acl, config)?;
        Ok(Self { session, counters })
    }

    /// A reader for the counters, for another thread.
    pub fn counts(&self) -> CountsReader {
        CountsReader(Arc::clone(&self.counters))
    }

    /// Answers requests until the file system is unmounted everywhere.
    ///
    /// # Errors
    /// If the connection breaks in another way.
    pub fn run(self) -> io::Result<()> {
        self.session.run()
    }
}

/// Sets up a process for serving: one descriptor is open per directory of the upper that the kernel
/// remembers, and the kernel has applied the umask of whoever creates something.
pub fn prepare_process() {
    rustix::process::umask(rustix::fs::Mode::empty());
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(errno) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!("cannot raise the limit of open files: {errno}");
    }
}

#[derive(Debug)]
struct Cow {
    overlay: Arc<Overlay>,
    workers: Workers,
    volatile: bool,
    counters: Arc<Counters>,
    polling: Polling,
    pressure: Pressure,
}

/// Counts and logs what a person should know; what programs ask for all the time is no news.
fn fail(counters: &Counters, request: &str, ino: INodeNo, error: &LayerError) -> fuser::Errno {
    if matches!(
        error.errno,
        Errno::IO | Errno::STALE | Errno::NOSPC | Errno::MFILE | Errno::NFILE
    ) {
        count(&counters.errors, 1);
        tracing::warn!(inode = ino.0, "{request} fails: {error}");
    }
    fuser::Errno::from_i32(error.errno.raw_os_error())
}

impl Cow {
    /// A request has come, of a kind that is counted.
    fn asked(&self, counter: &AtomicU64) {
        count(counter, 1);
        self.polling.noticed();
    }

    fn fail(&self, request: &str, ino: INodeNo, error: &LayerError) -> fuser::Errno {
        fail(&self.counters, request, ino, error)
    }

    fn reply_entry(&self, request: &str, parent: INodeNo, made: LayerResult<Stat>, reply: ReplyEntry) {
        match made {
            Ok(stat) => reply.entry(&FOREVER, &attr(&stat), Generation(stat.generation)),
            Err(error) => reply.error(self.fail(request, parent, &error)),
        }
    }

    fn reply_empty(&self, request: &str, ino: INodeNo, done: LayerResult<()>, reply: ReplyEmpty) {
        match done {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(self.fail(request, ino, &error)),
        }
    }

    /// Changes something about `ino`: here, or on a worker if it has to be copied up first and is large.
    fn change(&self, ino: INodeNo, work: impl FnOnce(&Overlay, &Counters) + Send + 'static) {
        self.asked(&self.counters.changes);
        if self.overlay.is_slow_to_change(Ino(ino.0)) {
            let (overlay, counters) = (Arc::clone(&self.overlay), Arc::clone(&self.counters));
            self.workers.run(move || work(&overlay, &counters));
        } else {
            work(&self.overlay, &self.counters);
        }
    }

    /// As [`Self::change`], answered with success or an error.
    fn change_and_reply(
        &self,
        request: &'static str,
        ino: INodeNo,
        reply: ReplyEmpty,
        work: impl FnOnce(&Overlay) -> LayerResult<()> + Send + 'static,
    ) {
        self.change(ino, move |overlay, counters| match work(overlay) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(fail(counters, request, ino, &error)),
        });
    }

    fn create_node(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        node: NewNode<'_>,
        (mode, umask): (u32, u32),
    ) -> LayerResult<Stat> {
        self.asked(&self.counters.changes);
        let mode = NewMode {
            permissions: mode & 0o7777,
            umask,
        };
        self.overlay.create(caller(request), Ino(parent.0), name, node, mode)
    }

    fn reply_xattr(&self, ino: INodeNo, size: u32, value: LayerResult<Vec<u8>>, reply: ReplyXattr) {
        self.asked(&self.counters.xattrs);
        match value {
            Err(error) => reply.error(self.fail("getxattr", ino, &error)),
            Ok(value) => match u32::try_from(value.len()) {
                Ok(length) if size == 0 => reply.size(length),
                Ok(length) if length <= size => reply.data(&value),
                _ => reply.error(fuser::Errno::ERANGE),
            },
        }
    }
}
