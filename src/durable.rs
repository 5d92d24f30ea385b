//! Files that are complete or absent, locks between processes, and removal that
//! stays inside one mount.
//!
//! Invariant: a file under its final name was written whole and synced; names
//! that start with [`TEMPORARY_PREFIX`] are leftovers and may be deleted by
//! whoever holds the directory's lock.

mod writeback;

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, ResolveFlags};

pub use writeback::{start_write_back, write_back};

use crate::cancel::{Cancel, Cancelled};

/// Every temporary file and directory of oic starts like this.
pub const TEMPORARY_PREFIX: &str = ".oic-tmp-";

/// An I/O error that names the path and what was tried.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct PathError {
    /// What was tried, as a verb: `create`, `write`, `lock`.
    pub action: &'static str,
    /// The path it concerned.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl PathError {
    /// For `map_err`: `fs::read(p).map_err(PathError::on("read", p))`.
    pub fn on(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self { action, path, source }
    }

    /// Whether the file system was full.
    pub fn is_no_space(&self) -> bool {
        matches!(
            self.source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    }
}

/// A file that appears under its final name only when [`AtomicFile::commit`] is
/// called; dropped before that, it leaves nothing behind.
#[derive(Debug)]
pub struct AtomicFile {
    file: tempfile::NamedTempFile,
    target: PathBuf,
}

impl AtomicFile {
    /// Starts writing what will become `target`, in the same directory, mode 0644.
    ///
    /// # Errors
    /// If the temporary file cannot be created.
    pub fn create(target: impl Into<PathBuf>) -> Result<Self, PathError> {
        use std::os::unix::fs::PermissionsExt as _;
        let target = target.into();
        let directory = directory_of(&target);
        let file = tempfile::Builder::new()
            .prefix(TEMPORARY_PREFIX)
            .permissions(fs::Permissions::from_mode(0o644))
            .tempfile_in(directory)
            .map_err(PathError::on("create a temporary file in", directory))?;
        Ok(Self { file, target })
    }

    /// Goes on with `file`, an existing temporary file at `path`, which lies on the same file system as `target`.
    pub fn adopt(file: File, path: tempfile::TempPath, target: impl Into<PathBuf>) -> Self {
        Self {
            file: tempfile::NamedTempFile::from_parts(file, path),
            target: target.into(),
        }
    }

    /// The open temporary file.
    pub fn file(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Where the temporary file lies until it is committed.
    pub fn temporary_path(&self) -> &Path {
        self.file.path()
    }

    /// Syncs the file, renames it to its final name and syncs the directory.
    ///
    /// # Errors
    /// If any of the three fails; the target is then as it was before.
    pub fn commit(self) -> Result<File, PathError> {
        let Self { file, target } = self;
        file.as_file().sync_all().map_err(PathError::on("sync", &target))?;
        let file = file
            .persist(&target)
            .map_err(|error| PathError::on("rename into place", &target)(error.error))?;
        sync_directory(directory_of(&target))?;
        Ok(file)
    }
}

/// The directory that `path` is in; for a name alone it is the working directory.
fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("/"),
    }
}

/// Makes the names in `directory` durable.
///
/// # Errors
/// If it cannot be opened or synced.
pub fn sync_directory(directory: &Path) -> Result<(), PathError> {
    File::open(directory)
        .and_then(|opened| opened.sync_all())
        .map_err(PathError::on("sync", directory))
}

/// Writes `contents` to `path` through an [`AtomicFile`].
///
/// # Errors
/// As [`AtomicFile::create`] and [`AtomicFile::commit`].
pub fn write_file(path: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> Result<(), PathError> {
    let path = path.as_ref();
    let mut file = AtomicFile::create(path)?;
    file.file()
        .write_all(contents.as_ref())
        .map_err(PathError::on("write", path))?;
    file.commit().map(drop)
}

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The lock file could not be used.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The user asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// An advisory lock on a file, released when dropped or when the process ends.
///
/// It is a `flock(2)` lock, which Linux turns into a byte-range lock on NFS, so
/// it also holds between hosts.
#[derive(Debug)]
pub struct FileLock {
    file: File,
}

impl FileLock {
    /// Waits for the exclusive lock on `path`, which is created if absent and never removed.
    ///
    /// # Errors
    /// If the file cannot be opened or the file system has no locks.
    pub fn exclusive(path: impl AsRef<Path>) -> Result<Self, PathError> {
        Self::acquire(path.as_ref(), FlockOperation::LockExclusive)
    }

    /// Waits for a shared lock on `path`.
    ///
    /// # Errors
    /// As [`Self::exclusive`].
    pub fn shared(path: impl AsRef<Path>) -> Result<Self, PathError> {
        Self::acquire(path.as_ref(), FlockOperation::LockShared)
    }

    /// The exclusive lock on `path`, or `None` if somebody holds it.
    ///
    /// # Errors
    /// As [`Self::exclusive`].
    pub fn try_exclusive(path: impl AsRef<Path>) -> Result<Option<Self>, PathError> {
        Self::try_acquire(path.as_ref(), FlockOperation::NonBlockingLockExclusive)
    }

    /// The locked file, open for reading and writing.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Waits for the exclusive lock on `path`, but not longer than until `cancel`; calls
    /// `waiting` once if somebody else holds it.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn exclusive_unless(path: &Path, cancel: &Cancel, waiting: impl FnOnce()) -> Result<Self, LockError> {
        Self::poll(path, FlockOperation::NonBlockingLockExclusive, cancel, waiting)
    }

    /// As [`Self::exclusive_unless`], but shared with others that take it this way.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn shared_unless(path: &Path, cancel: &Cancel, waiting: impl FnOnce()) -> Result<Self, LockError> {
        Self::poll(path, FlockOperation::NonBlockingLockShared, cancel, waiting)
    }

    fn poll(
        path: &Path,
        operation: FlockOperation,
        cancel: &Cancel,
        waiting: impl FnOnce(),
    ) -> Result<Self, LockError> {
        let mut waiting = Some(waiting);
        loop {
            cancel.check()?;
            if let Some(lock) = Self::try_acquire(path, operation)? {
                return Ok(lock);
            }
            if let Some(waiting) = waiting.take() {
                waiting();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn try_acquire(path: &Path, operation: FlockOperation) -> Result<Option<Self>, PathError> {
        match Self::acquire(path, operation) {
            Ok(lock) => Ok(Some(lock)),
            Err(error) if error.source.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn acquire(path: &Path, operation: FlockOperation) -> Result<Self, PathError> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .map_err(PathError::on("open lock file", path))?;
        loop {
            match rustix::fs::flock(&file, operation) {
                Ok(()) => return Ok(Self { file }),
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(PathError::on("lock", path)(errno.into())),
            }
        }
    }
}

/// A directory for the time of some work; removed when dropped, within its own mount.
#[derive(Debug)]
pub struct ScratchDir {
    path: PathBuf,
}

impl ScratchDir {
    /// Makes a directory with a temporary name in `parent`, mode 0700.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn create_in(parent: &Path) -> Result<Self, PathError> {
        let made = tempfile::Builder::new().prefix(TEMPORARY_PREFIX).tempdir_in(parent);
        let path = made
            .map_err(PathError::on("create a temporary directory in", parent))?
            .keep();
        Ok(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.path) {
            tracing::warn!(%error, "a temporary directory stays; the next build removes it");
        }
    }
}

/// Removes `path` and everything below it, without following symbolic links and
/// without ever entering another mount; a missing `path` is fine.
///
/// # Errors
/// `EXDEV` if a mount point lies below `path` (nothing on it is touched), and
/// whatever removing reports.
pub fn remove_tree(path: &Path) -> Result<(), PathError> {
    let fail = |source: io::Error| PathError {
        action: "remove",
        path: path.to_owned(),
        source,
    };
    let Some(name) = path.file_name() else {
        return Err(fail(io::ErrorKind::InvalidInput.into()));
    };
    let parent = match File::open(directory_of(path)) {
        Ok(parent) => parent,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(fail(error)),
    };
    remove_entry(parent.as_fd(), name).map_err(|errno| match errno {
        rustix::io::Errno::XDEV => fail(io::Error::other(
            "something is mounted at or below it; unmount it first (oic umount)",
        )),
        errno => fail(errno.into()),
    })
}

/// Removes `name` in `parent`; recursion depth is bounded by descriptors, one per level.
fn remove_entry(parent: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => return Ok(()),
        Err(rustix::io::Errno::ISDIR | rustix::io::Errno::PERM) => {}
        Err(errno) => return Err(errno),
    }
    let directory = open_directory_here(parent, name)?;
    let mut children = Vec::new();
    for entry in rustix::fs::Dir::read_from(&directory)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            children.push(entry.file_name().to_owned());
        }
    }
    for child in children {
        use std::os::unix::ffi::OsStrExt as _;
        remove_entry(directory.as_fd(), OsStr::from_bytes(child.to_bytes()))?;
    }
    drop(directory);
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}

/// Opens a directory only if it lies on the same mount as `parent` (openat2(2), `RESOLVE_NO_XDEV`).
fn open_directory_here(parent: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat2(
        parent,
        name,
        flags,
        Mode::empty(),
        ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS,
    )
}

/// Deletes leftovers of killed processes in `directory`. The caller holds the
/// lock that covers it.
///
/// # Errors
/// If the directory cannot be read or a leftover cannot be removed.
pub fn sweep_temporaries(directory: &Path) -> Result<(), PathError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(PathError::on("read", directory)(error)),
    };
    for entry in entries {
        let entry = entry.map_err(PathError::on("read", directory))?;
        if entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX) {
            remove_tree(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_uncommitted_file_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("index");
        let mut file = AtomicFile::create(&target).unwrap();
        file.file().write_all(b"half").unwrap();
        drop(file);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        write_file(&target, "whole").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"whole");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_name_alone_is_in_the_working_directory() {
        let name = format!("{TEMPORARY_PREFIX}bare-name-{}", std::process::id());
        let written = write_file(&name, "whole");
        let read = fs::read(Path::new(".").join(&name));
        remove_tree(Path::new(&name)).unwrap();
        written.unwrap();
        assert_eq!(read.unwrap(), b"whole");
        assert!(!Path::new(&name).exists());
        for (path, directory) in [("name", "."), ("./name", "."), ("a/b", "a"), ("/b", "/"), ("/", "/")] {
            assert_eq!(directory_of(Path::new(path)), Path::new(directory), "{path}");
        }
    }

    #[test]
    fn a_lock_excludes_until_it_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let first = FileLock::exclusive(&path).unwrap();
        assert!(FileLock::try_exclusive(&path).unwrap().is_none());
        drop(first);
        assert!(FileLock::try_exclusive(&path).unwrap().is_some());
    }

    #[test]
    fn removal_does_not_follow_links() {
        let directory = tempfile::tempdir().unwrap();
        let (tree, outside) = (directory.path().join("tree"), directory.path().join("outside"));
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "x").unwrap();
        std::os::unix::fs::symlink(&outside, tree.join("a/link")).unwrap();
        remove_tree(&tree).unwrap();
        assert!(!tree.exists() && outside.join("kept").exists());
        remove_tree(&tree).unwrap();
    }

    #[test]
    fn sweeping_takes_only_leftovers() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(".oic-tmp-x"), "").unwrap();
        fs::write(directory.path().join("kept"), "").unwrap();
        sweep_temporaries(directory.path()).unwrap();
        let left: Vec<_> = fs::read_dir(directory.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(left, ["kept"]);
    }
}
