//! The file system as a sandbox sees it.
//!
//! Host paths are opened as detached mounts first, then the root is switched,
//! then everything is mounted by paths of the new root: a symbolic link in the
//! image can never lead a mount to a place of the host.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use rustix::fs::CWD;
use rustix::mount::{
    MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_remount,
    move_mount, open_tree, unmount,
};

use super::{Bind, SandboxFile, SandboxSpec};

/// Where files that exist only inside are kept, on the sandbox's own `/run`.
const FILES: &str = "/run/oic-files";
/// Device nodes: name, major, minor (Documentation/admin-guide/devices.txt of Linux).
const DEVICES: [(&str, u64, u64); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];
const DEVICE_LINKS: [(&str, &str); 5] = [
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];
/// Parts of `/proc` that change the whole machine.
const PROTECTED: [&str; 4] = ["/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus"];

/// What is mounted in every sandbox.
const SYSTEM: [&str; 5] = ["dev", "proc", "run", "sys", "tmp"];

/// A place that a mount needed and the image did not have.
#[derive(Debug)]
struct Created {
    path: PathBuf,
    directory: bool,
    /// The parent directory and its times before, so that nothing shows.
    parent: Option<(PathBuf, fs::FileTimes)>,
}

/// The mounted view; remembers what must not stay in the image.
#[derive(Debug, Default)]
pub(super) struct Tree {
    mounts: Vec<PathBuf>,
    /// Where file systems in memory lie: what is made there never reaches the image.
    own: Vec<PathBuf>,
    created: Vec<Created>,
}

impl Tree {
    /// Makes `spec.root` the root directory of this mount namespace and mounts what belongs on it.
    pub(super) fn enter(spec: &SandboxSpec) -> Result<Self, String> {
        let sources = spec.binds.iter().map(detach).collect::<Result<Vec<_>, _>>()?;
        let resolver = if spec.network {
            fs::read("/etc/resolv.conf").ok()
        } else {
            None
        };
        switch_root(&spec.root)?;
        let mut tree = Self::default();
        tree.mount_system(spec.network)?;
        for target in &spec.scratch {
            tree.mount_new(
                Path::new(target),
                "tmpfs",
                MountFlags::NOSUID | MountFlags::NODEV,
                "mode=0755",
            )?;
        }
        for (bind, source) in spec.binds.iter().zip(sources) {
            tree.bind(bind, source)?;
        }
        if let Some(contents) = resolver {
            let target = PathBuf::from("/etc/resolv.conf");
            tree.file(&SandboxFile {
                target,
                mode: 0o644,
                contents,
            })?;
        }
        for file in &spec.files {
            tree.file(file)?;
        }
        if let Some(chroot) = &spec.chroot {
            tree.repeat_system(Path::new(chroot))?;
        }
        Ok(tree)
    }

    /// Unmounts what lies on places that this module made, and removes those.
    pub(super) fn leave(self) -> Result<(), String> {
        if self.created.is_empty() {
            return Ok(());
        }
        for target in self.mounts.iter().rev() {
            unmount(target, UnmountFlags::DETACH).map_err(|e| format!("cannot unmount {}: {e}", target.display()))?;
        }
        for created in self.created.iter().rev() {
            created
                .remove()
                .map_err(|e| format!("cannot remove {}: {e}", created.path.display()))?;
        }
        Ok(())
    }

    /// Shows the system directories in the directory `chroot` as well.
    fn repeat_system(&mut self, chroot: &Path) -> Result<(), String> {
        for name in SYSTEM {
            let (source, target) = (Path::new("/").join(name), chroot.join(name));
            let fail = |e: rustix::io::Errno| format!("cannot mount {}: {e}", target.display());
            mount_bind_recursive(&source, &target).map_err(fail)?;
            self.mounts.push(target);
        }
        Ok(())
    }

    fn mount_system(&mut self, host_network: bool) -> Result<(), String> {
        let plain = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        self.mount_new(Path::new("/proc"), "proc", plain, "")?;
        for target in PROTECTED {
            if Path::new(target).exists() {
                let fail = |e| format!("cannot protect {target}: {e}");
                mount_bind(target, target).map_err(fail)?;
                mount_remount(target, MountFlags::BIND | MountFlags::RDONLY | plain, "").map_err(fail)?;
            }
        }
        if !host_network {
            self.raise_loopback()?;
        }
        // What the host's hardware is like must not decide what is in the image. There is no room for a
        // file, but the directory's own mode can be set: a package that has it does that.
        self.mount_new(Path::new("/sys"), "tmpfs", plain, "mode=0555,size=4k,nr_inodes=1")?;
        self.mount_devices()?;
        let memory = MountFlags::NOSUID | MountFlags::NODEV;
        self.mount_new(Path::new("/run"), "tmpfs", memory, "mode=0755")?;
        make_directory("/run/lock", 0o1777)?;
        self.mount_new(Path::new("/tmp"), "tmpfs", memory, "mode=1777")
    }

    /// Sets the loopback interface up, through sysfs because that needs no ioctl.
    fn raise_loopback(&mut self) -> Result<(), String> {
        let target = Path::new("/sys");
        self.mount_new(
            target,
            "sysfs",
            MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC,
            "",
        )?;
        if let Err(error) = fs::write("/sys/class/net/lo/flags", "0x1") {
            tracing::debug!(%error, "no loopback interface in the sandbox");
        }
        self.mounts.pop();
        self.own.pop();
        unmount(target, UnmountFlags::DETACH).map_err(|e| format!("cannot unmount /sys: {e}"))
    }

    fn mount_devices(&mut self) -> Result<(), String> {
        let quiet = MountFlags::NOSUID | MountFlags::NOEXEC;
        self.mount_new(Path::new("/dev"), "tmpfs", MountFlags::NOSUID, "mode=0755,size=4m")?;
        for (name, major, minor) in DEVICES {
            let path = Path::new("/dev").join(name);
            mknod(&path, SFlag::S_IFCHR, Mode::empty(), makedev(major, minor))
                .map_err(io::Error::from)
                .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o666)))
                .map_err(|e| format!("cannot make {}: {e}", path.display()))?;
        }
        for (name, target) in DEVICE_LINKS {
            symlink(target, Path::new("/dev").join(name)).map_err(|e| format!("cannot make /dev/{name}: {e}"))?;
        }
        let terminals = "newinstance,ptmxmode=0666,mode=0620,gid=5";
        self.mount_new(Path::new("/dev/pts"), "devpts", quiet, terminals)?;
        self.mount_new(Path::new("/dev/shm"), "tmpfs", quiet | MountFlags::NODEV, "mode=1777")
    }

    fn mount_new(&mut self, target: &Path, kind: &str, flags: MountFlags, options: &str) -> Result<(), String> {
        let fail = |e: io::Error| format!("cannot mount {kind} on {}: {e}", target.display());
        self.prepare(target, true).map_err(fail)?;
        let options = std::ffi::CString::new(options).map_err(|e| fail(e.into()))?;
        mount(kind, target, kind, flags, Some(options.as_c_str())).map_err(|e| fail(e.into()))?;
        self.mounts.push(target.to_owned());
        self.own.push(target.to_owned());
        Ok(())
    }

    fn bind(&mut self, bind: &Bind, (source, directory): (OwnedFd, bool)) -> Result<(), String> {
        let target = &bind.target;
        let fail = |e: io::Error| format!("cannot bind {} to {}: {e}", bind.source.display(), target.display());
        self.prepare(target, directory).map_err(fail)?;
        move_mount(&source, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).map_err(|e| fail(e.into()))?;
        self.mounts.push(target.clone());
        if bind.read_only {
            let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
            mount_remount(target, flags, "").map_err(|e| fail(e.into()))?;
        }
        Ok(())
    }

    /// Makes `file` visible: in place on the sandbox's own file systems, else through a bind.
    fn file(&mut self, file: &SandboxFile) -> Result<(), String> {
        let target = &file.target;
        let fail = |e: io::Error| format!("cannot provide {}: {e}", target.display());
        let own = self.own.iter().any(|place| target.starts_with(place));
        let kept = if own {
            target.clone()
        } else {
            Path::new(FILES).join(self.mounts.len().to_string())
        };
        if let Some(parent) = kept.parent() {
            fs::create_dir_all(parent).map_err(fail)?;
        }
        fs::write(&kept, &file.contents).map_err(fail)?;
        fs::set_permissions(&kept, fs::Permissions::from_mode(file.mode)).map_err(fail)?;
        if own {
            return Ok(());
        }
        self.prepare(target, false).map_err(fail)?;
        mount_bind(&kept, target).map_err(|e| fail(e.into()))?;
        self.mounts.push(target.clone());
        Ok(())
    }

    /// Sees that `target` exists as a place to mount on, and notes what it makes for that.
    fn prepare(&mut self, target: &Path, directory: bool) -> io::Result<()> {
        if !target.is_absolute() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path is not absolute"));
        }
        // A symbolic link to what does not exist (resolv.conf into /run) is followed by hand.
        if let Ok(link) = fs::read_link(target) {
            let parent = target.parent().unwrap_or(Path::new("/"));
            if !target.exists() {
                return self.make(&parent.join(link), directory);
            }
        }
        if target.exists() {
            Ok(())
        } else {
            self.make(target, directory)
        }
    }

    fn make(&mut self, path: &Path, directory: bool) -> io::Result<()> {
        let parent = path.parent();
        if let Some(parent) = parent.filter(|parent| !parent.exists()) {
            self.make(parent, true)?;
        }
        let parent = match parent {
            Some(parent) => Some((parent.to_owned(), times(parent)?)),
            None => None,
        };
        if directory {
            fs::create_dir(path)?;
        } else {
            fs::File::create_new(path)?;
        }
        let real = fs::canonicalize(path)?;
        if self.own.iter().any(|place| real.starts_with(place)) {
            return Ok(());
        }
        self.created.push(Created {
            path: path.to_owned(),
            directory,
            parent,
        });
        Ok(())
    }
}

impl Created {
    /// Removes the place, unless the command put something there that is to stay.
    fn remove(&self) -> io::Result<()> {
        let removed = if self.directory {
            match fs::remove_dir(&self.path) {
                Err(e) if matches!(e.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound) => {
                    return Ok(());
                }
                other => other,
            }
        } else {
            match fs::symlink_metadata(&self.path) {
                Ok(metadata) if metadata.is_file() && metadata.len() == 0 => fs::remove_file(&self.path),
                _ => return Ok(()),
            }
        };
        removed?;
        match &self.parent {
            Some((parent, times)) => fs::File::open(parent)?.set_times(*times),
            None => Ok(()),
        }
    }
}

fn times(directory: &Path) -> io::Result<fs::FileTimes> {
    let metadata = fs::metadata(directory)?;
    Ok(fs::FileTimes::new()
        .set_accessed(metadata.accessed()?)
        .set_modified(metadata.modified()?))
}

/// A detached copy of the mount at `bind.source`, and whether that is a directory.
fn detach(bind: &Bind) -> Result<(OwnedFd, bool), String> {
    let fail = |e: io::Error| format!("cannot use {} for a bind: {e}", bind.source.display());
    let metadata = fs::metadata(&bind.source).map_err(fail)?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let tree = open_tree(CWD, &bind.source, flags).map_err(|e| fail(e.into()))?;
    Ok((tree, metadata.is_dir()))
}

/// Makes `root` the root directory and lets go of the old one (pivot_root(2), "pivot_root(".", ".")").
fn switch_root(root: &Path) -> Result<(), String> {
    let fail = |what: &str, e: io::Error| format!("cannot {what}: {e}");
    let host = fs::metadata("/").map_err(|e| fail("look at the host's root directory", e))?;
    let new = fs::metadata(root).map_err(|e| fail("look at the root directory", e))?;
    if (host.dev(), host.ino()) == (new.dev(), new.ino()) {
        return Err("the root directory is the host's own".to_owned());
    }
    mount_bind_recursive(root, root).map_err(|e| fail("bind the root directory", e.into()))?;
    std::env::set_current_dir(root).map_err(|e| fail("enter the root directory", e))?;
    rustix::process::pivot_root(".", ".").map_err(|e| fail("change the root directory", e.into()))?;
    unmount(".", UnmountFlags::DETACH).map_err(|e| fail("let go of the host's root directory", e.into()))?;
    std::env::set_current_dir("/").map_err(|e| fail("enter the new root directory", e))
}

fn make_directory(path: &str, mode: u32) -> Result<(), String> {
    fs::create_dir(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .map_err(|e| format!("cannot make {path}: {e}"))
}
