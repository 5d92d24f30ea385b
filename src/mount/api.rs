//! The kernel's descriptor-based mount interface: fsopen, fsconfig, fsmount, move_mount (Linux 5.2). No path or
//! option ever needs escaping, and the kernel explains its errors.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_fd, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount,
};

use super::{Label, MountError, Restrictions, table};
use crate::durable::PathError;

/// A file system being configured.
#[derive(Debug)]
pub(super) struct Context {
    descriptor: OwnedFd,
    file_system: &'static str,
}

impl Context {
    /// Starts configuring a file system of this type, whose source names `label`.
    pub(super) fn open(file_system: &'static str, label: &Label) -> Result<Self, MountError> {
        let descriptor = fsopen(file_system, FsOpenFlags::FSOPEN_CLOEXEC)
            .map_err(MountError::refused(format!("use the file system type {file_system}")))?;
        let context = Self {
            descriptor,
            file_system,
        };
        context.set("source", label.source())?;
        Ok(context)
    }

    /// Sets an option to a value; at most 255 bytes (fsconfig's limit).
    pub(super) fn set(&self, key: &str, value: impl AsRef<OsStr>) -> Result<(), MountError> {
        let value = value.as_ref();
        fsconfig_set_string(&self.descriptor, key, value)
            .map_err(|errno| self.explain(&format!("set {key}={}", value.display()), errno))
    }

    /// Sets an option that has no value.
    pub(super) fn flag(&self, key: &str) -> Result<(), MountError> {
        fsconfig_set_flag(&self.descriptor, key).map_err(|errno| self.explain(&format!("set {key}"), errno))
    }

    /// Sets an option to an open file; not every file system and kernel supports that.
    pub(super) fn set_descriptor(&self, key: &str, value: BorrowedFd<'_>) -> Result<(), MountError> {
        fsconfig_set_fd(&self.descriptor, key, value)
            .map_err(|errno| self.explain(&format!("set {key} to a descriptor"), errno))
    }

    /// Makes the file system, with a mount of it that is attached nowhere yet.
    pub(super) fn mount(self, restrictions: Restrictions) -> Result<Detached, MountError> {
        fsconfig_create(&self.descriptor).map_err(|errno| self.explain("create the file system", errno))?;
        let mut attributes = MountAttrFlags::empty();
        attributes.set(MountAttrFlags::MOUNT_ATTR_RDONLY, restrictions.read_only);
        attributes.set(MountAttrFlags::MOUNT_ATTR_NOSUID, restrictions.no_suid);
        attributes.set(MountAttrFlags::MOUNT_ATTR_NODEV, restrictions.no_dev);
        let root = fsmount(&self.descriptor, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
            .map_err(|errno| self.explain("mount", errno))?;
        Ok(Detached {
            root: Root::Mount(root),
        })
    }

    /// Returns the refusal with the messages that the kernel left in the context (one per read).
    fn explain(&self, action: &str, errno: rustix::io::Errno) -> MountError {
        let mut messages = Vec::new();
        if let Ok(clone) = self.descriptor.try_clone() {
            let mut log = File::from(clone);
            let mut line = [0; 512];
            while let Ok(length @ 1..) = log.read(&mut line) {
                let text = String::from_utf8_lossy(line.get(..length).unwrap_or_default());
                messages.push(text.trim_start_matches(['e', 'w', 'i', ' ']).trim().to_owned());
            }
        }
        MountError::Refused {
            action: format!("{action} ({})", self.file_system),
            source: errno.into(),
            detail: if messages.is_empty() {
                String::new()
            } else {
                format!(" ({})", messages.join("; "))
            },
        }
    }
}

/// A mount that is attached nowhere; dropped, it is gone.
#[derive(Debug)]
pub struct Detached {
    root: Root,
}

#[derive(Debug)]
enum Root {
    Mount(OwnedFd),
    /// A mount that is attached already: without the privilege to mount there are no two steps.
    Attached(Attached),
}

impl Detached {
    /// Attaches it at `mount_point`, an existing directory.
    ///
    /// # Errors
    /// If the directory cannot be opened or the kernel refuses.
    pub fn attach(self, mount_point: &Path) -> Result<Attached, MountError> {
        self.attach_to(Target::open(mount_point)?)
    }

    /// Takes over what `fusermount3` has just attached at `mount_point`.
    pub(super) fn attached_at(mount_point: &Path) -> Result<Self, MountError> {
        let mount = table::mount_at(mount_point)?.filter(table::Mount::is_ours);
        let mount = mount.ok_or_else(|| MountError::NotMounted(mount_point.to_owned()))?;
        Ok(Self {
            root: Root::Attached(Attached {
                mount_point: mount_point.to_owned(),
                id: mount.id,
                kept: false,
            }),
        })
    }

    /// Attaches it to a directory that was opened before, perhaps in another mount namespace.
    pub(super) fn attach_to(self, target: Target) -> Result<Attached, MountError> {
        let root = match self.root {
            Root::Mount(root) => root,
            Root::Attached(attached) => return Ok(attached),
        };
        let id = mount_id(root.as_fd())?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(&root, "", &target.directory, "", flags)
            .map_err(MountError::refused(format!("mount at {}", target.path.display())))?;
        Ok(Attached {
            mount_point: target.path,
            id,
            kept: false,
        })
    }
}

/// A directory to mount at.
#[derive(Debug)]
pub(super) struct Target {
    path: PathBuf,
    directory: OwnedFd,
}

impl Target {
    /// Opens `path` and finds its canonical name.
    pub(super) fn open(path: &Path) -> Result<Self, MountError> {
        let path = fs::canonicalize(path).map_err(PathError::on("find", path))?;
        let directory = open_directory(&path)?;
        Ok(Self { path, directory })
    }

    /// Returns its canonical name.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// A mount of ours. Dropped, it is unmounted, lazily if it is in use.
#[derive(Debug)]
pub struct Attached {
    mount_point: PathBuf,
    id: u64,
    kept: bool,
}

impl Attached {
    /// Returns its mount point (canonical).
    pub fn mount_point(&self) -> &Path {
        &self.mount_point
    }

    /// Returns the kernel's number for it (the first field of `/proc/self/mountinfo`).
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Unmounts it; does nothing if it is gone already.
    ///
    /// # Errors
    /// [`MountError::Busy`] if it is in use; it then stays until the value is dropped.
    pub fn unmount(&self) -> Result<(), MountError> {
        if !self.is_there()? {
            return Ok(());
        }
        table::unmount(&self.mount_point, false)
    }

    /// Leaves the mount as it is.
    pub fn keep(mut self) {
        self.kept = true;
    }

    /// Returns whether this very mount is still the topmost one at its mount point.
    fn is_there(&self) -> Result<bool, MountError> {
        Ok(table::mount_at(&self.mount_point)?.is_some_and(|mount| mount.id == self.id))
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if self.kept || !matches!(self.is_there(), Ok(true)) {
            return;
        }
        if let Err(error) = table::detach(&self.mount_point) {
            tracing::warn!("{error}");
        }
    }
}

/// Opens a directory with `O_PATH`.
pub(super) fn open_directory(path: &Path) -> Result<OwnedFd, MountError> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| PathError::on("open the directory", path)(errno.into()).into())
}

/// Returns the id of the mount that `descriptor` lies on (proc_pid_fdinfo(5)); asks no file system.
fn mount_id(descriptor: BorrowedFd<'_>) -> Result<u64, MountError> {
    let path = format!("/proc/self/fdinfo/{}", descriptor.as_raw_fd());
    let text = fs::read_to_string(&path).map_err(PathError::on("read", &path))?;
    text.lines()
        .find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok())
        .ok_or_else(|| PathError::on("find the mount id in", &path)(std::io::ErrorKind::InvalidData.into()).into())
}
