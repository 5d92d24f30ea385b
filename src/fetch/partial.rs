//! A download under way: a file named after its expected digest, locked by its writer, and kept when it is interrupted.
//!
//! Invariant: only the holder of a [`Partial`] writes the file that its path names, across threads, processes and hosts
//! that share the directory.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::FetchError;
use crate::cancel::Cancel;
use crate::durable::{FileLock, PathError, TEMPORARY_PREFIX};
use crate::package::Checksum;

/// Smallest size of an interrupted download that is kept, in bytes.
const WORTH_KEEPING_BYTES: u64 = 1024 * 1024;
/// Age after which an interrupted download is removed instead of resumed.
const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);
/// Age after which other temporary files are removed; they are written within seconds.
const OTHERS_KEPT_FOR: Duration = Duration::from_secs(3600);
/// Interval at which a lock is tried again that another holder has.
const LOCK_POLL: Duration = Duration::from_millis(20);

/// The exclusive right to download one content into one directory, and the bytes that are already there. Dropping it
/// keeps at least 1 MiB for a later attempt and removes less.
#[derive(Debug)]
pub struct Partial {
    lock: FileLock,
    path: PathBuf,
    discard: bool,
}

impl Partial {
    /// Waits for the right to download the content `digest` into `directory`. The holder before may have finished the
    /// download: look again before downloading.
    ///
    /// # Errors
    /// [`FetchError::Cancelled`] if one of `stop` is set; [`FetchError::Path`] if the file cannot be created or locked.
    pub fn lock(directory: &Path, digest: Checksum, stop: &[&Cancel]) -> Result<Self, FetchError> {
        loop {
            for flag in stop {
                flag.check()?;
            }
            match Self::try_lock(directory, digest)? {
                Some(partial) => return Ok(partial),
                None => std::thread::sleep(LOCK_POLL),
            }
        }
    }

    /// Does the same as [`Self::lock`], but returns `None` instead of waiting.
    ///
    /// # Errors
    /// If the file cannot be created or locked.
    pub fn try_lock(directory: &Path, digest: Checksum) -> Result<Option<Self>, PathError> {
        let path = Self::path_in(directory, digest);
        let lock = lock_if_named(&path)?;
        Ok(lock.map(|lock| Self {
            lock,
            path,
            discard: false,
        }))
    }

    /// Returns the path of an unfinished download of `digest` into `directory`.
    pub fn path_in(directory: &Path, digest: Checksum) -> PathBuf {
        directory.join(format!("{TEMPORARY_PREFIX}part-{digest}"))
    }

    /// Returns the file, open for reading and writing.
    pub fn file(&self) -> &File {
        self.lock.file()
    }

    /// Returns the path of the file before it is committed.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Syncs the file, gives it its final name `target` in the same directory and syncs the directory. The lock lasts
    /// until the result is dropped.
    ///
    /// # Errors
    /// If any of the three fails.
    pub fn commit(self, target: &Path) -> Result<Committed, PathError> {
        // Packages are public; their modes must not depend on the umask.
        let mode = Permissions::from_mode(0o644);
        self.file()
            .set_permissions(mode)
            .map_err(PathError::on("set the mode of", &self.path))?;
        self.file().sync_all().map_err(PathError::on("sync", &self.path))?;
        fs::rename(&self.path, target).map_err(PathError::on("rename into place", target))?;
        let directory = target.parent().unwrap_or(Path::new("/"));
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(PathError::on("sync", directory))?;
        Ok(Committed { _lock: self })
    }

    /// Releases the right and removes the file.
    pub fn discard(mut self) {
        self.discard = true;
    }
}

/// A finished download whose lock is still held.
#[derive(Debug)]
pub struct Committed {
    _lock: Partial,
}

impl Drop for Partial {
    fn drop(&mut self) {
        let Ok(metadata) = self.file().metadata() else { return };
        let worthless = self.discard || metadata.len() < WORTH_KEEPING_BYTES;
        if worthless && is_named(&metadata, &self.path) {
            // A failure leaves a temporary file, which the next sweep removes.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes the files that killed processes left in `directory`: downloads too old to be resumed and other temporary
/// files of oic. Locked files stay.
///
/// # Errors
/// If the directory cannot be read. A leftover that cannot be removed stays.
pub(crate) fn sweep(directory: &Path) -> Result<(), PathError> {
    let entries = fs::read_dir(directory).map_err(PathError::on("read", directory))?;
    for entry in entries {
        let entry = entry.map_err(PathError::on("read", directory))?;
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(TEMPORARY_PREFIX)) else {
            continue;
        };
        let kept_for = if rest.starts_with("part-") {
            KEPT_FOR
        } else {
            OTHERS_KEPT_FOR
        };
        let path = entry.path();
        let Ok(metadata) = entry.metadata() else { continue };
        if !metadata.is_file() || is_younger(&metadata, kept_for) {
            continue;
        }
        if let Ok(Some(_lock)) = lock_if_named(&path) {
            tracing::info!(path = %path.display(), "removing the leftover of an interrupted run");
            let _ = fs::remove_file(&path);
        }
    }
    Ok(())
}

/// Says whether the name of `path` is that of an unfinished download, which may be resumed.
pub(crate) fn is_download(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| download(name).is_some())
}

/// Returns the part of `name` behind the start of the names of downloads; `None` if it is another name.
fn download(name: &str) -> Option<&str> {
    name.strip_prefix(TEMPORARY_PREFIX)?.strip_prefix("part-")
}

fn is_younger(metadata: &fs::Metadata, age: Duration) -> bool {
    let changed = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    // A time in the future counts as now.
    SystemTime::now()
        .duration_since(changed)
        .map_or(true, |elapsed| elapsed < age)
}

/// Locks the file that `path` names; `None` if another holder has the lock, or if the file was renamed or removed while
/// it was opened: it is then not the one that `path` names.
fn lock_if_named(path: &Path) -> Result<Option<FileLock>, PathError> {
    let Some(lock) = FileLock::try_exclusive(path)? else {
        return Ok(None);
    };
    let metadata = lock.file().metadata().map_err(PathError::on("examine", path))?;
    if is_named(&metadata, path) {
        return Ok(Some(lock));
    }
    if fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink()) {
        return Err(PathError::on("lock", path)(io::Error::other(
            "it is a symbolic link, which oic never makes",
        )));
    }
    Ok(None)
}

/// Returns whether `path` names the very file that `metadata` describes.
fn is_named(metadata: &fs::Metadata, path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|named| named.dev() == metadata.dev() && named.ino() == metadata.ino())
}
