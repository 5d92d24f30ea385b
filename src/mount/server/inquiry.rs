//! A server tells what it has done to those who did not start it.
//!
//! It listens on an abstract socket (unix(7)) named after the id of its mount, so nothing
//! of it stays behind, however it ends. Whoever connects gets one [`Stats`] as JSON. Both sides look
//! at whom they talk to: only root and the server's own user are answered and believed.

use std::io::{self, BufReader};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::Duration;

use super::Stats;
use super::child::{receive, send};
use crate::mount::MountError;
use crate::mount::table::Mount;

/// How long one side waits for the other.
const PATIENCE: Duration = Duration::from_secs(5);

fn address(mount_id: u64) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("oic-mount-{mount_id}"))
}

/// Whether the other end belongs to root or to our own user.
fn is_trusted(socket: &UnixStream) -> io::Result<bool> {
    let peer = rustix::net::sockopt::socket_peercred(socket)?;
    Ok(peer.uid.is_root() || peer.uid == rustix::process::geteuid())
}

/// Opens the socket of the mount with this id.
pub(super) fn listen(mount_id: u64) -> io::Result<UnixListener> {
    UnixListener::bind_addr(&address(mount_id)?)
}

/// Answers whoever connects to `listener`, for as long as the process lives.
pub(super) fn answer(listener: &UnixListener, stats: impl Fn() -> Stats) {
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

/// What the server of `mount` has done so far.
///
/// # Errors
/// [`MountError::Server`] if it does not answer, is another user's, or has ended.
pub fn ask(mount: &Mount) -> Result<Stats, MountError> {
    let failed = |message: String| MountError::Server { message, hint: None };
    let talk = |error: io::Error| failed(format!("it does not answer: {error}"));
    let socket = address(mount.id).and_then(|address| UnixStream::connect_addr(&address));
    let socket = socket.map_err(talk)?;
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
