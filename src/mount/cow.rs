//! The writable FUSE adapter: shows an [`Overlay`] through `fuser`, nothing else.
//!
//! All changes come through the mount, so the kernel may keep every answer for good; it applies its own requests to
//! its caches, except for set-id bits: it requests the mode of a file that has some each time
//! ([`convert::lifetime`]). `open` and `opendir` cost no message, because there are no handles: the overlay finds the
//! content of a node at each request. That also means that no file is ever opened with passthrough, so there is no
//! backing file in the kernel through which a write could reach anything but the upper
//! (`docs/decisions/0009-fuse-engine.md`).
//!
//! Permissions, locks, and `O_TRUNC` (a `SETATTR`) are left to the kernel. Set-id bits are ours
//! (`FUSE_HANDLE_KILLPRIV_V2`), which saves a request per `write`.

mod content;
mod control;
mod convert;
mod credentials;
mod direct;
mod filesystem;
mod pressure;
#[cfg(test)]
mod tests;
mod view;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use fuser::{Generation, INodeNo, ReplyEmpty, ReplyEntry};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use self::convert::{attr, lifetime};
use self::direct::Direct;
use self::pressure::Pressure;
pub(super) use self::view::View;
use super::adapter::counters::Counters;
use super::adapter::workers::Workers;
use super::adapter::{Call, Desk, FOREVER, ServeOptions, Server, fail};
use crate::overlay::layer::LayerResult;
use crate::overlay::{Ino, Overlay, Stat};

/// Takes over the connection `device`, a `/dev/fuse` descriptor that belongs to a mount, for showing `overlay`. With
/// `volatile`, nothing is synced. The view wants to know the mount.
///
/// # Errors
/// If the kernel hung up or lacks what is needed.
pub(super) fn server(
    device: OwnedFd,
    overlay: Overlay,
    volatile: bool,
    options: &ServeOptions,
) -> io::Result<(Server<Cow>, Arc<View>)> {
    let desk = Desk::open(&device, options)?;
    let counters = Arc::clone(&desk.counters);
    // A full disk must not keep an upper from being looked at.
    let alignment = overlay.direct_alignment().unwrap_or_else(|error| {
        tracing::debug!("direct I/O is not checked: {error}");
        1
    });
    let direct = Arc::new(Direct::new(alignment, options.workers));
    let view = Arc::new(View::new());
    let cow = Cow {
        overlay: Arc::new(overlay),
        workers: Workers::new(options.workers),
        volatile,
        desk,
        pressure: Pressure::new(),
        direct: Arc::clone(&direct),
        view: Arc::clone(&view),
    };
    let server = Server::start(device, options, cow, counters)?;
    direct.connect(server.notifier());
    Ok((server, view))
}

/// Sets up a process for serving. Raises the limit of open files, since one descriptor is open per directory of the
/// upper that the kernel remembers, and clears the umask, which the kernel has applied already.
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

/// The file system of one mount.
#[derive(Debug)]
pub(super) struct Cow {
    overlay: Arc<Overlay>,
    workers: Workers,
    volatile: bool,
    desk: Desk,
    pressure: Pressure,
    direct: Arc<Direct>,
    view: Arc<View>,
}

/// Replies with the node of a name.
fn enter(stat: &Stat, reply: ReplyEntry) {
    reply.entry_with_ttls(&lifetime(stat), &FOREVER, &attr(stat), Generation(stat.generation));
}

impl Cow {
    /// Returns the values that a job on another thread needs.
    fn shared(&self) -> (Arc<Overlay>, Arc<Counters>) {
        (Arc::clone(&self.overlay), Arc::clone(&self.desk.counters))
    }

    fn reply_entry(&self, call: Call, made: LayerResult<Stat>, reply: ReplyEntry) {
        match made {
            Ok(stat) => enter(&stat, reply),
            Err(error) => reply.error(self.desk.fail(call, &error)),
        }
    }

    fn reply_empty(&self, call: Call, done: LayerResult<()>, reply: ReplyEmpty) {
        match done {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(self.desk.fail(call, &error)),
        }
    }

    /// Changes something about `ino`: here, or on a worker if it has to be copied up first and is large.
    fn change(&self, ino: INodeNo, work: impl FnOnce(&Overlay, &Counters) + Send + 'static) {
        self.desk.asked(&self.desk.counters.changes);
        if self.overlay.is_slow_to_change(Ino(ino.0)) {
            let (overlay, counters) = self.shared();
            self.workers.run(move || work(&overlay, &counters));
        } else {
            work(&self.overlay, &self.desk.counters);
        }
    }

    /// Changes something as [`Self::change`] does, and replies with success or an error.
    fn change_and_reply(
        &self,
        call: Call,
        ino: INodeNo,
        reply: ReplyEmpty,
        work: impl FnOnce(&Overlay) -> LayerResult<()> + Send + 'static,
    ) {
        self.change(ino, move |overlay, counters| match work(overlay) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(fail(counters, call, &error)),
        });
    }
}
