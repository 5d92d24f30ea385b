//! Statistics of a server for programs that did not start it.
//!
//! It listens on an abstract socket (unix(7)) named after the device number of its file system, so nothing stays behind
//! when it ends. The number is the same in every mount namespace, in contrast to the id of a mount.
//! A program that connects gets one [`Stats`] as JSON. Both sides check the user at the other end: only root and the
//! server's own user are answered and believed.

use std::io::{self, BufReader};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::protocol::{Stats, receive, send};
use crate::mount::MountError;
use crate::mount::table::{self, Mount};

/// The longest wait for the other side.
const PATIENCE: Duration = Duration::from_secs(5);

/// The interval at which the end of a server is checked.
const END_POLL: Duration = Duration::from_millis(5);

/// The interval at which it is checked, meanwhile, whether the server can still end.
const LOOK_INTERVAL: Duration = Duration::from_millis(300);

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
        let started = Process::read(pid)?.started;
        (is_trusted(&socket).ok()?).then_some(Self { pid, started })
    }

    /// Returns its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns whether it has ended, and released its locks and its file system.
    pub fn has_ended(&self) -> bool {
        self.process().is_none_or(|process| process.has_ended())
    }

    /// Returns whether it ends or has ended, because it returned or something killed it. It answers nothing any more,
    /// but until [`Self::has_ended`] its socket still takes connections.
    pub fn is_ending(&self) -> bool {
        self.process()
            .is_none_or(|process| process.is_ending || process.has_ended())
    }

    /// Waits until it has ended, at most for `limit` and as long as `is_possible`; returns whether it has.
    pub fn ends(&self, limit: Duration, mut is_possible: impl FnMut() -> bool) -> bool {
        let begun = Instant::now();
        let mut next_look = LOOK_INTERVAL;
        while !self.has_ended() {
            let waited = begun.elapsed();
            if waited > limit {
                return false;
            }
            if waited > next_look {
                if !is_possible() {
                    return false;
                }
                next_look = waited + LOOK_INTERVAL;
            }
            std::thread::sleep(END_POLL);
        }
        true
    }

    /// Reads what the kernel says of it; `None` if the process is gone.
    fn process(&self) -> Option<Process> {
        Process::read(self.pid).filter(|process| process.started == self.started)
    }
}

/// What proc_pid_stat(5) says of a process.
#[derive(Debug, PartialEq, Eq)]
struct Process {
    state: char,
    /// Whether its first thread has begun to end, or is about to by SIGKILL.
    is_ending: bool,
    /// The number of its threads.
    threads: u64,
    /// The time of its start, in clock ticks since the boot.
    started: u64,
}

impl Process {
    /// `PF_EXITING` of Linux' include/linux/sched.h.
    const EXITING: u64 = 4;
    /// SIGKILL in a mask of signals.
    const KILL: u64 = 1 << (libc::SIGKILL - 1);

    fn read(pid: u32) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Parses `/proc/PID/stat`; `None` if it is something else.
    fn parse(text: &str) -> Option<Self> {
        let (_, fields) = text.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        // The first of them is field 3.
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self {
            state: fields.first()?.chars().next()?,
            is_ending: number(9)? & Self::EXITING != 0 || number(31)? & Self::KILL != 0,
            threads: number(20)?,
            started: number(22)?,
        })
    }

    /// Returns whether it has closed all its files. A first thread that has ended is a zombie as long as others live.
    fn has_ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X') && self.threads <= 1
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The head and tail of a line as proc_pid_stat(5) describes it, for these flags, threads and pending signals.
    fn line(state: char, flags: u64, threads: u64, signals: u64) -> String {
        format!(
            "42 (oic) x) {state} 1 42 42 0 -1 {flags} 0 0 0 0 0 0 0 0 20 0 {threads} 0 977 0 0 0 0 0 0 0 0 {signals} 0 0\n"
        )
    }

    #[test]
    fn a_process_that_something_kills_ends_before_it_has_ended() {
        let seen = |text: &str| {
            let process = Process::parse(text).unwrap();
            assert_eq!(process.started, 977);
            (process.is_ending, process.has_ended())
        };
        assert_eq!(seen(&line('S', 0x40_0100, 9, 0)), (false, false));
        assert_eq!(seen(&line('R', 0x40_0100, 9, 0x100)), (true, false), "SIGKILL waits");
        assert_eq!(
            seen(&line('R', 0x40_0104, 9, 0)),
            (true, false),
            "its first thread exits"
        );
        assert_eq!(
            seen(&line('Z', 0x40_0104, 2, 0)),
            (true, false),
            "another thread holds its files"
        );
        assert_eq!(seen(&line('Z', 0x40_0104, 1, 0)), (true, true));
        assert_eq!(Process::parse("nonsense"), None);
    }

    #[test]
    fn a_killed_process_is_seen_to_end() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let started = Process::read(child.id()).unwrap().started;
        let server = ServerId {
            pid: child.id(),
            started,
        };
        assert!(!server.is_ending() && !server.has_ended());
        assert!(!server.ends(Duration::from_millis(20), || true));
        child.kill().unwrap();
        // At once: nothing has to run for this.
        assert!(server.is_ending());
        assert!(server.ends(PATIENCE, || true));
        child.wait().unwrap();
        assert!(server.has_ended(), "the number is free");
    }
}
