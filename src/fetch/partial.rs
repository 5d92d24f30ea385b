//! A download that is under way: a file named after the digest that it must
//! get, locked by whoever writes it, and worth keeping when it is interrupted.
//!
//! Invariant: only the holder of a [`Partial`] writes the file that its path
//! names, across threads, processes and hosts that share the directory.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::FetchError;
use crate::cancel::Cancel;
use crate::durable::{FileLock, PathError, TEMPORARY_PREFIX};
use crate::package::Sha256;

/// An interrupted download shorter than this is not worth a leftover file.
const WORTH_KEEPING_BYTES: u64 = 1024 * 1024;
/// Nobody resumes an interrupted download that is older.
const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);
/// Other temporary files are written within seconds.
const OTHERS_KEPT_FOR: Duration = Duration::from_secs(3600);
/// How often a lock that somebody else holds is tried again.
const LOCK_POLL: Duration = Duration::from_millis(20);

/// The exclusive right to download one content into one directory, and what is
/// there of it so far. Dropped, it keeps at least 1 MiB for a later attempt and
/// removes less.
#[derive(Debug)]
pub struct Partial {
    lock: FileLock,
    path: PathBuf,
    discard: bool,
}

impl Partial {
    /// Waits for the right to download the content `digest` into `directory`.
    /// Whoever had it before may have finished: look again before downloading.
    ///
    /// # Errors
    /// [`FetchError::Cancelled`] when one of `stop` is set; [`FetchError::Path`]
    /// if the file cannot be created or locked.
    pub fn lock(directory: &Path, digest: Sha256, stop: &[&Cancel]) -> Result<Self, FetchError> {
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

    /// As [`Self::lock`], but `None` instead of waiting.
    ///
    /// # Errors
    /// If the file cannot be created or locked.
    pub fn try_lock(directory: &Path, digest: Sha256) -> Result<Option<Self>, PathError> {
        let path = Self::path_in(directory, digest);
        let lock = lock_if_named(&path)?;
        Ok(lock.map(|lock| Self {
            lock,
            path,
            discard: false,
        }))
    }

    /// Where an unfinished download of `digest` into `directory` lies.
    pub fn path_in(directory: &Path, digest: Sha256) -> PathBuf {
        directory.join(format!("{TEMPORARY_PREFIX}part-{digest}"))
    }

    /// The file, open for reading and writing.
    pub fn file(&self) -> &File {
        self.lock.file()
    }

    /// Where the file lies until it is committed.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Syncs the file, gives it its final name `target` in the same directory
    /// and syncs the directory. The lock lasts until what is returned is dropped.
    ///
    /// # Errors
    /// If any of the three fails; `target` is then as it was before.
    pub fn commit(self, target: &Path) -> Result<Committed, PathError> {
        self.file().sync_all().map_err(PathError::on("sync", &self.path))?;
        fs::rename(&self.path, target).map_err(PathError::on("rename into place", target))?;
        let directory = target.parent().unwrap_or(Path::new("/"));
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(PathError::on("sync", directory))?;
        Ok(Committed { _lock: self })
    }

    /// Gives the right back and removes the file.
    pub fn discard(mut self) {
        self.discard = true;
    }
}

/// A finished download whose place is still locked.
#[derive(Debug)]
pub struct Committed {
    _lock: Partial,
}

impl Drop for Partial {
    fn drop(&mut self) {
        let Ok(metadata) = self.file().metadata() else { return };
        let worthless = self.discard || metadata.len() < WORTH_KEEPING_BYTES;
        if worthless && is_named(&metadata, &self.path) {
            // Failing leaves a temporary file, which the next sweep takes.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes what killed processes left in `directory`: downloads that nobody will
/// resume and other temporary files of oic. What somebody holds locked stays.
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

fn is_younger(metadata: &fs::Metadata, age: Duration) -> bool {
    let changed = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    // A time in the future is as good as now.
    SystemTime::now()
        .duration_since(changed)
        .map_or(true, |elapsed| elapsed < age)
}

/// The lock on the file that `path` names, unless somebody holds it. A file that
/// was renamed or removed while we opened it is not the one that `path` names.
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

/// Whether `path` names the very file that `metadata` describes.
fn is_named(metadata: &fs::Metadata, path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|named| named.dev() == metadata.dev() && named.ino() == metadata.ino())
}
