//! Locks between processes.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use super::error::PathError;
use super::file::PRIVATE_FILE;
use crate::cancel::{Cancel, Cancelled};

/// The pause between two attempts to take a lock that another process holds.
const RETRY: Duration = Duration::from_millis(50);

/// A reason why a lock was not taken.
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
/// [`File::lock`] is `flock(2)` on Linux, which turns it into a byte-range lock on NFS, so
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
        let path = path.as_ref();
        let file = open(path)?;
        loop {
            match file.lock() {
                Ok(()) => return Ok(Self { file }),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(PathError::on("lock", path)(error)),
            }
        }
    }

    /// Takes the exclusive lock on `path`; returns `None` if another process holds it.
    ///
    /// # Errors
    /// As [`Self::exclusive`].
    pub fn try_exclusive(path: impl AsRef<Path>) -> Result<Option<Self>, PathError> {
        Self::attempt(path.as_ref(), File::try_lock)
    }

    /// Returns the locked file, open for reading and writing.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Waits for the exclusive lock on `path` until `cancel` is set; calls `waiting` once if another process holds
    /// it.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn exclusive_unless(path: &Path, cancel: &Cancel, waiting: impl FnOnce()) -> Result<Self, LockError> {
        Self::poll(path, File::try_lock, cancel, waiting)
    }

    /// Waits as [`Self::exclusive_unless`] does, for a lock that is shared with other callers of this function.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn shared_unless(path: &Path, cancel: &Cancel, waiting: impl FnOnce()) -> Result<Self, LockError> {
        Self::poll(path, File::try_lock_shared, cancel, waiting)
    }

    /// Tries until it succeeds: a thread that sleeps in `flock(2)` would not notice `cancel`.
    fn poll(path: &Path, take: Take, cancel: &Cancel, waiting: impl FnOnce()) -> Result<Self, LockError> {
        let mut waiting = Some(waiting);
        loop {
            cancel.check()?;
            if let Some(lock) = Self::attempt(path, take)? {
                return Ok(lock);
            }
            if let Some(waiting) = waiting.take() {
                waiting();
            }
            std::thread::sleep(RETRY);
        }
    }

    /// Opens `path` and takes the lock without waiting; returns `None` if it is held.
    fn attempt(path: &Path, take: Take) -> Result<Option<Self>, PathError> {
        let file = open(path)?;
        loop {
            match take(&file) {
                Ok(()) => return Ok(Some(Self { file })),
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Interrupted => {}
                Err(TryLockError::Error(error)) => return Err(PathError::on("lock", path)(error)),
            }
        }
    }
}

/// A function that takes a lock on an open file without waiting.
type Take = fn(&File) -> Result<(), TryLockError>;

/// Opens a lock file; over NFS an exclusive lock needs a file that is open for writing.
fn open(path: &Path) -> Result<File, PathError> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        // A process that can open the file can hold the lock, and make every build wait.
        .mode(PRIVATE_FILE)
        .open(path)
        .map_err(PathError::on("open lock file", path))
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn waiting_ends_with_cancellation_and_says_that_it_waits() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let shared = FileLock::shared_unless(&path, &Cancel::default(), || panic!("nothing holds it")).unwrap();
        FileLock::shared_unless(&path, &Cancel::default(), || panic!("only shared locks are held")).unwrap();
        let (cancel, mut waited) = (Cancel::default(), 0);
        let result = FileLock::exclusive_unless(&path, &cancel, || {
            waited += 1;
            cancel.cancel();
        });
        assert!(matches!(result, Err(LockError::Cancelled(_))));
        assert_eq!(waited, 1);
        drop(shared);
        FileLock::exclusive_unless(&path, &Cancel::default(), || panic!("it is free")).unwrap();
    }
}
