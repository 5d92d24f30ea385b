//! Mounts whose server has ended without unmounting them, because something killed it. Every access to one fails with
//! `ENOTCONN`, so nothing is lost when they go.

use std::fs;
use std::io;
use std::time::Duration;

use super::MountError;
use super::server::ServerId;
use super::table::{self, Mount};

/// The start of a name that no layer has.
const PROBE: &str = ".oic-probe-";

/// The longest wait for a killed server to let go of its file system.
const END_TIME: Duration = Duration::from_secs(10);

/// Returns whether the server of `mount`, one of oic's, has ended. It does not wait for a server that hangs, but for one
/// that ends.
pub fn is_dead(mount: &Mount) -> bool {
    let is_living = ServerId::of(mount).is_some_and(|server| !server.is_ending() || !server.ends(END_TIME, || true));
    // A server that answers inquiries lives. Without an answer it may live in another network namespace.
    !is_living && probe(mount).is_err_and(|error| is_gone(&error))
}

/// Looks up a name that the kernel has to ask the server for, also through the kernel's overlayfs.
fn probe(mount: &Mount) -> io::Result<fs::Metadata> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let name = format!("{PROBE}{}", now.unwrap_or_default().as_nanos());
    fs::symlink_metadata(mount.mount_point.join(name))
}

/// Returns whether the kernel says that no server is connected (`fuse_request_end` in Linux' fs/fuse/dev.c).
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOTCONN | libc::ECONNABORTED | libc::ECONNREFUSED)
    )
}

/// A dead mount, and whether it could be taken away.
#[derive(Debug)]
pub struct Dead {
    /// The mount.
    pub mount: Mount,
    /// The error of unmounting it; `None` if it is gone.
    pub stays: Option<MountError>,
}

/// Takes away all dead mounts of oic that the caller's mount namespace has, detaching those in use. One that another
/// mount covers stays, and is left out.
///
/// # Errors
/// If the mount table cannot be read.
pub fn clear() -> Result<Vec<Dead>, MountError> {
    let mut found = Vec::new();
    let mut mounts = table::mounts()?;
    mounts.reverse();
    for mount in mounts.into_iter().filter(Mount::is_ours) {
        let is_topmost = table::mount_at(&mount.mount_point)?.is_some_and(|top| top.id == mount.id);
        if is_topmost && is_dead(&mount) {
            let stays = table::detach(&mount.mount_point).err();
            found.push(Dead { mount, stays });
        }
    }
    Ok(found)
}
