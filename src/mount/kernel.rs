//! The kernel's overlayfs over our read-only layers.
//!
//! Options, and why (Documentation/filesystems/overlayfs.rst of Linux):
//! - `xino=on`: one device number for the whole tree, on which `tar`, `cp -a` and `find -xdev`
//!   rely, and the same inode number for a base file at every mount.
//! - `redirect_dir=follow`, `metacopy=off`: what our own engine renamed is found, but the kernel adds nothing
//!   that only some readers of the overlayfs format understand, such as directories and files whose
//!   content is somewhere else. Renaming a base directory gives `EXDEV`, which `rename(2)` callers
//!   have to handle on any system, and `mv` does.
//! - `index=off`: with it the upper alone says everything, to every reader; and after a remount
//!   the index needs file handles that FUSE cannot resolve. So a hard link of the base is cut when
//!   one of its names is changed in place: the other names keep the old content. What
//!   `index` would have watched over, we do: an upper is not used twice at once, nor over another
//!   base. What was tried is in `docs/decisions/0005-kernel-overlay-over-fuse.md`.
//! - `volatile`: no `fsync` reaches the disk, for builds. The kernel then refuses the upper until
//!   [`Upper::settle`] has written it out, so that an upper torn by a crash is never taken for a good one.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::api::{Context, open_directory};
use super::{Attached, Detached, Label, MountError, Restrictions};
use crate::durable::{self, PathError};
use crate::path_bytes;

mod closed;

pub(super) use closed::Room;

/// The writable layer of an overlay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upper {
    /// The directory with everything added, changed and removed, in the Linux overlayfs format.
    #[serde(with = "path_bytes")]
    pub directory: PathBuf,
    /// The kernel's scratch directory, on the same file system; private to it. Beside it,
    /// with the same name and `.lock` and `.base` appended, lie two files of ours.
    #[serde(with = "path_bytes")]
    pub work: PathBuf,
    /// Identifies the layers below (a base key, say): a new upper remembers it, an old one is refused over anything
    /// else.
    pub base: String,
    /// Whether nothing is synced, for speed; see [`Upper::settle`].
    pub volatile: bool,
}

/// An overlay to be mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverlaySpec {
    /// Read-only layers, the topmost first; without an upper at least two.
    pub lower: Vec<PathBuf>,
    /// The layer for changes; without it the overlay is read-only.
    pub upper: Option<Upper>,
    /// Restrictions of the mount.
    pub restrictions: Restrictions,
}

/// Mounts the overlay at `mount_point`.
///
/// # Errors
/// As [`create`], and if it cannot be attached.
pub fn mount(spec: &OverlaySpec, mount_point: &Path) -> Result<Attached, MountError> {
    create(spec, &Label::default())?.attach(mount_point)
}

/// Makes the overlay, attached nowhere yet. Its source names `label`.
///
/// # Errors
/// [`MountError::Unsettled`] if the upper must not be used, or the kernel's refusal.
pub fn create(spec: &OverlaySpec, label: &Label) -> Result<Detached, MountError> {
    if let Some(upper) = &spec.upper {
        upper.check_settled()?;
    }
    let layers = Layers::open(spec)?;
    let context = layers.configure(label)?;
    for (key, value) in [
        ("index", "off"),
        ("xino", "on"),
        ("redirect_dir", "follow"),
        ("metacopy", "off"),
    ] {
        context.set(key, value)?;
    }
    if spec.upper.as_ref().is_some_and(|upper| upper.volatile) {
        context.flag("volatile")?;
    }
    if spec.restrictions.read_only {
        context.flag("ro")?;
    }
    context.mount(spec.restrictions)
}

/// The directories of an overlay, opened.
struct Layers {
    lower: Vec<OwnedFd>,
    upper: Option<(OwnedFd, OwnedFd)>,
}

impl Layers {
    fn open(spec: &OverlaySpec) -> Result<Self, MountError> {
        Ok(Self {
            lower: spec
                .lower
                .iter()
                .map(|path| open_directory(path))
                .collect::<Result<_, _>>()?,
            upper: match &spec.upper {
                None => None,
                Some(upper) => Some((open_directory(&upper.directory)?, open_directory(&upper.work)?)),
            },
        })
    }

    /// Returns a context with the layers set, in the first way that this kernel supports.
    fn configure(&self, label: &Label) -> Result<Context, MountError> {
        self.configure_by(Self::set_by_descriptor, label)
            .or_else(|_| self.configure_by(Self::set_by_name, label))
            .or_else(|_| self.configure_by(Self::set_joined, label))
    }

    fn configure_by(
        &self,
        set: impl Fn(&Self, &Context) -> Result<(), MountError>,
        label: &Label,
    ) -> Result<Context, MountError> {
        let context = Context::open("overlay", label)?;
        set(self, &context)?;
        Ok(context)
    }

    /// Sets the layers by their descriptors (Linux 6.13).
    fn set_by_descriptor(&self, context: &Context) -> Result<(), MountError> {
        for lower in &self.lower {
            context.set_descriptor("lowerdir+", lower.as_fd())?;
        }
        if let Some((upper, work)) = &self.upper {
            context.set_descriptor("upperdir", upper.as_fd())?;
            context.set_descriptor("workdir", work.as_fd())?;
        }
        Ok(())
    }

    /// Sets the layers by names, one by one (Linux 6.5). The names in `/proc` need no escaping and are short: a value
    /// has at most 255 bytes.
    fn set_by_name(&self, context: &Context) -> Result<(), MountError> {
        for lower in &self.lower {
            context.set("lowerdir+", named(lower))?;
        }
        self.set_upper_by_name(context)
    }

    /// Sets the layers by names in one value, into which a dozen fit (older kernels).
    fn set_joined(&self, context: &Context) -> Result<(), MountError> {
        let lower: Vec<_> = self.lower.iter().map(named).collect();
        context.set("lowerdir", lower.join(":"))?;
        self.set_upper_by_name(context)
    }

    fn set_upper_by_name(&self, context: &Context) -> Result<(), MountError> {
        let Some((upper, work)) = &self.upper else {
            return Ok(());
        };
        context.set("upperdir", named(upper))?;
        context.set("workdir", named(work))
    }
}

fn named(descriptor: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", descriptor.as_raw_fd())
}

impl Upper {
    /// Returns the file whose lock shows that the upper is in use.
    pub fn lock_file(&self) -> PathBuf {
        beside(&self.work, ".lock")
    }

    /// Prepares it as [`Self::prepare_for`] does, for the root directory `base_root`.
    ///
    /// # Errors
    /// As [`Self::prepare_for`], and if `base_root` cannot be examined.
    pub fn prepare(&self, base_root: &Path) -> Result<(), MountError> {
        let root = fs::metadata(base_root).map_err(PathError::on("look at", base_root))?;
        self.prepare_for(root.mode() & 0o7777, root.uid(), root.gid())
    }

    /// Makes the directories where they are absent. A new upper's root gets this mode and owner, which
    /// should be those of the root below: it is what the overlay shows as its root. That of an old one is opened again
    /// if a private mount has closed it.
    ///
    /// # Errors
    /// [`MountError::ForeignUpper`] if it was made over another base; or if a directory cannot be made.
    pub fn prepare_for(&self, permissions: u32, uid: u32, gid: u32) -> Result<(), MountError> {
        let base_file = beside(&self.work, ".base");
        if self.directory.exists() {
            match fs::read_to_string(&base_file) {
                Ok(base) if base == self.base => {
                    make_directory(&self.work)?;
                    return Ok(closed::reopen(&self.directory, &self.work)?);
                }
                Ok(_) => return Err(MountError::ForeignUpper(self.directory.clone())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(MountError::ForeignUpper(self.directory.clone()));
                }
                Err(error) => return Err(PathError::on("read", &base_file)(error).into()),
            }
        }
        durable::write_file(&base_file, &self.base)?;
        make_directory(&self.work)?;
        make_directory(&self.directory)?;
        std::os::unix::fs::chown(&self.directory, Some(uid), Some(gid))
            .map_err(PathError::on("set the owner of", &self.directory))?;
        fs::set_permissions(&self.directory, fs::Permissions::from_mode(permissions))
            .map_err(PathError::on("set the mode of", &self.directory))?;
        Ok(())
    }

    /// Keeps other users out of what the kernel merges with it: its root directory gets mode 0700 and the calling user
    /// as owner, until it is prepared again.
    ///
    /// # Errors
    /// If mode or owner cannot be kept or set.
    pub(super) fn close(&self) -> Result<(), MountError> {
        Ok(closed::close(&self.directory, &self.work)?)
    }

    /// Refuses an upper that was used without syncing and not settled.
    ///
    /// # Errors
    /// [`MountError::Unsettled`].
    pub fn check_settled(&self) -> Result<(), MountError> {
        if incompatible(&self.work).exists() {
            return Err(MountError::Unsettled(self.work.clone()));
        }
        Ok(())
    }

    /// Marks a `volatile` upper as in use, as the kernel does.
    pub(super) fn mark_volatile(&self) -> Result<(), MountError> {
        if !self.volatile {
            return Ok(());
        }
        let mark = incompatible(&self.work).join("volatile");
        Ok(fs::create_dir_all(&mark).map_err(PathError::on("create", &mark))?)
    }

    /// Writes the upper of an unmounted `volatile` overlay to disk, then allows to use it again.
    ///
    /// # Errors
    /// If syncing fails (the upper then stays refused) or the mark cannot be removed.
    pub fn settle(&self) -> Result<(), MountError> {
        let mark = incompatible(&self.work);
        if !mark.exists() {
            return Ok(());
        }
        let directory = fs::File::open(&self.directory).map_err(PathError::on("open", &self.directory))?;
        rustix::fs::syncfs(&directory).map_err(|errno| PathError::on("sync", &self.directory)(errno.into()))?;
        fs::remove_dir_all(&mark).map_err(PathError::on("remove", &mark))?;
        Ok(())
    }
}

/// Returns `path` with `suffix` appended to its name.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Makes `path` if it is absent, open to its owner alone.
fn make_directory(path: &Path) -> Result<(), MountError> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(PathError::on("create", path)(error).into()),
    }
}

/// Returns the directory in which the kernel marks how an upper was used ("Volatile mount" in overlayfs.rst).
fn incompatible(work: &Path) -> PathBuf {
    work.join("work/incompat")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mount::namespace;

    type Way = fn(&Layers, &Context) -> Result<(), MountError>;

    /// This kernel supports all three, with any characters in a path.
    #[test]
    fn every_way_to_name_layers() {
        let ways: [Way; 3] = [Layers::set_by_descriptor, Layers::set_by_name, Layers::set_joined];
        for way in ways {
            let place = tempfile::Builder::new().prefix("a,b:c\\d e").tempdir().unwrap();
            let path = |name: &str| place.path().join(name);
            for name in ["one", "two", "upper", "work", "at"] {
                fs::create_dir(path(name)).unwrap();
            }
            fs::write(path("one/file"), "1").unwrap();
            fs::write(path("two/file"), "2").unwrap();
            let spec = OverlaySpec {
                lower: vec![path("one"), path("two")],
                upper: Some(Upper {
                    directory: path("upper"),
                    work: path("work"),
                    base: String::new(),
                    volatile: false,
                }),
                restrictions: Restrictions::BUILD,
            };
            let look = || {
                let context = Layers::open(&spec)?.configure_by(way, &Label::default())?;
                let mount = context.mount(spec.restrictions)?.attach(&path("at"))?;
                assert_eq!(fs::read_to_string(path("at/file")).unwrap(), "1");
                fs::write(path("at/file"), "3").unwrap();
                mount.unmount()
            };
            namespace::with_temporary(look, Ok).unwrap();
            assert_eq!(fs::read_to_string(path("upper/file")).unwrap(), "3");
        }
    }
}
