//! The mounting side's handle on a server.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, BufReader};
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command as Process, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::protocol::{Command, Event, ServeRequest, Stats, receive, send};
use super::tenant::Tenant;
use super::{CHILD_COMMAND, PROCESS_NAME};
use crate::durable::PathError;
use crate::mount::{Attached, MountError};

/// The longest wait for a server to end after its mount is gone.
const END_TIME: Duration = Duration::from_millis(2000);

/// A running server. Dropped, it is ended; [`ServerProcess::detach`] leaves it running.
#[derive(Debug)]
pub struct ServerProcess<T: Tenant> {
    child: Option<Child>,
    socket: UnixStream,
    lines: BufReader<UnixStream>,
    layers: Vec<String>,
    tenant: PhantomData<T>,
}

impl<T: Tenant> ServerProcess<T> {
    /// Starts `program` as a server for `device` and waits until it answers. ps(1) shows `title`. Its messages go to the end of the file
    /// `log`, or to our own standard error.
    ///
    /// # Errors
    /// [`MountError::Server`] with the reason it gives, or if it cannot be started.
    pub fn start(
        program: &Path,
        device: OwnedFd,
        title: &str,
        request: &ServeRequest<T>,
        log: Option<&Path>,
    ) -> Result<Self, MountError> {
        let talk = |error: io::Error| failed(format!("cannot talk to it: {error}"));
        let (socket, theirs) = UnixStream::pair().map_err(talk)?;
        let errors = match log {
            None => Stdio::inherit(),
            Some(path) => OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o600)
                .open(path)
                .map_err(PathError::on("open", path))?
                .into(),
        };
        let child = Process::new(program)
            .arg0(PROCESS_NAME)
            .args([CHILD_COMMAND, title])
            .stdin(Stdio::from(device))
            .stdout(Stdio::from(OwnedFd::from(theirs)))
            .stderr(errors)
            .spawn()
            .map_err(PathError::on("start", program))?;
        let mut server = Self {
            child: Some(child),
            lines: BufReader::new(socket.try_clone().map_err(talk)?),
            socket,
            layers: Vec::new(),
            tenant: PhantomData,
        };
        send(&server.socket, request).map_err(talk)?;
        match server.receive()? {
            Event::Ready { layers } => server.layers = layers,
            Event::Failed { message, hint } => return Err(MountError::Server { message, hint }),
            event @ (Event::Mounted | Event::Stats { .. }) => return Err(unexpected(&event)),
        }
        Ok(server)
    }

    /// Returns the names of its layers, the topmost first.
    pub fn layers(&self) -> &[String] {
        &self.layers
    }

    /// Returns its process id.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Tells the server its mount point, so that it can unmount itself on SIGTERM.
    ///
    /// # Errors
    /// If it has ended.
    pub fn mounted(&mut self, mount: &Attached) -> Result<(), MountError> {
        let command = Command::Mounted {
            mount_point: mount.mount_point().to_owned(),
            id: mount.id(),
        };
        match self.ask(&command)? {
            Event::Mounted => Ok(()),
            event => Err(unexpected(&event)),
        }
    }

    /// Returns its statistics so far.
    ///
    /// # Errors
    /// If it has ended.
    pub fn stats(&mut self) -> Result<Stats<T::Stats>, MountError> {
        match self.ask(&Command::Stats)? {
            Event::Stats { stats } => Ok(stats),
            event => Err(unexpected(&event)),
        }
    }

    /// Returns whether it has ended.
    ///
    /// # Errors
    /// If its state cannot be read.
    pub fn has_ended(&mut self) -> io::Result<bool> {
        match &mut self.child {
            Some(child) => Ok(child.try_wait()?.is_some()),
            None => Ok(false),
        }
    }

    /// Leaves it running after this process; it must have been started with [`super::Lifetime::Mount`].
    pub fn detach(mut self) {
        self.child = None;
    }

    fn ask(&mut self, command: &Command) -> Result<Event<T::Stats>, MountError> {
        send(&self.socket, command).map_err(|error| failed(format!("cannot talk to it: {error}")))?;
        self.receive()
    }

    fn receive(&mut self) -> Result<Event<T::Stats>, MountError> {
        match receive(&mut self.lines) {
            Ok(Some(event)) => Ok(event),
            Ok(None) => Err(failed("it ended unexpectedly; see its messages".to_owned())),
            Err(error) => Err(failed(format!("cannot understand it: {error}"))),
        }
    }
}

impl<T: Tenant> Drop for ServerProcess<T> {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        // Its mount is gone by now, or it sees our end close: either way it ends by itself.
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        let deadline = Instant::now() + END_TIME;
        while Instant::now() < deadline {
            match child.try_wait() {
                Ok(None) => thread::sleep(Duration::from_millis(2)),
                Ok(Some(_)) | Err(_) => return,
            }
        }
        tracing::warn!("the mount server (pid {}) does not end: killing it", child.id());
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn failed(message: String) -> MountError {
    MountError::Server { message, hint: None }
}

fn unexpected<S: fmt::Debug>(event: &Event<S>) -> MountError {
    failed(format!(
        "it sent an unexpected answer ({event:?}); this is a bug in oic"
    ))
}
