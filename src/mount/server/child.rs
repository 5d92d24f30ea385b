//! The server's side.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::serving::Serving;
use super::{Command, Event, LayerRequest, Lifetime, OpenFailure, OpenedLayers, ServeRequest, Stats, inquiry};
use crate::durable::{self, FileLock};
use crate::mount::lower::CountsReader;
use crate::mount::table;

/// How long to wait after unmounting for requests in flight; a busy mount is detached by then.
const DRAIN_TIME: Duration = Duration::from_millis(500);

/// The main function of the server process: call it, with its only thread, when the first argument is
/// [`super::CHILD_COMMAND`]. `open_layers` opens what is asked for. Returns when the mount is gone.
pub fn child_main(open_layers: impl FnOnce(&LayerRequest) -> Result<OpenedLayers, OpenFailure>) -> ExitCode {
    match serve(open_layers) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("the mount server ends: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(open_layers: impl FnOnce(&LayerRequest) -> Result<OpenedLayers, OpenFailure>) -> io::Result<()> {
    let (device, socket) = take_descriptors()?;
    // A session of its own: Ctrl-C on the caller's terminal is the caller's business.
    let _ = rustix::process::setsid();
    std::env::set_current_dir("/")?;

    let mut lines = BufReader::new(socket.try_clone()?);
    let Some(request) = receive::<ServeRequest>(&mut lines)? else {
        return Ok(());
    };
    let opened = hold(request.lock.as_deref()).and_then(|lock| {
        let opened = open_layers(&request.layers)?;
        let names = opened.layers.iter().map(|(name, _)| name.clone()).collect();
        let server = Serving::new(device, opened.layers, &request)?;
        Ok((server, names, (opened.stats, opened.finish), lock))
    });
    let (server, layers, (layer_stats, finish), _lock) = match opened {
        Ok(opened) => opened,
        Err(OpenFailure { message, hint }) => return send(&socket, &Event::Failed { message, hint }),
    };

    let control = Arc::new(Control {
        state: Mutex::default(),
        changed: Condvar::new(),
        counts: server.counts(),
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
    send(&socket, &Event::Ready { layers })?;
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

/// Takes the lock that says that an upper is in use.
fn hold(lock: Option<&Path>) -> Result<Option<FileLock>, OpenFailure> {
    let Some(path) = lock else {
        return Ok(None);
    };
    match FileLock::try_exclusive(path) {
        Ok(Some(lock)) => Ok(Some(lock)),
        Ok(None) => Err(OpenFailure {
            message: format!(
                "the writable layer is in use by another mount or build ({})",
                path.display()
            ),
            hint: Some("wait for it, or unmount it".to_owned()),
        }),
        Err(error) => Err(OpenFailure {
            message: error.to_string(),
            hint: None,
        }),
    }
}

fn spawn(name: &str, control: &Arc<Control>, work: impl FnOnce(&Control) + Send + 'static) -> io::Result<()> {
    let control = Arc::clone(control);
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || work(&control))
        .map(drop)
}

/// Takes descriptors 0 and 1 for our own and puts `/dev/null` in their place.
fn take_descriptors() -> io::Result<(OwnedFd, UnixStream)> {
    let device = io::stdin().as_fd().try_clone_to_owned()?;
    let socket = UnixStream::from(io::stdout().as_fd().try_clone_to_owned()?);
    let null = File::options().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    Ok((device, socket))
}

/// Reads one value; `None` when the other side has closed.
pub(super) fn receive<T: serde::de::DeserializeOwned>(lines: &mut impl BufRead) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    if lines.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&line)?))
}

/// Sends one value.
pub(super) fn send(mut socket: &UnixStream, value: &impl serde::Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    socket.write_all(&line)
}

/// What the threads of a server share.
struct Control {
    state: Mutex<State>,
    changed: Condvar,
    counts: CountsReader,
    layer_stats: Box<dyn Fn() -> serde_json::Value + Send + Sync>,
    finish: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    scratch: Option<PathBuf>,
}

#[derive(Default)]
struct State {
    /// Where the file system is visible, and the number of that mount.
    mounted: Option<(PathBuf, u64)>,
    /// The kernel has hung up.
    served: bool,
}

impl Control {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what the caller says until it closes its end.
    fn obey(self: &Arc<Self>, mut lines: impl BufRead, socket: &UnixStream) -> io::Result<()> {
        while let Some(command) = receive::<Command>(&mut lines)? {
            match command {
                Command::Mounted { mount_point, id } => {
                    self.lock().mounted = Some((mount_point, id));
                    self.answer_inquiries(id);
                    send(socket, &Event::Mounted)?;
                }
                Command::Stats => {
                    let stats = self.stats();
                    send(socket, &Event::Stats { stats })?;
                }
            }
        }
        Ok(())
    }

    fn stats(&self) -> Stats {
        Stats {
            requests: self.counts.read(),
            layers: (self.layer_stats)(),
        }
    }

    /// Tells its counters to whoever asks at the mount with this id.
    fn answer_inquiries(self: &Arc<Self>, id: u64) {
        let started = inquiry::listen(id).and_then(|listener| {
            spawn("oic-inquiry", self, move |control| {
                inquiry::answer(&listener, || control.stats());
            })
        });
        if let Err(error) = started {
            tracing::warn!("nobody can ask for the counters of this mount: {error}");
        }
    }

    /// Lets the layers do what they do last. Two threads may come here; the process must not end before it is done.
    fn finish(&self) {
        let mut finish = self.finish.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(finish) = finish.take() {
            finish();
            if let Some(Err(error)) = self.scratch.as_deref().map(durable::remove_tree) {
                tracing::warn!("{error}");
            }
        }
    }

    /// Unmounts and ends the process; what is in flight has [`DRAIN_TIME`].
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
