//! Layers become visible to other programs.
//!
//! Three parts, each replaceable: a **server** process answers the kernel for
//! read-only layers ([`lower`], [`server`]); the **caller** makes the mounts, the
//! FUSE one and, for a writable view, the kernel's overlayfs above it ([`session`],
//! [`kernel`]); [`table`] tells what is mounted and takes it down again.
//!
//! The server is always another process than the ones that use the mount: a thread
//! that is killed while it waits for FUSE keeps its process from ending, and with it
//! the descriptor whose closing would have ended the wait. The server holds nothing
//! but the `/dev/fuse` descriptor it was given, so whatever happens to it, the mount
//! answers errors and can be unmounted; and whoever unmounts last ends the server.

mod api;
pub mod cow;
pub mod fuse;
mod helper;
pub mod kernel;
pub mod lower;
pub mod memory;
pub mod namespace;
mod polling;
pub mod server;
pub mod session;
pub mod table;

use std::io;
use std::path::{Path, PathBuf};

pub use api::{Attached, Detached};

use crate::durable::PathError;

/// What every mount of ours has as its source, shown by `findmnt` and in `/proc/self/mountinfo`.
pub const SOURCE: &str = "oic";

/// Who merges the layers and keeps the changes. Both use the same format of the upper and show the same tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Engine {
    /// The kernel's overlayfs over a read-only FUSE mount of the layers ([`kernel`]).
    #[default]
    Kernel,
    /// Our own, one FUSE mount ([`cow`]): for kernels without overlayfs, and where a renamed
    /// directory or a hard link of the base must be what it is on other file systems.
    Fuse,
}

/// Restrictions of a mount (mount(8), "filesystem-independent mount options").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restrictions {
    /// Nothing can be written through it.
    pub read_only: bool,
    /// Set-id bits and file capabilities have no effect.
    pub no_suid: bool,
    /// Device nodes cannot be opened.
    pub no_dev: bool,
}

impl Restrictions {
    /// For looking only: read-only, `nosuid`, `nodev`.
    pub const VIEW: Self = Self {
        read_only: true,
        no_suid: true,
        no_dev: true,
    };
    /// For a build, where maintainer scripts run as on a real system.
    pub const BUILD: Self = Self {
        read_only: false,
        no_suid: false,
        no_dev: false,
    };
}

/// Why a mount could not be made or undone.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The kernel refused.
    #[error("cannot {action}: {source}{detail}")]
    Refused {
        /// What was tried.
        action: String,
        /// Its answer.
        source: io::Error,
        /// What it explained, empty or in parentheses.
        detail: String,
    },
    /// Some file or directory could not be used.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Somebody uses the mount.
    #[error("{} is in use by {}", mount_point.display(), table::list(holders))]
    Busy {
        /// The mount.
        mount_point: PathBuf,
        /// Who uses it; empty if it cannot be found out.
        holders: Vec<table::Holder>,
    },
    /// Nothing is mounted there.
    #[error("nothing is mounted at {}", .0.display())]
    NotMounted(PathBuf),
    /// The server process could not open the layers, or ended.
    #[error("the mount server failed: {message}")]
    Server {
        /// Its reason.
        message: String,
        /// The next step, if it knew one.
        hint: Option<String>,
    },
    /// The upper was in use without syncing when something ended its user.
    #[error("the writable layer with work directory {} was not closed properly", .0.display())]
    Unsettled(PathBuf),
    /// The upper was made over another base.
    #[error("the writable layer {} belongs to another base", .0.display())]
    ForeignUpper(PathBuf),
}

impl MountError {
    /// A refusal of `action`.
    fn refused(action: impl Into<String>) -> impl FnOnce(rustix::io::Errno) -> Self {
        let action = action.into();
        move |errno| Self::Refused {
            action,
            source: errno.into(),
            detail: String::new(),
        }
    }

    /// What the user can do about it, if anything.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Refused { source, .. } => match source.raw_os_error()? {
                libc::EPERM | libc::EACCES => {
                    "without root, the mount point must be a directory of yours, and only a read-only view can be mounted, \
                     with --overlay fuse or auto"
                }
                libc::ENODEV | libc::ENOENT | libc::ENXIO => {
                    "the kernel lacks this file system: try `modprobe fuse` or `modprobe overlay`"
                }
                libc::ENOSPC => "too many mounts: see /proc/sys/fs/mount-max",
                _ => return None,
            },
            Self::Path(error) if error.path.starts_with("/dev/fuse") => "the kernel lacks FUSE: try `modprobe fuse`",
            Self::Path(error) if error.path == Path::new(helper::PROGRAM) => {
                "without root, mounting needs fusermount3 (package fuse3)"
            }
            Self::Busy { .. } => "end these programs, or unmount with --lazy",
            Self::Server { hint, .. } => return hint.clone(),
            Self::Unsettled(_) | Self::ForeignUpper(_) => "build the image again",
            Self::Path(_) | Self::NotMounted(_) => return None,
        };
        Some(text.to_owned())
    }
}
