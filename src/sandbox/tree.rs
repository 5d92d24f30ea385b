//! The file system as a sandbox sees it.
//!
//! Host paths are opened as detached mounts first, then the root is switched,
//! then everything is mounted by paths of the new root: a symbolic link in the
//! image can never lead a mount to a place of the host. No mount that the image's programs can
//! write to permits devices: they may make nodes, and open none of them.

mod devices;
mod places;

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, mount_bind,
    mount_bind_recursive, mount_change, mount_remount, move_mount, open_tree, unmount,
};

use self::devices::Nodes;
use self::places::Created;
use super::constants::{self, UNAME};
use super::protocol::{Failure, cannot};
use super::{Bind, SandboxFile, SandboxSpec, offline};

/// The directory of files that exist only inside, on the sandbox's own `/run`.
const FILES: &str = "/run/oic-files";
/// Parts of `/proc` that change the whole machine: read-only.
const PROTECTED: [&str; 6] = [
    "/proc/bus",
    "/proc/driver",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/tty",
];
/// Parts of `/proc` that show the host's memory, keys, kernel or hardware, or that control them.
const HIDDEN: [&str; 26] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/config.gz",
    "/proc/dynamic_debug",
    "/proc/interrupts",
    "/proc/iomem",
    "/proc/ioports",
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/key-users",
    "/proc/keys",
    "/proc/kmsg",
    "/proc/kpagecgroup",
    "/proc/kpagecount",
    "/proc/kpageflags",
    "/proc/latency_stats",
    "/proc/mtrr",
    "/proc/pagetypeinfo",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/slabinfo",
    "/proc/sysrq-trigger",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/vmallocinfo",
    "/proc/vmcore",
];

/// Directories that are mounted in every sandbox.
const SYSTEM: [&str; 5] = ["dev", "proc", "run", "sys", "tmp"];

/// The mounted view, with a list of what must not stay in the image.
#[derive(Debug, Default)]
pub(super) struct Tree {
    mounts: Vec<PathBuf>,
    /// Directories of file systems in memory: what is made there never reaches the image.
    own: Vec<PathBuf>,
    created: Vec<Created>,
}

impl Tree {
    /// Makes `spec.root` the root directory of this mount namespace and mounts what belongs on it.
    pub(super) fn enter(spec: &SandboxSpec) -> Result<Self, Failure> {
        let sources = spec.binds.iter().map(detach).collect::<Result<Vec<_>, _>>()?;
        let resolver = if spec.network {
            fs::read("/etc/resolv.conf").ok()
        } else {
            None
        };
        switch_root(&spec.root)?;
        let mut tree = Self::default();
        tree.mount_system(spec)?;
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
        for file in spec.files.iter().chain(&offline::scripts()) {
            tree.file(file)?;
        }
        // A link may lead to a program with many names.
        if spec.own_release && fs::symlink_metadata(UNAME).is_ok_and(|found| found.is_file()) {
            tree.file(&constants::uname())?;
        }
        if let Some(chroot) = &spec.chroot {
            tree.repeat_system(Path::new(chroot))?;
        }
        // What the host mounts below a bound directory from now on stays outside.
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private).map_err(cannot("make the mounts private"))?;
        Ok(tree)
    }

    /// Unmounts what lies on places that this module made, and removes those.
    pub(super) fn leave(self) -> Result<(), Failure> {
        if self.created.is_empty() {
            return Ok(());
        }
        for target in self.mounts.iter().rev() {
            unmount(target, UnmountFlags::DETACH).map_err(cannot(format_args!("unmount {}", target.display())))?;
        }
        for created in self.created.iter().rev() {
            created
                .remove()
                .map_err(cannot(format_args!("remove {}", created.path().display())))?;
        }
        Ok(())
    }

    /// Shows the system directories in the directory `chroot` as well.
    fn repeat_system(&mut self, chroot: &Path) -> Result<(), Failure> {
        for name in SYSTEM {
            let (source, target) = (Path::new("/").join(name), chroot.join(name));
            mount_bind_recursive(&source, &target).map_err(cannot(format_args!("mount {}", target.display())))?;
            self.mounts.push(target);
        }
        Ok(())
    }

    fn mount_system(&mut self, spec: &SandboxSpec) -> Result<(), Failure> {
        let plain = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        let nodes = Nodes::make(self)?;
        self.mount_new(Path::new("/proc"), "proc", plain, "")?;
        for target in PROTECTED.into_iter().filter(|target| Path::new(target).exists()) {
            mount_bind(target, target)
                .and_then(|()| restrict(target, MountFlags::RDONLY | plain))
                .map_err(cannot(format_args!("protect {target}")))?;
        }
        for (target, contents) in constants::proc_files() {
            nodes.show(target, &contents)?;
        }
        for target in HIDDEN.into_iter().filter(|target| Path::new(target).exists()) {
            nodes.hide(target)?;
        }
        if !spec.network {
            self.raise_loopback()?;
        }
        // What the host's hardware is like must not decide what is in the image. There is no room for a
        // file, but the directory's own mode can be set: a package that has it does that.
        self.mount_new(Path::new("/sys"), "tmpfs", plain, "mode=0555,size=4k,nr_inodes=1")?;
        let memory = MountFlags::NOSUID | MountFlags::NODEV;
        self.mount_new(Path::new("/run"), "tmpfs", memory, "mode=0755")?;
        make_directory("/run/lock", 0o1777)?;
        if !spec.keeps_tmp {
            self.mount_new(Path::new("/tmp"), "tmpfs", memory, "mode=1777")?;
        }
        nodes.place(self)
    }

    /// Sets the loopback interface up, through sysfs because that needs no ioctl.
    fn raise_loopback(&mut self) -> Result<(), Failure> {
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
        self.unmount(target)
    }

    /// Unmounts the file system that [`Self::mount_new`] mounted on `target`.
    fn unmount(&mut self, target: &Path) -> Result<(), Failure> {
        unmount(target, UnmountFlags::DETACH).map_err(cannot(format_args!("unmount {}", target.display())))?;
        self.mounts.retain(|place| place != target);
        self.own.retain(|place| place != target);
        Ok(())
    }

    fn mount_new(&mut self, target: &Path, kind: &str, flags: MountFlags, options: &str) -> Result<(), Failure> {
        self.prepare(target, true)
            .and_then(|()| Ok(std::ffi::CString::new(options)?))
            .and_then(|options| Ok(mount(kind, target, kind, flags, Some(options.as_c_str()))?))
            .map_err(cannot(format_args!("mount {kind} on {}", target.display())))?;
        self.mounts.push(target.to_owned());
        self.own.push(target.to_owned());
        Ok(())
    }

    fn bind(&mut self, bind: &Bind, (source, directory): (OwnedFd, bool)) -> Result<(), Failure> {
        let target = &bind.target;
        let mut flags = MountFlags::NODEV;
        if bind.read_only {
            flags |= MountFlags::RDONLY | MountFlags::NOSUID;
        }
        self.prepare(target, directory)
            .and_then(|()| {
                Ok(move_mount(
                    &source,
                    "",
                    CWD,
                    target,
                    MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
                )?)
            })
            .and_then(|()| Ok(restrict(target, flags)?))
            .map_err(|error| {
                let what = format!("bind {} to {}", bind.source.display(), target.display());
                cannot(what)(error)
            })?;
        self.mounts.push(target.clone());
        Ok(())
    }

    /// Makes `file` visible: in place on the sandbox's own file systems, else through a bind.
    fn file(&mut self, file: &SandboxFile) -> Result<(), Failure> {
        let target = &file.target;
        let own = self.own.iter().any(|place| target.starts_with(place));
        let kept = if own {
            target.clone()
        } else {
            Path::new(FILES).join(self.mounts.len().to_string())
        };
        write_file(&kept, file)
            .and_then(|()| {
                if own {
                    return Ok(());
                }
                self.prepare(target, false)?;
                mount_bind(&kept, target)?;
                self.mounts.push(target.clone());
                Ok(())
            })
            .map_err(cannot(format_args!("provide {}", target.display())))
    }

    /// Ensures that `target` exists as a place to mount on, and notes what it makes for that.
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
        if let Some(parent) = path.parent().filter(|parent| !parent.exists()) {
            self.make(parent, true)?;
        }
        let created = Created::make(path, directory)?;
        let real = fs::canonicalize(path)?;
        if !self.own.iter().any(|place| real.starts_with(place)) {
            self.created.push(created);
        }
        Ok(())
    }
}

/// Returns a detached copy of the mount at `bind.source`, and whether that is a directory.
fn detach(bind: &Bind) -> Result<(OwnedFd, bool), Failure> {
    let source = &bind.source;
    fs::metadata(source)
        .and_then(|metadata| Ok((clone_mount(source)?, metadata.is_dir())))
        .map_err(cannot(format_args!("use {} for a bind", source.display())))
}

/// Returns a detached copy of the mount at `path`, without what is mounted below it.
fn clone_mount(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    open_tree(CWD, path, flags)
}

/// Adds `flags` to those of the mount at `target`. What the host's mount has is kept (a
/// remount replaces all flags; those of statvfs(3) and mount(2) have the same bits here).
fn restrict(target: impl AsRef<Path>, flags: MountFlags) -> Result<(), Errno> {
    let target = target.as_ref();
    let kept = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let bits = u32::try_from(rustix::fs::statvfs(target)?.f_flag.bits()).map_err(|_| Errno::INVAL)?;
    let present = MountFlags::from_bits_truncate(bits) & kept;
    mount_remount(target, MountFlags::BIND | present | flags, "")
}

/// Makes `root` the root directory, without what is mounted below it and without devices, and releases the old one
/// (pivot_root(2), "pivot_root(".", ".")").
fn switch_root(root: &Path) -> Result<(), Failure> {
    let host = fs::metadata("/").map_err(cannot("look at the host's root directory"))?;
    let new = fs::metadata(root).map_err(cannot("look at the root directory"))?;
    if (host.dev(), host.ino()) == (new.dev(), new.ino()) {
        return Err(Failure::new("the root directory is the host's own"));
    }
    mount_bind(root, root).map_err(cannot("bind the root directory"))?;
    restrict(root, MountFlags::NODEV).map_err(cannot("forbid devices in the root directory"))?;
    std::env::set_current_dir(root).map_err(cannot("enter the root directory"))?;
    rustix::process::pivot_root(".", ".").map_err(cannot("change the root directory"))?;
    unmount(".", UnmountFlags::DETACH).map_err(cannot("let go of the host's root directory"))?;
    std::env::set_current_dir("/").map_err(cannot("enter the new root directory"))
}

/// Writes the content and mode of `file` to `path`, with the directories above it.
fn write_file(path: &Path, file: &SandboxFile) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, &file.contents)?;
    fs::set_permissions(path, fs::Permissions::from_mode(file.mode))
}

fn make_directory(path: &str, mode: u32) -> Result<(), Failure> {
    fs::create_dir(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .map_err(cannot(format_args!("make {path}")))
}
