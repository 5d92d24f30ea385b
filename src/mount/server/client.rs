//! The mounting side's handle on a server.

use std::fs::OpenOptions;
use std::io::{self, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command as Process, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::child::{receive, send};
use super::{CHILD_COMMAND, Command, END_MILLISECONDS, Event, ServeRequest, Stats};
use crate::durable::PathError;
use crate::mount::{Attached, MountError};

/// A running server. Dropped, it is ended; [`Server::detach`] leaves it alone.
#[derive(Debug)]
pub struct Server {
    child: Option<Child>,
    socket: UnixStream,
    lines: BufReader<UnixStream>,
    layers: Vec<String>,
}

impl Server {
    /// Starts `program` as a server for `device` and waits until it answers. Its messages go to
    /// the end of the file `log`, or where ours go.
    ///
    /// # Errors
    /// [`MountError::Server`] with the reason it gives, or if it cannot be started.
    pub fn start(
        program: &Path,
        device: OwnedFd,
        request: &ServeRequest,
        log: Option<&Path>,
    ) -> Result<Self, MountError> {
        let talk = |error: io::Error| failed(format!("cannot talk to it: {error}"));
        let (socket, theirs) = UnixStream::pair().map_err(talk)?;
        let errors = match log {
            None => Stdio::inherit(),
            Some(path) => OpenOptions::new()
                .append(true)
                .create(true)
                .open(path)
                .map_err(PathError::on("open", path))?
                .into(),
        };
        let child = Process::new(program)
            .arg(CHILD_COMMAND)
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
        };
        send(&server.socket, request).map_err(talk)?;
        match server.receive()? {
            Event::Ready { layers } => server.layers = layers,
            Event::Failed { message, hint } => return Err(MountError::Server { message, hint }),
            Event::Mounted | Event::Stats { .. } => return Err(out_of_turn()),
        }
        Ok(server)
    }

    /// The names of its layers, the topmost first.
    pub fn layers(&self) -> &[String] {
        &self.layers
    }

    /// Its process id.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Tells it where its file system is visible, for the case that it gets a SIGTERM.
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
            _ => Err(out_of_turn()),
        }
    }

    /// What it has done so far.
    ///
    /// # Errors
    /// If it has ended.
    pub fn stats(&mut self) -> Result<Stats, MountError> {
        match self.ask(&Command::Stats)? {
            Event::Stats { stats } => Ok(stats),
            _ => Err(out_of_turn()),
        }
    }

    /// Whether it has ended.
    ///
    /// # Errors
    /// If that cannot be found out.
    pub fn has_ended(&mut self) -> io::Result<bool> {
        match &mut self.child {
            Some(child) => Ok(child.try_wait()?.is_some()),
            None => Ok(false),
        }
    }

    /// Lets it run on after this process; it must have been started with [`super::Lifetime::Mount`].
    pub fn detach(mut self) {
        self.child = None;
    }

    fn ask(&mut self, command: &Command) -> Result<Event, MountError> {
        send(&self.socket, command).map_err(|error| failed(format!("cannot talk to it: {error}")))?;
        self.receive()
    }

    fn receive(&mut self) -> Result<Event, MountError> {
        match receive(&mut self.lines) {
            Ok(Some(event)) => Ok(event),
            Ok(None) => Err(failed("it ended unexpectedly; see its messages".to_owned())),
            Err(error) => Err(failed(format!("cannot understand it: {error}"))),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        // Its mount is gone by now, or it sees our end close: either way it ends by itself.
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        let deadline = Instant::now() + Duration::from_millis(END_MILLISECONDS);
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

fn out_of_turn() -> MountError {
    failed("it spoke out of turn".to_owned())
}
