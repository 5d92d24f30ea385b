//! Files of an image, by paths that cannot leave it.
//!
//! Invariant: every path is resolved as if the image's root directory were `/`
//! (openat2(2), `RESOLVE_IN_ROOT`), so no symbolic link of a package leads a
//! read, write or removal to the build host. Only regular files and directories are
//! opened: a FIFO or a device node that a package left is refused, not waited for.

mod read;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::ops::Bound;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::fs::{Gid, Uid};
use rustix::io::Errno;

use crate::durable::{self, PathError, TEMPORARY_PREFIX, descriptor_path, remove_tree};

/// Largest file that [`Root::read`] takes into memory, in bytes.
const READ_LIMIT_BYTES: u64 = 64 << 20;

/// The owner of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// The root directory of an image that is being made.
#[derive(Debug, Clone)]
pub struct Root {
    directory: Arc<OwnedFd>,
    path: PathBuf,
    spared: Arc<BTreeSet<PathBuf>>,
}

impl Root {
    /// Opens the directory `path`.
    ///
    /// # Errors
    /// If it is not a directory that can be opened.
    pub fn open(path: &Path) -> Result<Self, PathError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Mode::empty());
        let failed = |errno: Errno| PathError::on("open the root directory", path)(errno.into());
        Ok(Self {
            directory: Arc::new(directory.map_err(failed)?),
            path: path.to_owned(),
            spared: Arc::default(),
        })
    }

    /// Returns the same root directory, but [`Self::remove`] and [`Self::clear`] leave the files `paths` alone.
    #[must_use]
    pub fn sparing<P: AsRef<Path>>(&self, paths: impl IntoIterator<Item = P>) -> Self {
        let paths = paths.into_iter().map(|path| relative(path.as_ref()).to_owned());
        Self {
            spared: Arc::new(paths.collect()),
            ..self.clone()
        }
    }

    /// Returns whether the file `path` is one of those of [`Self::sparing`].
    pub fn is_spared(&self, path: impl AsRef<Path>) -> bool {
        self.spared.contains(relative(path.as_ref()))
    }

    /// Returns whether a file below the directory `path` is one of those of [`Self::sparing`].
    fn spares_below(&self, path: &Path) -> bool {
        let mut from = self
            .spared
            .range::<Path, _>((Bound::Excluded(relative(path)), Bound::Unbounded));
        from.next().is_some_and(|spared| spared.starts_with(relative(path)))
    }

    /// Returns the path of the root directory on the host.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the content of the file `path`, or `None` if there is no such file.
    ///
    /// # Errors
    /// If it cannot be read, is not a regular file, or is larger than 64 MiB.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Option<Vec<u8>>, PathError> {
        let path = path.as_ref();
        let read = || -> io::Result<Option<Vec<u8>>> {
            let Some(found) = optional(self.resolve(path, OFlags::PATH))? else {
                return Ok(None);
            };
            let file = durable::reopen_regular(&found)?;
            durable::read_at_most(file, READ_LIMIT_BYTES).map(Some)
        };
        read().map_err(self.on("read", path))
    }

    /// Returns the first bytes of the file `path`, at most `limit_bytes`.
    ///
    /// # Errors
    /// If it cannot be read, or is not a regular file.
    pub fn head(&self, path: impl AsRef<Path>, limit_bytes: u64) -> Result<Vec<u8>, PathError> {
        let path = path.as_ref();
        let read = || -> io::Result<Vec<u8>> {
            let file = durable::reopen_regular(&self.resolve(path, OFlags::PATH)?)?;
            let mut bytes = Vec::new();
            file.take(limit_bytes).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().map_err(self.on("read", path))
    }

    /// Returns the mode (type and permission bits) of the file that `path` leads to, or `None` if there is nothing.
    ///
    /// # Errors
    /// If it cannot be looked at.
    pub fn mode(&self, path: impl AsRef<Path>) -> Result<Option<u32>, PathError> {
        let path = path.as_ref();
        let stat = || -> io::Result<Option<u32>> {
            let Some(file) = optional(self.resolve(path, OFlags::PATH))? else {
                return Ok(None);
            };
            Ok(Some(rustix::fs::fstat(file)?.st_mode))
        };
        stat().map_err(self.on("look at", path))
    }

    /// Returns whether `path` leads to something.
    ///
    /// # Errors
    /// As [`Self::mode`].
    pub fn exists(&self, path: impl AsRef<Path>) -> Result<bool, PathError> {
        Ok(self.mode(path)?.is_some())
    }

    /// Returns the names in directory `path`, sorted; none if there is no such directory.
    ///
    /// # Errors
    /// If it cannot be read, or is not a directory.
    pub fn names(&self, path: impl AsRef<Path>) -> Result<Vec<OsString>, PathError> {
        let path = path.as_ref();
        let list = || -> io::Result<Vec<OsString>> {
            let Some(found) = optional(self.resolve(non_empty(path), OFlags::PATH))? else {
                return Ok(Vec::new());
            };
            durable::require(rustix::fs::fstat(&found)?.st_mode, libc::S_IFDIR)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let directory = rustix::fs::openat(&found, ".", flags, Mode::empty())?;
            let mut names = Vec::new();
            for entry in Dir::read_from(&directory)? {
                let entry = entry?;
                let name = OsStr::from_bytes(entry.file_name().to_bytes());
                if name != "." && name != ".." {
                    names.push(name.to_owned());
                }
            }
            names.sort();
            Ok(names)
        };
        list().map_err(self.on("list", path))
    }

    /// Writes a file with `contents` and permission bits `mode` at `path`, in place of any other file or link of that
    /// name; missing parents are made with mode 0755.
    ///
    /// # Errors
    /// If it cannot be written, or a directory has the name.
    pub fn write(&self, path: impl AsRef<Path>, contents: impl AsRef<[u8]>, mode: u32) -> Result<(), PathError> {
        self.copy_in(path, contents.as_ref(), mode)
    }

    /// Writes as [`Self::write`] does, with everything that `source` gives as the contents.
    ///
    /// # Errors
    /// As [`Self::write`], and those of `source`.
    pub fn copy_in(&self, path: impl AsRef<Path>, mut source: impl Read, mode: u32) -> Result<(), PathError> {
        let path = path.as_ref();
        let mut copy = || -> io::Result<()> {
            let (parent, name) = self.parent(path, true)?;
            let mut temporary = OsString::from(TEMPORARY_PREFIX);
            temporary.push(name);
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            ignore_missing(rustix::fs::unlinkat(&parent, &temporary, AtFlags::empty()))?;
            let file = rustix::fs::openat(&parent, &temporary, flags, Mode::from_raw_mode(0o600))?;
            let written = (|| {
                let mut file = File::from(file);
                io::copy(&mut source, &mut file)?;
                file.flush()?;
                file.set_permissions(fs::Permissions::from_mode(mode & 0o7777))?;
                Ok(rustix::fs::renameat(&parent, &temporary, &parent, name)?)
            })();
            if written.is_err() {
                // Only the first error is reported.
                let _ = rustix::fs::unlinkat(&parent, &temporary, AtFlags::empty());
            }
            written
        };
        copy().map_err(self.on("write", path))
    }

    /// Makes `path` a symbolic link to `target`, in place of any other file or link.
    ///
    /// # Errors
    /// If it cannot be made, or a directory has the name.
    pub fn symlink(&self, target: impl AsRef<Path>, path: impl AsRef<Path>) -> Result<(), PathError> {
        let path = path.as_ref();
        let link = || -> io::Result<()> {
            let (parent, name) = self.parent(path, true)?;
            ignore_missing(rustix::fs::unlinkat(&parent, name, AtFlags::empty()))?;
            Ok(rustix::fs::symlinkat(target.as_ref(), &parent, name)?)
        };
        link().map_err(self.on("link", path))
    }

    /// Returns the target of the symbolic link `path`, or `None` if it is not one.
    ///
    /// # Errors
    /// If it cannot be looked at.
    pub fn read_link(&self, path: impl AsRef<Path>) -> Result<Option<PathBuf>, PathError> {
        let path = path.as_ref();
        let read = || -> io::Result<Option<PathBuf>> {
            let Some((parent, name)) = optional(self.parent(path, false))? else {
                return Ok(None);
            };
            match rustix::fs::readlinkat(&parent, name, Vec::new()) {
                Ok(target) => Ok(Some(OsStr::from_bytes(target.to_bytes()).into())),
                Err(Errno::INVAL | Errno::NOENT) => Ok(None),
                Err(errno) => Err(errno.into()),
            }
        };
        read().map_err(self.on("read the link", path))
    }

    /// Renames a file within one directory; an existing `to` is not replaced.
    ///
    /// # Errors
    /// If it cannot be renamed, or `to` exists.
    pub fn rename(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<(), PathError> {
        let (from, to) = (from.as_ref(), to.as_ref());
        let rename = || -> io::Result<()> {
            let (old, old_name) = self.parent(from, false)?;
            let (new, new_name) = self.parent(to, true)?;
            Ok(rustix::fs::renameat_with(
                &old,
                old_name,
                &new,
                new_name,
                RenameFlags::NOREPLACE,
            )?)
        };
        rename().map_err(self.on("rename", from))
    }

    /// Makes sure that directory `path` exists; missing parts of it are made with mode 0755.
    ///
    /// # Errors
    /// If a part of it is not a directory or cannot be made.
    pub fn create_directory(&self, path: impl AsRef<Path>) -> Result<(), PathError> {
        let path = path.as_ref();
        self.directories(path)
            .map(drop)
            .map_err(self.on("create directory", path))
    }

    /// Sets the owner of the file or link `path` itself; the permission bits stay.
    ///
    /// # Errors
    /// If it does not exist, or the owner cannot be set.
    pub fn set_owner(&self, path: impl AsRef<Path>, owner: Owner) -> Result<(), PathError> {
        let path = path.as_ref();
        let set = || -> io::Result<()> {
            let (parent, name) = self.parent(path, false)?;
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let found = rustix::fs::openat(&parent, name, flags, Mode::empty())?;
            let mode = rustix::fs::fstat(&found)?.st_mode;
            let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
            rustix::fs::chownat(&found, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
            // Linux takes set-id bits away (chown(2)).
            if mode & libc::S_IFMT == libc::S_IFREG && mode & 0o6000 != 0 {
                fs::set_permissions(descriptor_path(&found), fs::Permissions::from_mode(mode & 0o7777))?;
            }
            Ok(())
        };
        set().map_err(self.on("set the owner of", path))
    }

    /// Sets the permission bits of the file that `path` leads to, without opening it.
    ///
    /// # Errors
    /// If there is nothing, or they cannot be set.
    pub fn set_mode(&self, path: impl AsRef<Path>, mode: u32) -> Result<(), PathError> {
        let path = path.as_ref();
        self.resolve(path, OFlags::PATH)
            .map_err(io::Error::from)
            .and_then(|found| fs::set_permissions(descriptor_path(&found), fs::Permissions::from_mode(mode)))
            .map_err(self.on("set the mode of", path))
    }

    /// Removes a file, a link or a whole directory; a missing one is fine. What [`Self::sparing`] names stays, with the
    /// directories that it lies in.
    ///
    /// # Errors
    /// If it cannot be removed, or something is mounted there.
    pub fn remove(&self, path: impl AsRef<Path>) -> Result<(), PathError> {
        let path = path.as_ref();
        if self.is_spared(path) {
            return Ok(());
        }
        if self.spares_below(path) {
            return self.clear(path);
        }
        match optional(self.parent(path, false)).map_err(self.on("remove", path))? {
            Some((parent, name)) => remove_tree(&descriptor_path(&parent).join(name)).map_err(|error| PathError {
                path: self.path.join(relative(path)),
                ..error
            }),
            None => Ok(()),
        }
    }

    /// Removes everything in directory `path`, but not the directory.
    ///
    /// # Errors
    /// As [`Self::remove`].
    pub fn clear(&self, path: impl AsRef<Path>) -> Result<(), PathError> {
        let path = path.as_ref();
        for name in self.names(path)? {
            self.remove(path.join(name))?;
        }
        Ok(())
    }

    fn on(&self, action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PathError {
        PathError::on(action, self.path.join(relative(path)))
    }

    fn resolve(&self, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        loop {
            match rustix::fs::openat2(&self.directory, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
                // A rename elsewhere raced with `..`; the manual page says to try again.
                Err(Errno::AGAIN) => {}
                other => return other,
            }
        }
    }

    /// Returns the opened directory that `path` lies in, and the name there.
    fn parent<'p>(&self, path: &'p Path, create: bool) -> io::Result<(OwnedFd, &'p OsStr)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let parent = path.parent().unwrap_or(Path::new("/"));
        let directory = if create {
            self.directories(parent)?
        } else {
            self.resolve(non_empty(parent), OFlags::PATH | OFlags::DIRECTORY)?
        };
        Ok((directory, name))
    }

    fn directories(&self, path: &Path) -> io::Result<OwnedFd> {
        match self.resolve(non_empty(path), OFlags::PATH | OFlags::DIRECTORY) {
            Ok(directory) => return Ok(directory),
            Err(Errno::NOENT) if path.file_name().is_some() => {}
            Err(errno) => return Err(errno.into()),
        }
        let (parent, name) = self.parent(path, true)?;
        match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
            // The directories of an image are open, independent of the caller's umask.
            Ok(()) => rustix::fs::chmodat(&parent, name, Mode::from_raw_mode(0o755), AtFlags::empty())?,
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        // A dangling link by this name still fails here, instead of an endless loop.
        Ok(self.resolve(path, OFlags::PATH | OFlags::DIRECTORY)?)
    }
}

fn non_empty(path: &Path) -> &Path {
    if path.as_os_str().is_empty() {
        Path::new("/")
    } else {
        path
    }
}

fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

/// Turns the error for a missing file into `None`.
fn optional<T, E: Into<io::Error>>(result: Result<T, E>) -> io::Result<Option<T>> {
    match result.map_err(Into::into) {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

fn ignore_missing(result: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod hostile_tests;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn root() -> (tempfile::TempDir, Root) {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::open(directory.path()).unwrap();
        (directory, root)
    }

    #[test]
    fn files_are_written_with_parents_and_mode() {
        let (directory, root) = root();
        root.write("/etc/a/b", "text", 0o4755).unwrap();
        assert_eq!(root.read("etc/a/b").unwrap().unwrap(), b"text");
        assert_eq!(root.mode("/etc/a/b").unwrap().unwrap() & 0o7777, 0o4755);
        assert_eq!(root.mode("/etc/a").unwrap().unwrap() & 0o7777, 0o755);
        assert_eq!(root.names("/etc/a").unwrap(), ["b"]);
        root.write("/etc/a/b", "other", 0o600).unwrap();
        assert_eq!(fs::read(directory.path().join("etc/a/b")).unwrap(), b"other");
        assert_eq!(root.read("/none/x").unwrap(), None);
        root.clear("/etc").unwrap();
        assert_eq!(root.names("/etc").unwrap().len(), 0);
        root.remove("/etc/none").unwrap();
        root.remove("/none/none").unwrap();
    }

    #[test]
    fn spared_files_stay() {
        let (directory, root) = root();
        for path in ["/tmp/a/b/c", "/tmp/a/d", "/tmp/a-b", "/tmp/e"] {
            root.write(path, "text", 0o644).unwrap();
        }
        let root = root.sparing(["/tmp/a/b/c", "/tmp/e", "/tmp/missing"]);
        assert!(root.is_spared("tmp/e") && !root.is_spared("/tmp/a"));
        root.clear("/tmp").unwrap();
        root.remove("/tmp/e").unwrap();
        assert_eq!(root.names("/tmp").unwrap(), ["a", "e"]);
        assert_eq!(root.names("/tmp/a").unwrap(), ["b"]);
        assert!(directory.path().join("tmp/a/b/c").exists());
        root.remove("/tmp").unwrap();
        assert!(directory.path().join("tmp/a/b/c").exists());
    }

    #[test]
    fn links_never_lead_out() {
        let (directory, root) = root();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("file"), "host").unwrap();
        symlink(outside.path(), directory.path().join("abs")).unwrap();
        symlink("../../../../../..", directory.path().join("up")).unwrap();
        assert_eq!(root.read("/abs/file").unwrap(), None);
        assert!(root.write("/abs/new", "x", 0o644).is_err());
        root.write("/up/inside", "x", 0o644).unwrap();
        assert!(directory.path().join("inside").exists());
        symlink(outside.path().join("file"), directory.path().join("link")).unwrap();
        root.write("/link", "image", 0o644).unwrap();
        root.remove("/abs/file").unwrap();
        root.clear("/abs").unwrap();
        root.remove("/abs").unwrap();
        assert_eq!(fs::read_to_string(outside.path().join("file")).unwrap(), "host");
        assert_eq!(fs::read_to_string(directory.path().join("link")).unwrap(), "image");
    }

    #[test]
    fn links_are_made_read_and_renamed() {
        let (_directory, root) = root();
        root.symlink("../run/x", "/etc/link").unwrap();
        root.symlink("../run/y", "/etc/link").unwrap();
        assert_eq!(root.read_link("/etc/link").unwrap().unwrap(), Path::new("../run/y"));
        root.write("/etc/file", "", 0o644).unwrap();
        assert_eq!(root.read_link("/etc/file").unwrap(), None);
        assert!(root.rename("/etc/file", "/etc/link").is_err());
        root.rename("/etc/file", "/etc/new").unwrap();
        assert!(root.exists("/etc/new").unwrap() && !root.exists("/etc/link").unwrap());
    }
}
