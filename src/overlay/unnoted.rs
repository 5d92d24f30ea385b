//! Reading without a trace in the times of last access (open(2), `O_NOATIME`).

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};

use rustix::fs::{Mode, OFlags, fcntl_getfl, open, openat, readlinkat};
use rustix::mount::{OpenTreeFlags, open_tree};

use super::layer::Errno;
use super::stat::Access;

/// Opens `name` in `directory` for reading, if possible so that reading leaves no trace: only the owner of a file and a
/// process with `CAP_FOWNER` may do so.
///
/// # Errors
/// Those of openat(2).
pub(super) fn open_unnoted(directory: impl AsFd, name: &OsStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CLOEXEC;
    match openat(&directory, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => openat(directory, name, flags, Mode::empty()),
        opened => opened,
    }
}

/// Opens the file `io` again if reading from it would not follow `access`; returns `None` if it does, or if it cannot
/// be made to.
///
/// # Errors
/// Those of fcntl(2) and of open(2).
pub(super) fn reopen(io: &OwnedFd, access: Access) -> Result<Option<OwnedFd>, Errno> {
    let is_unnoted = access == Access::Unnoted;
    let flags = fcntl_getfl(io)?;
    if flags.contains(OFlags::NOATIME) == is_unnoted {
        return Ok(None);
    }
    let mut wanted = (flags & OFlags::RWMODE) | OFlags::CLOEXEC;
    wanted.set(OFlags::NOATIME, is_unnoted);
    match open(format!("/proc/self/fd/{}", io.as_raw_fd()), wanted, Mode::empty()) {
        Ok(io) => Ok(Some(io)),
        Err(Errno::PERM) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Returns the target of the symbolic link `link`, which is open with `O_PATH`. There is no `O_NOATIME` for links, so
/// it is read through a mount of its own; without the privilege to mount it is read as it is.
///
/// # Errors
/// Those of readlinkat(2).
pub(super) fn read_link(link: &OwnedFd) -> Result<Vec<u8>, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let unnoted = open_tree(link, c"", flags).ok().filter(set_no_access_times);
    let target = readlinkat(unnoted.as_ref().unwrap_or(link), c"", Vec::new())?;
    Ok(target.into_bytes())
}

/// Sets `MOUNT_ATTR_NOATIME` on a detached mount (mount_setattr(2)); returns whether the kernel did.
fn set_no_access_times(mount: &OwnedFd) -> bool {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_NOATIME,
        attr_clr: libc::MOUNT_ATTR__ATIME,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the path is a constant with its NUL, the structure outlives the call, and its size is given.
    #[allow(unsafe_code)]
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    result == 0
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Read as _;
    use std::os::unix::fs::{MetadataExt as _, symlink};
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn what_is_opened_again_leaves_a_trace_or_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "content").unwrap();
        let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let io: OwnedFd = File::options().read(true).write(true).open(&path).unwrap().into();
        File::from(io.try_clone().unwrap())
            .set_times(fs::FileTimes::new().set_accessed(old))
            .unwrap();
        assert!(reopen(&io, Access::Noted).unwrap().is_none());
        let unnoted = reopen(&io, Access::Unnoted).unwrap().unwrap();
        assert!(reopen(&unnoted, Access::Unnoted).unwrap().is_none());
        let noted = reopen(&unnoted, Access::Noted).unwrap().unwrap();
        let read = |io: &OwnedFd| {
            let mut content = String::new();
            File::from(io.try_clone().unwrap())
                .read_to_string(&mut content)
                .unwrap();
            assert_eq!(content, "content");
            fs::metadata(&path).unwrap().atime()
        };
        assert_eq!(read(&unnoted), 1_000_000);
        // The file system of the test may be mounted without times of access.
        let is_kept = read(&noted) != 1_000_000;
        assert_eq!(is_kept, read(&io) != 1_000_000);
    }

    #[test]
    fn a_link_is_read_without_privilege_too() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("link");
        symlink("nowhere", &path).unwrap();
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let link = rustix::fs::open(&path, flags, Mode::empty()).unwrap();
        assert_eq!(read_link(&link).unwrap(), b"nowhere");
    }
}
