//! The place of a node in the upper: a name in an open directory, or a descriptor. A file that is already open is
//! changed through its descriptor, which is quicker than any name.
//!
//! No path longer than one name is ever used, so there is no limit on depth. Calls that the kernel offers for paths
//! only go through `/proc/self/fd` (proc_pid_fd(5)).

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use rustix::fs::{
    AtFlags, CWD, Gid, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, Uid, XattrFlags, chmodat,
    chownat, fchmod, fchown, fgetxattr, flistxattr, fremovexattr, fsetxattr, futimens, getxattr, lgetxattr, linkat,
    listxattr, llistxattr, lremovexattr, lsetxattr, open, openat, readlinkat, removexattr, setxattr, statat, utimensat,
};

use super::layer::{Errno, Timestamp};
use super::mark::{NOTE, NOTE_BYTES, Note};
use super::stat::{Access, SetTime};
use super::unnoted;
use crate::sync::Arc;

/// The largest value of an extended attribute and of a list of names (xattr(7)).
const XATTR_MAX_BYTES: usize = 65536;

/// A node of the upper. Symbolic links are never followed.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// A name in a directory.
    Named(Arc<OwnedFd>, OsString),
    /// The node itself, perhaps open with `O_PATH` only.
    Open(Arc<OwnedFd>),
    /// A regular file or directory, open for reading or writing.
    File(Arc<OwnedFd>),
}

impl Place {
    pub(super) fn named(directory: &Arc<OwnedFd>, name: &OsStr) -> Self {
        Self::Named(Arc::clone(directory), name.to_owned())
    }

    /// Returns a path for calls that follow a last link (`Open`: it is the magic one) or do not (`Named`).
    fn path(&self) -> PathBuf {
        match self {
            Self::Named(directory, name) => {
                let mut path = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
                path.extend_from_slice(name.as_bytes());
                PathBuf::from(OsString::from_vec(path))
            }
            Self::Open(descriptor) | Self::File(descriptor) => {
                PathBuf::from(format!("/proc/self/fd/{}", descriptor.as_raw_fd()))
            }
        }
    }

    pub(super) fn stat(&self) -> Result<Stat, Errno> {
        match self {
            Self::Named(directory, name) => statat(directory, name, AtFlags::SYMLINK_NOFOLLOW),
            Self::Open(descriptor) | Self::File(descriptor) => rustix::fs::fstat(descriptor),
        }
    }

    /// Opens it. Without `O_PATH` the caller makes sure that its kind may be opened.
    pub(super) fn open(&self, flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::CLOEXEC;
        match self {
            Self::Named(directory, name) => openat(directory, name, flags | OFlags::NOFOLLOW, Mode::empty()),
            Self::Open(_) | Self::File(_) => open(self.path(), flags, Mode::empty()),
        }
    }

    /// Returns the target of a symbolic link.
    pub(super) fn read_link(&self, access: Access) -> Result<Vec<u8>, Errno> {
        let target = match (self, access) {
            (Self::Named(directory, name), Access::Noted) => readlinkat(directory, name, Vec::new()),
            (Self::Named(..), Access::Unnoted) => {
                return unnoted::read_link(&self.open(OFlags::PATH | OFlags::NOFOLLOW)?);
            }
            (Self::Open(link) | Self::File(link), Access::Noted) => readlinkat(link, c"", Vec::new()),
            (Self::Open(link) | Self::File(link), Access::Unnoted) => return unnoted::read_link(link),
        };
        target.map(std::ffi::CString::into_bytes)
    }

    pub(super) fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> Result<(), Errno> {
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        match self {
            Self::Named(directory, name) => chownat(directory, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW),
            Self::Open(descriptor) => chownat(descriptor, c"", uid, gid, AtFlags::EMPTY_PATH),
            Self::File(descriptor) => fchown(descriptor, uid, gid),
        }
    }

    /// Sets the permissions; not for symbolic links, whose mode cannot be set.
    pub(super) fn set_permissions(&self, permissions: u32) -> Result<(), Errno> {
        let mode = Mode::from_raw_mode(permissions & 0o7777);
        match self {
            Self::Named(directory, name) => chmodat(directory, name, mode, AtFlags::empty()),
            Self::Open(_) => chmodat(CWD, self.path(), mode, AtFlags::empty()),
            Self::File(descriptor) => fchmod(descriptor, mode),
        }
    }

    pub(super) fn set_times(&self, accessed: Option<SetTime>, modified: Option<SetTime>) -> Result<(), Errno> {
        let times = Timestamps {
            last_access: timespec(accessed),
            last_modification: timespec(modified),
        };
        match self {
            Self::Named(directory, name) => utimensat(directory, name, &times, AtFlags::SYMLINK_NOFOLLOW),
            Self::Open(_) => utimensat(CWD, self.path(), &times, AtFlags::empty()),
            Self::File(descriptor) => futimens(descriptor, &times),
        }
    }

    /// Returns the value of an attribute; `None` if it is absent or not supported.
    pub(super) fn xattr(&self, name: &OsStr) -> Result<Option<Vec<u8>>, Errno> {
        let mut value = vec![0; 256];
        loop {
            match self.get_xattr(name, &mut value) {
                Ok(length) => {
                    value.truncate(length);
                    return Ok(Some(value));
                }
                Err(Errno::RANGE) if value.len() < XATTR_MAX_BYTES => value.resize(XATTR_MAX_BYTES, 0),
                Err(Errno::NODATA | Errno::OPNOTSUPP) => return Ok(None),
                Err(errno) => return Err(errno),
            }
        }
    }

    fn get_xattr(&self, name: &OsStr, value: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Self::Named(..) => lgetxattr(self.path(), name, value),
            Self::Open(_) => getxattr(self.path(), name, value),
            Self::File(descriptor) => fgetxattr(descriptor, name, value),
        }
    }

    /// Returns the note kept with it.
    pub(super) fn note(&self) -> Result<Option<Note>, Errno> {
        let mut value = [0; NOTE_BYTES];
        match self.get_xattr(OsStr::new(NOTE), &mut value) {
            Ok(length) => Ok(Note::decode(value.get(..length).unwrap_or_default())),
            // A note that another version of oic or a person wrote is ignored.
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    pub(super) fn set_note(&self, note: Note) -> Result<(), Errno> {
        self.set_xattr(OsStr::new(NOTE), &note.encode(), XattrFlags::empty())
    }

    /// Returns the names as listxattr(2) gives them: each ended by a NUL.
    pub(super) fn xattr_names(&self) -> Result<Vec<u8>, Errno> {
        let mut list = vec![0; 1024];
        loop {
            let length = match self {
                Self::Named(..) => llistxattr(self.path(), &mut list[..]),
                Self::Open(_) => listxattr(self.path(), &mut list[..]),
                Self::File(descriptor) => flistxattr(descriptor, &mut list[..]),
            };
            match length {
                Ok(length) => {
                    list.truncate(length);
                    return Ok(list);
                }
                Err(Errno::RANGE) if list.len() < XATTR_MAX_BYTES => list.resize(XATTR_MAX_BYTES, 0),
                Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
                Err(errno) => return Err(errno),
            }
        }
    }

    pub(super) fn set_xattr(&self, name: &OsStr, value: &[u8], flags: XattrFlags) -> Result<(), Errno> {
        match self {
            Self::Named(..) => lsetxattr(self.path(), name, value, flags),
            Self::Open(_) => setxattr(self.path(), name, value, flags),
            Self::File(descriptor) => fsetxattr(descriptor, name, value, flags),
        }
    }

    pub(super) fn remove_xattr(&self, name: &OsStr) -> Result<(), Errno> {
        match self {
            Self::Named(..) => lremovexattr(self.path(), name),
            Self::Open(_) => removexattr(self.path(), name),
            Self::File(descriptor) => fremovexattr(descriptor, name),
        }
    }

    /// Makes another name for it.
    pub(super) fn link_to(&self, directory: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
        match self {
            Self::Named(from, old) => linkat(from, old, directory, name, AtFlags::empty()),
            Self::Open(_) | Self::File(_) => linkat(CWD, self.path(), directory.as_fd(), name, AtFlags::SYMLINK_FOLLOW),
        }
    }
}

fn timespec(time: Option<SetTime>) -> Timespec {
    let (tv_sec, tv_nsec) = match time {
        None => (0, UTIME_OMIT),
        Some(SetTime::Now) => (0, UTIME_NOW),
        Some(SetTime::At(Timestamp { seconds, nanoseconds })) => (seconds, i64::from(nanoseconds)),
    };
    Timespec { tv_sec, tv_nsec }
}
