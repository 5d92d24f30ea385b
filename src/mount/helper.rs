//! Mounting without root, through `fusermount3` (fusermount3(1)), which is set-user-id: it mounts a FUSE file system
//! at a directory of the caller's, `nosuid` and `nodev`, and hands the `/dev/fuse` descriptor back through a socket.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::error::FUSERMOUNT;
use super::holders::holders;
use super::{Label, MountError, Restrictions};
use crate::durable::PathError;

/// Mounts at `mount_point` (canonical), with a source that names `label`; returns the descriptor for the server.
///
/// # Errors
/// [`MountError::Refused`] with the program's message, or the note that it is missing.
pub(super) fn mount(
    mount_point: &Path,
    restrictions: Restrictions,
    allow_other: bool,
    label: &Label,
) -> Result<OwnedFd, MountError> {
    let refused = |source: io::Error, detail: String| MountError::Refused {
        action: format!("mount at {} with {FUSERMOUNT}", mount_point.display()),
        source,
        detail,
    };
    let mut options = format!("subtype=oic,nosuid,nodev,default_permissions,fsname={}", label.source());
    if restrictions.read_only {
        options += ",ro";
    }
    if allow_other {
        options += ",allow_other";
    }
    let (ours, theirs) = UnixStream::pair().map_err(|error| refused(error, String::new()))?;
    let output = Command::new(FUSERMOUNT)
        .args(["-o", &options, "--"])
        .arg(mount_point)
        // The descriptor to which it sends the result: its own standard input.
        .env("_FUSE_COMMFD", "0")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(PathError::on("run", FUSERMOUNT))?;
    if !output.status.success() {
        return Err(refused(io::Error::from_raw_os_error(libc::EPERM), explained(&output)));
    }
    receive(&ours).map_err(|error| refused(error, explained(&output)))
}

/// Unmounts what the caller has mounted at `mount_point` through [`mount`].
///
/// # Errors
/// [`MountError::Busy`] if it is in use, [`MountError::Refused`] otherwise.
pub(super) fn unmount(mount_point: &Path, lazy: bool) -> Result<(), MountError> {
    let mut command = Command::new(FUSERMOUNT);
    command.arg("-u");
    if lazy {
        command.arg("-z");
    }
    let output = command.arg("--").arg(mount_point).stdin(Stdio::null()).output();
    let output = output.map_err(PathError::on("run", FUSERMOUNT))?;
    if output.status.success() {
        return Ok(());
    }
    let holders = holders(mount_point);
    if holders.is_empty() {
        return Err(MountError::Refused {
            action: format!("unmount {} with {FUSERMOUNT}", mount_point.display()),
            source: io::Error::from_raw_os_error(libc::EPERM),
            detail: explained(&output),
        });
    }
    Err(MountError::Busy {
        mount_point: mount_point.to_owned(),
        holders,
    })
}

/// Returns the program's message, in parentheses.
fn explained(output: &Output) -> String {
    match String::from_utf8_lossy(&output.stderr).trim() {
        "" => String::new(),
        text => format!(" ({})", text.replace('\n', "; ")),
    }
}

/// Receives the descriptor that comes with the next byte (unix(7), `SCM_RIGHTS`).
fn receive(socket: &UnixStream) -> io::Result<OwnedFd> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut byte)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let descriptor = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    descriptor.ok_or_else(|| io::Error::other("it sent no descriptor"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_is_received() {
        use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
        let (ours, theirs) = UnixStream::pair().unwrap();
        assert!(receive_of_closed().is_err());
        let file = tempfile::tempfile().unwrap();
        let descriptors = [std::os::fd::AsFd::as_fd(&file)];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)));
        sendmsg(
            &theirs,
            &[std::io::IoSlice::new(b"x")],
            &mut ancillary,
            SendFlags::empty(),
        )
        .unwrap();
        let received = receive(&ours).unwrap();
        let numbers = [rustix::fs::fstat(&file), rustix::fs::fstat(&received)].map(|stat| stat.unwrap().st_ino);
        assert_eq!(numbers[0], numbers[1]);
    }

    fn receive_of_closed() -> io::Result<OwnedFd> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        receive(&ours)
    }
}
