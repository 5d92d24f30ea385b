//! What must be in an empty root directory before dpkg can run in it.

use std::io;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use crate::durable::PathError;
use crate::package::Arch;
use crate::root::Root;

/// Directories that dpkg and apt expect and no package ships.
const DIRECTORIES: [&str; 9] = [
    "/var/lib/dpkg/triggers",
    "/var/lib/dpkg/info",
    "/var/lib/dpkg/alternatives",
    "/var/lib/dpkg/updates",
    "/var/lib/apt/lists/partial",
    "/var/cache/apt/archives/partial",
    "/var/log/apt",
    "/dev/pts",
    "/dev/shm",
];
/// Device nodes: name, major, minor (Documentation/admin-guide/devices.txt of Linux).
const DEVICES: [(&str, u64, u64); 8] = [
    ("console", 5, 1),
    ("full", 1, 7),
    ("null", 1, 3),
    ("ptmx", 5, 2),
    ("random", 1, 8),
    ("tty", 5, 0),
    ("urandom", 1, 9),
    ("zero", 1, 5),
];
const LINKS: [(&str, &str); 4] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
];

/// Starts an empty dpkg database for `arch` (dpkg(1), "FILES").
pub(super) fn prepare(root: &Root, arch: Arch) -> Result<(), PathError> {
    for directory in DIRECTORIES {
        root.create_directory(directory)?;
    }
    root.write("/var/lib/dpkg/status", "", 0o644)?;
    root.write("/var/lib/dpkg/arch", format!("{}\n", arch.deb()), 0o644)?;
    root.write("/etc/fstab", "# UNCONFIGURED FSTAB FOR BASE SYSTEM\n", 0o644)
}

/// Makes what an installation without a `/run` of its own would have made:
/// `/var/lock` leads to it (Debian Policy 9.1.4).
pub(super) fn make_lock_directory(root: &Root) -> Result<(), PathError> {
    root.create_directory("/run/lock")?;
    root.set_mode("/run/lock", 0o1777)
}

/// Makes the device nodes that every Debian system has before it boots, for an
/// `init` that starts before anything is mounted on `/dev`.
pub(super) fn make_devices(root: &Root) -> Result<(), PathError> {
    // mknod(2) follows links in the directory's path; a package must not turn it into one.
    if root.read_link("/dev")?.is_some() {
        return Err(PathError::on("make device nodes in", root.path().join("dev"))(
            io::ErrorKind::NotADirectory.into(),
        ));
    }
    for (name, major, minor) in DEVICES {
        let path = root.path().join("dev").join(name);
        let device = makedev(major, minor);
        mknod(&path, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), device)
            .map_err(io::Error::from)
            .and_then(|()| {
                use std::os::unix::fs::PermissionsExt as _;
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666))
            })
            .map_err(PathError::on("make the device node", &path))?;
    }
    for (path, target) in LINKS {
        root.symlink(target, path)?;
    }
    Ok(())
}
