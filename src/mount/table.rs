//! The table of mounts (`/proc/self/mountinfo`, proc_pid_mountinfo(5)), and unmounting.
//!
//! Nothing here touches the mounted file systems themselves: a dead one cannot block us.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::mount::UnmountFlags;

use super::holders::holders;
use super::{Label, MountError, helper};
use crate::durable::PathError;

/// One line of the mount table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Its number, unique among the mounts that exist now.
    pub id: u64,
    /// The number of the mount it is attached to.
    pub parent: u64,
    /// Major and minor device number of its file system.
    pub device: (u32, u32),
    /// The directory of the file system that is its root.
    pub root: PathBuf,
    /// The path where it is attached, from our root.
    pub mount_point: PathBuf,
    /// Options of the mount, such as `ro,nosuid`.
    pub options: String,
    /// File system type with subtype, such as `fuse.oic`.
    pub file_system: String,
    /// Source as given when it was mounted.
    pub source: OsString,
    /// Options of the file system.
    pub super_options: OsString,
}

impl Mount {
    /// Returns whether oic made it.
    pub fn is_ours(&self) -> bool {
        self.label().is_some()
    }

    /// Returns the name of what it shows; `None` if oic has not made it.
    pub fn label(&self) -> Option<Label> {
        let is_possible = matches!(self.file_system.as_str(), "fuse.oic" | "overlay");
        is_possible.then(|| Label::of_source(&self.source)).flatten()
    }

    /// Returns whether nothing can be written through it.
    pub fn is_read_only(&self) -> bool {
        self.options.split(',').any(|option| option == "ro")
    }
}

/// Returns all mounts of our namespace, in the order of the kernel: a mount that covers another comes behind it. They
/// are those of the thread, not of `/proc/self`: a thread can have a mount namespace of its own.
///
/// # Errors
/// If `/proc` is missing.
pub fn mounts() -> Result<Vec<Mount>, MountError> {
    mounts_of(Path::new("/proc/thread-self"))
}

/// Returns all mounts of the namespace of the process whose `/proc` directory is `process`, in the order of the kernel.
///
/// # Errors
/// If the process is gone, or the caller may not examine it.
pub(super) fn mounts_of(process: &Path) -> Result<Vec<Mount>, MountError> {
    let path = process.join("mountinfo");
    let text = fs::read(&path).map_err(PathError::on("read", &path))?;
    Ok(text.split(|&byte| byte == b'\n').filter_map(parse).collect())
}

/// Finds the topmost mount attached exactly at `path`, which must be canonical.
///
/// # Errors
/// As [`mounts`].
pub fn mount_at(path: &Path) -> Result<Option<Mount>, MountError> {
    Ok(mounts()?.into_iter().rev().find(|mount| mount.mount_point == path))
}

/// Returns whether a mount is attached exactly at `path`, which must be canonical.
///
/// # Errors
/// As [`mounts`].
pub fn is_mount_point(path: &Path) -> Result<bool, MountError> {
    Ok(mount_at(path)?.is_some())
}

/// Returns the mounts at and below `path`, which must be canonical, in the order in which to unmount them.
///
/// # Errors
/// As [`mounts`].
pub fn mounts_below(path: &Path) -> Result<Vec<Mount>, MountError> {
    let mut below = mounts()?;
    below.retain(|mount| mount.mount_point.starts_with(path));
    below.reverse();
    Ok(below)
}

/// Parses one line; `None` for an empty or unintelligible one.
fn parse(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let id = number(fields.next()?)?;
    let parent = number(fields.next()?)?;
    let device = std::str::from_utf8(fields.next()?).ok()?;
    let (major, minor) = device.split_once(':')?;
    let root = unescape(fields.next()?);
    let mount_point = unescape(fields.next()?);
    let options = String::from_utf8_lossy(fields.next()?).into_owned();
    // Any number of optional fields, then a single hyphen.
    fields.find(|field| *field == b"-")?;
    let file_system = String::from_utf8_lossy(unescape(fields.next()?).as_bytes()).into_owned();
    let source = unescape(fields.next()?);
    let super_options = unescape(fields.next().unwrap_or_default());
    Some(Mount {
        id,
        parent,
        device: (major.parse().ok()?, minor.parse().ok()?),
        root: root.into(),
        mount_point: mount_point.into(),
        options,
        file_system,
        source,
        super_options,
    })
}

fn number(field: &[u8]) -> Option<u64> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// Decodes the kernel's `\ooo` for space, tab, newline, backslash and `#`.
fn unescape(field: &[u8]) -> OsString {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let octal = (byte == b'\\').then(|| tail.split_first_chunk::<3>()).flatten();
        match octal.and_then(|(digits, tail)| Some((octal_byte(*digits)?, tail))) {
            Some((value, tail)) => {
                plain.push(value);
                rest = tail;
            }
            None => plain.push(byte),
        }
    }
    OsString::from_vec(plain)
}

fn octal_byte(digits: [u8; 3]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 8).ok()
}

/// The number of attempts. Some processes use a mount for a moment only: children keep the descriptors of their
/// parent until they execute a program.
const BUSY_ATTEMPTS: u32 = 10;
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// Unmounts the topmost mount at `path` (canonical); `lazy` takes it out of sight now and ends it when its last user
/// is done.
///
/// # Errors
/// [`MountError::NotMounted`], [`MountError::Busy`] with the processes that use it, or the kernel's refusal.
pub fn unmount(path: &Path, lazy: bool) -> Result<(), MountError> {
    let mut flags = UnmountFlags::NOFOLLOW;
    flags.set(UnmountFlags::DETACH, lazy);
    let mut result = rustix::mount::unmount(path, flags);
    for _ in 0..BUSY_ATTEMPTS {
        if result != Err(rustix::io::Errno::BUSY) {
            break;
        }
        std::thread::sleep(BUSY_PAUSE);
        result = rustix::mount::unmount(path, flags);
    }
    match result {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::BUSY) => Err(MountError::Busy {
            mount_point: path.to_owned(),
            holders: holders(path),
        }),
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => Err(MountError::NotMounted(path.to_owned())),
        Err(rustix::io::Errno::PERM) => helper::unmount(path, lazy),
        Err(errno) => Err(MountError::refused(format!("unmount {}", path.display()))(errno)),
    }
}

/// Unmounts the topmost mount at `path` (canonical): now, or when its last user is done. It looks for no holders, and
/// so does not wait.
///
/// # Errors
/// The kernel's refusal.
pub(super) fn detach(path: &Path) -> Result<(), MountError> {
    let now = rustix::mount::unmount(path, UnmountFlags::NOFOLLOW);
    let lazily = || rustix::mount::unmount(path, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH);
    match now.or_else(|_| lazily()) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::PERM) => helper::unmount(path, true),
        Err(errno) => Err(MountError::refused(format!("unmount {}", path.display()))(errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_escapes_and_optional_fields() {
        let line = br"36 35 98:0 /mnt\0401 /mnt\134a\011b rw,noatime master:1 shared:7 - fuse.oic oic rw,a\040b";
        let mount = parse(line).unwrap();
        assert_eq!((mount.id, mount.parent, mount.device), (36, 35, (98, 0)));
        assert_eq!(mount.root, Path::new("/mnt 1"));
        assert_eq!(mount.mount_point, Path::new("/mnt\\a\tb"));
        assert_eq!(mount.options, "rw,noatime");
        assert_eq!(mount.super_options, "rw,a b");
        assert!(mount.is_ours());
    }

    #[test]
    fn nonsense_is_left_out() {
        for line in [&b""[..], b"1 2", b"x 1 0:1 / / rw - a b c", b"1 2 0:3 / / rw a b c"] {
            assert_eq!(parse(line), None);
        }
        assert_eq!(unescape(br"a\0\99\999"), OsString::from(r"a\0\99\999"));
    }

    #[test]
    fn the_root_is_mounted() {
        assert!(is_mount_point(Path::new("/")).unwrap());
        assert!(mounts_below(Path::new("/proc")).unwrap().last().unwrap().file_system == "proc");
    }
}
