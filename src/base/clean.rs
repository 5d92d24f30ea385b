//! Removes what an installation leaves and an image must not contain: logs,
//! caches, locks, backups of the package database, the machine's identity.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::durable::PathError;
use crate::root::Root;
use crate::sandbox::MACHINE_ID;

/// Files that an installation leaves.
pub const FILES: [&str; 10] = [
    "/var/lib/systemd/random-seed",
    "/var/lib/systemd/credential.secret",
    "/var/log/dpkg.log",
    "/var/log/alternatives.log",
    "/var/log/bootstrap.log",
    "/var/cache/apt/pkgcache.bin",
    "/var/cache/apt/srcpkgcache.bin",
    "/var/cache/ldconfig/aux-cache",
    "/var/lib/apt/lists/lock",
    "/etc/.pwd.lock",
];
/// The word in place of a machine's id that makes the next boot the first one (machine-id(5)).
const UNINITIALIZED: &[u8] = b"uninitialized";
/// Directories whose content is removed, and whose own entry stays.
pub const CLEARED: [&str; 4] = ["/tmp", "/var/tmp", "/var/log/apt", "/var/lib/apt/lists/auxfiles"];
/// Directories of rpm's database: the usual one, and that of image-based distributions (rpm's `%_dbpath`).
const RPM_DATABASES: [&str; 2] = ["/var/lib/rpm", "/usr/lib/sysimage/rpm"];
/// Directories in which `*-old` is a backup.
const BACKUPS: [&str; 2] = ["/var/lib/dpkg", "/var/cache/debconf"];

/// Removes the traces of an installation from `root`: what depends on the clock, on chance, or on the build host.
///
/// An id in `/etc/machine-id` is removed: the first boot then draws one (machine-id(5)).
///
/// # Errors
/// If something cannot be removed.
pub fn remove_traces(root: &Root) -> Result<(), PathError> {
    for file in FILES {
        root.remove(file)?;
    }
    for directory in CLEARED {
        root.clear(directory)?;
    }
    for directory in BACKUPS {
        for name in root.names(directory)? {
            if name.as_bytes().ends_with(b"-old") {
                root.remove(Path::new(directory).join(name))?;
            }
        }
    }
    for directory in RPM_DATABASES {
        remove_rpm_traces(root, Path::new(directory))?;
    }
    for name in root.names("/run")? {
        // `/var/lock` leads to it (Debian Policy 9.1.4).
        if name != OsStr::new("lock") {
            root.remove(Path::new("/run").join(name))?;
        }
    }
    root.remove("/var/lib/dbus/machine-id")?;
    let id = root.read(MACHINE_ID)?;
    let is_set = id.is_some_and(|id| !id.is_empty() && id.trim_ascii() != UNINITIALIZED);
    if is_set && !root.is_spared(MACHINE_ID) {
        root.write(MACHINE_ID, "", 0o444)?;
    }
    Ok(())
}

/// Removes rpm's lock, and what SQLite keeps beside a database that is in use: a log that is empty once everything is
/// in the database, and that log's index in shared memory (<https://sqlite.org/walformat.html>).
fn remove_rpm_traces(root: &Root, directory: &Path) -> Result<(), PathError> {
    root.remove(directory.join(".rpm.lock"))?;
    let log = directory.join("rpmdb.sqlite-wal");
    if root.read(&log)?.is_some_and(|log| log.is_empty()) {
        root.remove(log)?;
        root.remove(directory.join("rpmdb.sqlite-shm"))?;
    }
    Ok(())
}
