//! Files that are opened only if they are regular ones: opening a FIFO waits for a writer, and opening a device
//! node does something (open(2), "O_NONBLOCK"; a tape rewinds, a watchdog starts).

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};

/// Opens the file `path` of the build host for reading.
///
/// # Errors
/// If it is absent or cannot be opened, and, with its kind, if it is not a regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let found = rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    reopen_regular(&found)
}

/// Opens for reading the file for which `found` was opened with `O_PATH`.
///
/// # Errors
/// If it cannot be opened, and, with its kind, if it is not a regular file.
pub fn reopen_regular(found: &OwnedFd) -> io::Result<File> {
    require(rustix::fs::fstat(found)?.st_mode, libc::S_IFREG)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, descriptor_path(found), flags, Mode::empty())?.into())
}

/// Refuses a file whose `mode` is not of the kind `wanted` (both as in `st_mode`), naming both kinds.
///
/// # Errors
/// `InvalidInput`.
pub fn require(mode: u32, wanted: u32) -> io::Result<()> {
    if mode & libc::S_IFMT == wanted {
        return Ok(());
    }
    let problem = format!("is {}, not {}", kind_in_words(mode), kind_in_words(wanted));
    Err(io::Error::new(io::ErrorKind::InvalidInput, problem))
}

/// Reads `source` to its end.
///
/// # Errors
/// Those of `source`, and `FileTooLarge` if it gives more than `limit_bytes`.
pub fn read_at_most(source: impl Read, limit_bytes: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(limit_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit_bytes {
        let problem = format!("is larger than {limit_bytes} bytes, the most that is read of such a file");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, problem));
    }
    Ok(bytes)
}

/// Returns the kind of file that the `S_IFMT` bits of `mode` name, with its article (inode(7)).
pub fn kind_in_words(mode: u32) -> &'static str {
    match mode & libc::S_IFMT {
        libc::S_IFREG => "a regular file",
        libc::S_IFDIR => "a directory",
        libc::S_IFLNK => "a symbolic link",
        libc::S_IFCHR => "a character device",
        libc::S_IFBLK => "a block device",
        libc::S_IFIFO => "a FIFO",
        libc::S_IFSOCK => "a socket",
        _ => "of no known kind",
    }
}

/// Returns a path that leads to the file for which `descriptor` is open (proc_pid_fd(5)).
pub fn descriptor_path(descriptor: &OwnedFd) -> PathBuf {
    Path::new("/proc/self/fd").join(descriptor.as_raw_fd().to_string())
}

#[cfg(test)]
mod tests {
    use rustix::fs::{FileType, makedev, mknodat};

    use super::*;

    #[test]
    fn other_kinds_are_named_and_not_opened() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("regular"), "text").unwrap();
        std::os::unix::fs::symlink("regular", at("link")).unwrap();
        for name in ["regular", "link"] {
            assert_eq!(read_at_most(open_regular(&at(name)).unwrap(), 4).unwrap(), b"text");
        }
        let error = read_at_most(open_regular(&at("regular")).unwrap(), 3).unwrap_err();
        assert!(error.to_string().contains("larger than 3 bytes"), "{error}");
        // No driver has this number: opening it would say ENXIO or ENODEV.
        let device = makedev(240, 77);
        for (kind, words) in [
            (FileType::Fifo, "is a FIFO, not a regular file"),
            (FileType::Socket, "is a socket, not a regular file"),
            (FileType::CharacterDevice, "is a character device, not a regular file"),
            (FileType::BlockDevice, "is a block device, not a regular file"),
        ] {
            mknodat(CWD, at("node"), kind, Mode::RUSR, device).unwrap();
            assert_eq!(open_regular(&at("node")).unwrap_err().to_string(), words);
            std::fs::remove_file(at("node")).unwrap();
        }
        let error = open_regular(directory.path()).unwrap_err().to_string();
        assert_eq!(error, "is a directory, not a regular file");
    }
}
