//! `/dev` of a sandbox, and what hides parts of `/proc`.
//!
//! A mount permits the opening of device nodes or it does not, and the image's programs may make nodes wherever they
//! can write. So the nodes lie on a file system of their own, which no path leads to: each is bound to its place alone.
//! They are not the host's nodes, as those would pass a `chmod`, a lock or a watch on to the host.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{MountFlags, MoveMountFlags, mount_bind, move_mount};

use super::{Tree, clone_mount, make_directory, restrict};
use crate::sandbox::protocol::{Failure, cannot};

/// Device nodes: name, major, minor (Documentation/admin-guide/devices.txt of Linux).
const DEVICES: [(&str, u64, u64); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];
const LINKS: [(&str, &str); 5] = [
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];
/// An empty file and an empty directory beside the nodes, until [`Nodes::place`].
const BLANKS: [&str; 2] = ["/dev/blank-file", "/dev/blank-directory"];

/// The device nodes, each as a mount that has no place yet.
#[derive(Debug)]
pub(super) struct Nodes(Vec<(&'static str, OwnedFd)>);

/// Binds `source` to `target`, read-only.
fn cover(source: &Path, target: &str) -> Result<(), Errno> {
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount_bind(source, target).and_then(|()| restrict(target, flags))
}

impl Nodes {
    /// Makes the nodes on a file system of their own, which lies on `/dev` until [`Self::place`].
    pub(super) fn make(tree: &mut Tree) -> Result<Self, Failure> {
        let quiet = MountFlags::NOSUID | MountFlags::NOEXEC;
        tree.mount_new(Path::new("/dev"), "tmpfs", quiet, "mode=0755,size=64k")?;
        let node = |(name, major, minor)| {
            let path = Path::new("/dev").join(name);
            mknod(&path, SFlag::S_IFCHR, Mode::empty(), makedev(major, minor))
                .map_err(io::Error::from)
                .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o666)))
                .and_then(|()| Ok((name, clone_mount(&path)?)))
                .map_err(cannot(format_args!("make {}", path.display())))
        };
        let nodes = DEVICES.map(node).into_iter().collect::<Result<_, _>>()?;
        let [file, directory] = BLANKS;
        fs::File::create_new(file).map_err(cannot(format_args!("make {file}")))?;
        make_directory(directory, 0o555)?;
        Ok(Self(nodes))
    }

    /// Hides the contents of `target` under an empty, read-only file or directory.
    pub(super) fn hide(&self, target: &str) -> Result<(), Failure> {
        let [file, directory] = BLANKS;
        let blank = if Path::new(target).is_dir() { directory } else { file };
        cover(Path::new(blank), target).map_err(cannot(format_args!("hide {target}")))
    }

    /// Shows `contents` in the place of the file `target`, if that exists.
    pub(super) fn show(&self, target: &str, contents: &str) -> Result<(), Failure> {
        if !Path::new(target).exists() {
            return Ok(());
        }
        let file = Path::new("/dev").join(target.trim_start_matches('/').replace('/', "-"));
        fs::write(&file, contents)
            .and_then(|()| Ok(cover(&file, target)?))
            .map_err(cannot(format_args!("provide {target}")))
    }

    /// Mounts the `/dev` that the image's programs see and binds the nodes to their places.
    pub(super) fn place(self, tree: &mut Tree) -> Result<(), Failure> {
        let quiet = MountFlags::NOSUID | MountFlags::NOEXEC;
        let memory = MountFlags::NOSUID | MountFlags::NODEV;
        tree.unmount(Path::new("/dev"))?;
        tree.mount_new(Path::new("/dev"), "tmpfs", memory, "mode=0755,size=4m")?;
        for (name, node) in self.0 {
            let path = Path::new("/dev").join(name);
            fs::File::create_new(&path)
                .and_then(|_| {
                    Ok(move_mount(
                        &node,
                        "",
                        CWD,
                        &path,
                        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
                    )?)
                })
                .map_err(cannot(format_args!("make {}", path.display())))?;
        }
        for (name, target) in LINKS {
            symlink(target, Path::new("/dev").join(name)).map_err(cannot(format_args!("make /dev/{name}")))?;
        }
        // Terminals are devices; no other node can be made on this file system.
        let terminals = "newinstance,ptmxmode=0666,mode=0620,gid=5";
        tree.mount_new(Path::new("/dev/pts"), "devpts", quiet, terminals)?;
        tree.mount_new(Path::new("/dev/shm"), "tmpfs", quiet | memory, "mode=1777")
    }
}
