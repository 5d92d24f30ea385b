//! Statistics of a server for programs that did not start it.
//!
//! It listens on an abstract socket (unix(7)) named after the device number of its file system, so nothing stays behind
//! when it ends. The number is the same in every mount namespace, in contrast to the id of a mount.
//! A program that connects gets one [`Stats`] as JSON. Both sides check the user at the other end: only root and the
//! server's own user are answered and believed.

use std::io::{self, BufReader};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::protocol::{Stats, receive, send};
use crate::mount::MountError;
use crate::mount::table::{self, Mount};

/// The longest wait for the other side.
const PATIENCE: Duration = Duration::from_secs(5);

fn address((major, minor): (u32, u32)) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("oic-mount-{major}-{minor}"))
}

/// Returns whether the other end belongs to root or to our own user.
fn is_trusted(socket: &UnixStream) -> io::Result<bool> {
    let peer = rustix::net::sockopt::socket_peercred(socket)?;
    Ok(peer.uid.is_root() || peer.uid == rustix::process::geteuid())
}

/// Opens the socket of the mount with this id, which the caller's mount namespace has.
pub(super) fn listen(mount_id: u64) -> io::Result<UnixListener> {
    let mounts = table::mounts().map_err(io::Error::other)?;
    let mount = mounts.into_iter().find(|mount| mount.id == mount_id);
    let mount = mount.ok_or_else(|| io::Error::other("the mount is not in the table"))?;
    UnixListener::bind_addr(&address(mount.device)?)
}

/// Answers every connection to `listener`, for as long as the process lives.
pub(super) fn answer<S: Serialize>(listener: &UnixListener, stats: impl Fn() -> Stats<S>) {
    for socket in listener.incoming().flatten() {
        let answered = socket.set_write_timeout(Some(PATIENCE)).and_then(|()| {
            if is_trusted(&socket)? {
                send(&socket, &stats())?;
            }
            Ok(())
        });
        if let Err(error) = answered {
            tracing::debug!("cannot answer an inquiry: {error}");
        }
    }
}

/// A server that another process has started.
#[derive(Debug, Clone, Copy)]
pub struct ServerId {
    pid: u32,
    /// The time of its start, in clock ticks since the boot: another process may get the same number.
    started: u64,
}

impl ServerId {
    /// Finds the server of `mount` by its socket; `None` if no trustworthy process listens there.
    pub fn of(mount: &Mount) -> Option<Self> {
        let socket = connect(mount).ok()?;
        let peer = rustix::net::sockopt::socket_peercred(&socket).ok()?;
        let pid = u32::try_from(peer.pid.as_raw_pid()).ok()?;
        let (_, started) = state_and_start(pid)?;
        (is_trusted(&socket).ok()?).then_some(Self { pid, started })
    }

    /// Returns its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns whether it has ended, and released its locks.
    pub fn has_ended(&self) -> bool {
        // A zombie has closed all its files.
        state_and_start(self.pid).is_none_or(|(state, started)| started != self.started || matches!(state, 'Z' | 'X'))
    }
}

/// Reads the state of a process, and the time of its start in clock ticks since the boot (proc_pid_stat(5)).
fn state_and_start(pid: u32) -> Option<(char, u64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    // Field 22; the one before is field 3.
    Some((state, fields.nth(18)?.parse().ok()?))
}

fn connect(mount: &Mount) -> io::Result<UnixStream> {
    UnixStream::connect_addr(&address(mount.device)?)
}

/// Asks the server of `mount` for its statistics so far.
///
/// # Errors
/// [`MountError::Server`] if it does not answer, is another user's, has ended, or serves something else than an `S`
/// describes.
pub fn ask<S: DeserializeOwned>(mount: &Mount) -> Result<Stats<S>, MountError> {
    let failed = |message: String| MountError::Server { message, hint: None };
    let talk = |error: io::Error| failed(format!("it does not answer: {error}"));
    let socket = connect(mount).map_err(talk)?;
    if !is_trusted(&socket).map_err(talk)? {
        return Err(failed("another user's program has taken its place".to_owned()));
    }
    socket.set_read_timeout(Some(PATIENCE)).map_err(talk)?;
    match receive(&mut BufReader::new(&socket)) {
        Ok(Some(stats)) => Ok(stats),
        Ok(None) => Err(failed("it only answers root and the user it runs as".to_owned())),
        Err(error) => Err(talk(error)),
    }
}
