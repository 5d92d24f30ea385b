//! The server's side.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::inquiry;
use super::protocol::{Command, Event, Lifetime, ServeRequest, Stats, receive, send};
use super::serving::Serving;
use super::tenant::{OpenFailure, Tenant};
use crate::durable::{self, FileLock, PathError};
use crate::mount::adapter::CountsReader;
use crate::mount::cow::View;
use crate::mount::table;

/// The longest wait for requests in flight after unmounting; a busy mount is detached by then.
const DRAIN_TIME: Duration = Duration::from_millis(500);

/// The longest wait for the lock of an upper: a server that was just unmounted by another program still ends.
const RELEASE_TIME: Duration = Duration::from_secs(1);
const RELEASE_POLL: Duration = Duration::from_millis(10);

/// Runs the server process: to be called, with its only thread, when the first argument is [`super::CHILD_COMMAND`].
/// Serves the layers that a `T` requests, and returns when the mount is gone.
pub fn child_main<T: Tenant>() -> ExitCode {
    match serve::<T>() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("the mount server ends: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve<T: Tenant>() -> io::Result<()> {
    let (device, socket) = take_descriptors()?;
    // A session of its own: Ctrl-C on the caller's terminal is the caller's business.
    let _ = rustix::process::setsid();
    let _ = nix::sys::prctl::set_name(&CString::new(super::PROCESS_NAME)?);
    std::env::set_current_dir("/")?;

    let mut lines = BufReader::new(socket.try_clone()?);
    let Some(request) = receive::<ServeRequest<T>>(&mut lines)? else {
        return Ok(());
    };
    let opened = hold(request.lock.as_deref()).and_then(|lock| {
        let opened = request.layers.open()?;
        let names = opened.layers.iter().map(|(name, _)| name.clone()).collect();
        let server = Serving::new(device, opened.layers, &request.shown, &request.options)?;
        Ok((server, names, (opened.stats, opened.finish), lock))
    });
    let (server, layers, (layer_stats, finish), _lock) = match opened {
        Ok(opened) => opened,
        Err(OpenFailure { message, hint }) => return send(&socket, &Event::<T::Stats>::Failed { message, hint }),
    };

    let control = Arc::new(Control {
        state: Mutex::default(),
        changed: Condvar::new(),
        counts: server.counts(),
        view: server.view(),
        layer_stats,
        finish: Mutex::new(Some(finish)),
        scratch: request.scratch,
    });
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    spawn("oic-signals", &control, move |control| {
        if signals.forever().next().is_some() {
            control.end();
        }
    })?;
    send(&socket, &Event::<T::Stats>::Ready { layers })?;
    let lifetime = request.lifetime;
    let shared = Arc::clone(&control);
    spawn("oic-control", &control, move |control| {
        if let Err(error) = shared.obey(lines, &socket) {
            tracing::warn!("control connection: {error}");
        }
        if lifetime == Lifetime::Caller {
            control.end();
        }
    })?;
    let result = server.run();
    control.lock().served = true;
    control.changed.notify_all();
    control.finish();
    result
}

/// Tries until there is a lock or an error, or `limit` is over.
fn try_for(
    limit: Duration,
    mut attempt: impl FnMut() -> Result<Option<FileLock>, PathError>,
) -> Result<Option<FileLock>, PathError> {
    let begun = Instant::now();
    loop {
        match attempt()? {
            None if begun.elapsed() < limit => thread::sleep(RELEASE_POLL),
            taken => return Ok(taken),
        }
    }
}

/// Takes the lock that shows that an upper is in use.
fn hold(lock: Option<&Path>) -> Result<Option<FileLock>, OpenFailure> {
    let Some(path) = lock else {
        return Ok(None);
    };
    match try_for(RELEASE_TIME, || FileLock::try_exclusive(path)) {
        Ok(Some(lock)) => Ok(Some(lock)),
        Ok(None) => Err(OpenFailure {
            message: format!(
                "the writable layer is in use by another mount or build ({})",
                path.display()
            ),
            hint: Some("wait for it, or unmount it".into()),
        }),
        Err(error) => Err(OpenFailure {
            message: error.to_string(),
            hint: None,
        }),
    }
}

fn spawn<S: 'static>(
    name: &str,
    control: &Arc<Control<S>>,
    work: impl FnOnce(&Control<S>) + Send + 'static,
) -> io::Result<()> {
    let control = Arc::clone(control);
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || work(&control))
        .map(drop)
}

/// Takes over descriptors 0 and 1 and puts `/dev/null` in their place.
fn take_descriptors() -> io::Result<(OwnedFd, UnixStream)> {
    let device = io::stdin().as_fd().try_clone_to_owned()?;
    let socket = UnixStream::from(io::stdout().as_fd().try_clone_to_owned()?);
    let null = File::options().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    Ok((device, socket))
}

/// The state that the threads of a server share.
struct Control<S> {
    state: Mutex<State>,
    changed: Condvar,
    counts: CountsReader,
    view: Option<Arc<View>>,
    layer_stats: Box<dyn Fn() -> S + Send + Sync>,
    finish: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    scratch: Option<PathBuf>,
}

#[derive(Default)]
struct State {
    /// The mount point of the file system, and the number of that mount.
    mounted: Option<(PathBuf, u64)>,
    /// Whether the kernel has hung up.
    served: bool,
}

impl<S: Serialize + 'static> Control<S> {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows the caller's commands until it closes its end.
    fn obey(self: &Arc<Self>, mut lines: impl BufRead, socket: &UnixStream) -> io::Result<()> {
        while let Some(command) = receive::<Command>(&mut lines)? {
            match command {
                Command::Mounted { mount_point, id } => {
                    if let Some(view) = &self.view {
                        view.mounted(id);
                    }
                    self.lock().mounted = Some((mount_point, id));
                    self.answer_inquiries(id);
                    send(socket, &Event::<S>::Mounted)?;
                }
                Command::Stats => {
                    let stats = self.stats();
                    send(socket, &Event::Stats { stats })?;
                }
            }
        }
        Ok(())
    }

    fn stats(&self) -> Stats<S> {
        Stats {
            requests: self.counts.read(),
            layers: (self.layer_stats)(),
        }
    }

    /// Answers inquiries about the mount with this id.
    fn answer_inquiries(self: &Arc<Self>, id: u64) {
        let started = inquiry::listen(id).and_then(|listener| {
            spawn("oic-inquiry", self, move |control| {
                inquiry::answer(&listener, || control.stats());
            })
        });
        if let Err(error) = started {
            tracing::warn!("no other program can ask for the counters of this mount: {error}");
        }
    }

    /// Calls the layers' last function and removes the scratch directory, once. Two threads may call this; the
    /// process must not end before it is done.
    fn finish(&self) {
        let mut finish = self.finish.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(finish) = finish.take() {
            finish();
            if let Some(Err(error)) = self.scratch.as_deref().map(durable::remove_tree) {
                tracing::warn!("{error}");
            }
        }
    }

    /// Unmounts and ends the process; requests in flight have [`DRAIN_TIME`].
    fn end(&self) -> ! {
        let mounted = self.lock().mounted.take();
        if let Some((mount_point, id)) = mounted {
            unmount(&mount_point, id);
        }
        let waited = self
            .changed
            .wait_timeout_while(self.lock(), DRAIN_TIME, |state| !state.served);
        drop(waited);
        self.finish();
        // The main thread may be waiting for the kernel; only this ends it.
        std::process::exit(0)
    }
}

/// Unmounts the mount with this id, detaching it if it is in use.
fn unmount(mount_point: &Path, id: u64) {
    let ours = table::mount_at(mount_point).is_ok_and(|mount| mount.is_some_and(|mount| mount.id == id));
    if !ours {
        return;
    }
    if let Err(error) = table::unmount(mount_point, false) {
        tracing::warn!("{error}: detaching it");
        if let Err(error) = table::unmount(mount_point, true) {
            tracing::warn!("{error}");
        }
    }
}
