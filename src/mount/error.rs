//! Reasons why a mount fails, and the next steps.

use std::io;
use std::path::{Path, PathBuf};

use super::holders::{Holder, list};
use crate::durable::PathError;
use crate::hint::{Hint, Means};

/// The program that mounts without root (fusermount3(1)), found in `PATH`.
pub(super) const FUSERMOUNT: &str = "fusermount3";

/// A reason why a mount could not be made or undone.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The kernel refused.
    #[error("cannot {action}: {source}{detail}")]
    Refused {
        /// The action that was refused.
        action: String,
        /// Its answer.
        source: io::Error,
        /// The kernel's explanation, empty or in parentheses.
        detail: String,
    },
    /// Some file or directory could not be used.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The mount is in use.
    #[error("{} is in use by {}", mount_point.display(), list(holders))]
    Busy {
        /// The mount.
        mount_point: PathBuf,
        /// The processes that use it; empty if they cannot be found.
        holders: Vec<Holder>,
    },
    /// Nothing is mounted there.
    #[error("nothing is mounted at {}", .0.display())]
    NotMounted(PathBuf),
    /// The server process could not open the layers, or ended.
    #[error("the mount server failed: {message}")]
    Server {
        /// Its reason.
        message: String,
        /// The next step, if the server knew one.
        hint: Option<Hint>,
    },
    /// The upper was in use without syncing when its user was killed or the host crashed.
    #[error("the writable layer with work directory {} was not closed properly", .0.display())]
    Unsettled(PathBuf),
    /// A file system cannot hold an upper.
    #[error(
        "{}: its file system ({file_system}) cannot hold the layers of a build: it has no {lacks}: {source}",
        directory.display()
    )]
    NoUpper {
        /// The directory for the upper.
        directory: PathBuf,
        /// The type of its file system.
        file_system: String,
        /// What the file system lacks, in words.
        lacks: &'static str,
        /// The answer of the kernel.
        source: io::Error,
    },
    /// The upper was made over another base.
    #[error("the writable layer {} belongs to another base", .0.display())]
    ForeignUpper(PathBuf),
}

impl MountError {
    /// Returns a function that turns the kernel's answer into a refusal of `action`.
    pub(super) fn refused(action: impl Into<String>) -> impl FnOnce(rustix::io::Errno) -> Self {
        let action = action.into();
        move |errno| Self::Refused {
            action,
            source: errno.into(),
            detail: String::new(),
        }
    }

    /// Returns what the user can do about it; `None` if nothing is known.
    pub fn hint(&self) -> Option<Hint> {
        let text = match self {
            Self::Refused { source, .. } => match source.raw_os_error()? {
                libc::EPERM | libc::EACCES => {
                    let text = "without root, the mount point must be a directory of yours, and only a read-only view of \
                                oic's own file system can be mounted";
                    return Some(Hint::new(text).by(Means::FuseOverlay));
                }
                libc::ENODEV | libc::ENOENT | libc::ENXIO => {
                    "the kernel lacks this file system: try `modprobe fuse` or `modprobe overlay`"
                }
                libc::ENOSPC => "too many mounts: see /proc/sys/fs/mount-max",
                _ => return None,
            },
            Self::Path(error) if error.path.starts_with("/dev/fuse") => "the kernel lacks FUSE: try `modprobe fuse`",
            Self::Path(error) if error.path == Path::new(FUSERMOUNT) => {
                "without root, mounting needs fusermount3 (package fuse3)"
            }
            Self::Busy { .. } => {
                return Some(Hint::new("end these programs, or detach the mount").by(Means::UnmountLazily));
            }
            Self::Server { hint, .. } => return hint.clone(),
            Self::NoUpper { .. } => {
                let text =
                    "take a directory on a local file system with extended attributes: ext4, XFS, btrfs or tmpfs";
                return Some(Hint::new(text).by(Means::WorkDir));
            }
            Self::Unsettled(_) | Self::ForeignUpper(_) => "build the image again",
            Self::Path(_) | Self::NotMounted(_) => return None,
        };
        Some(text.into())
    }
}
