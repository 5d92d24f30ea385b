//! The package cache: `{cache_dir}/pkgCache/{provider-id}/`, flat, shared by
//! builds, processes and hosts.
//!
//! A package is looked up, verified (size and SHA-256) and used, or deleted if it is bad; a missing one is downloaded,
//! verified, synced and renamed. Invariant: a file under its final name was verified when it got that name, and is used
//! only if it is still the same, or verifies again.

mod bulk;
mod error;
mod file;
mod memo;
mod signatures;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod usage;
mod verify;

use std::cell::Cell;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use crate::cancel::Cancel;
use crate::durable::{self, FileName, FullDisk, PathError};
use crate::fetch::{Download, FetchError, Fetcher, Partial, sweep};
use crate::package::ResolvedPackage;
use crate::progress::{Progress, Task, Unit};

pub use bulk::{CacheReport, CachedPackage, First, RemotePackage};
pub use error::{CacheError, MissingPackage};
pub use file::{FILE_SUFFIX, file_path, keep_file, note_files, obtain_current, obtain_file};
pub use memo::verified_digests;
pub use signatures::Signers;
pub use usage::last_used;

/// Finds the damaged records in the cache `directory`, among those of verified, signed and used packages.
pub fn damaged_records(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let metadata = directory.join("metadata");
    let mut damaged = Vec::new();
    for (name, is_whole) in [memo::RECORD, signatures::RECORD, usage::RECORD] {
        let path = metadata.join(name);
        if std::fs::read(&path).is_ok_and(|text| !is_whole(&text)) {
            damaged.push(path);
        }
    }
    damaged
}

use memo::{Identity, Memo};
use signatures::Signatures;
use verify::{Glance, Inspected};

/// The packages of one provider on disk. Any number of threads and processes may call all methods at once.
#[derive(Debug)]
pub struct PackageCache {
    directory: PathBuf,
    memo: Memo,
    signatures: Signatures,
    hashed_bytes: AtomicU64,
}

/// The result of [`PackageCache::lookup`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// The verified package file.
    Hit(PathBuf),
    /// No file.
    Miss,
    /// A file that did not verify, for this reason; it was deleted.
    Bad(String),
}

/// The way by which a package came into the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It was in the cache and verified.
    Reused,
    /// It was missing and was downloaded.
    Fetched,
    /// It was in the cache but bad; it was deleted and downloaded again.
    Refetched,
}

/// A package that is in the cache now.
#[derive(Debug)]
pub struct Obtained {
    /// Path of its file.
    pub path: PathBuf,
    /// The verified file, open for reading at its start.
    pub file: File,
    /// The way by which it came there.
    pub how: How,
    /// Bytes received for it.
    pub received_bytes: u64,
}

/// How a missing package is fetched.
#[derive(Clone, Copy)]
struct Fetching<'a> {
    fetcher: &'a Fetcher,
    /// Gets the number of new bytes.
    advance: &'a dyn Fn(u64),
    /// Flags of which any ends the work.
    stop: &'a [&'a Cancel],
}

impl PackageCache {
    /// Opens the cache of `provider_id` below `cache_dir`, creating it if absent, and removes files that killed
    /// processes left there more than a day ago.
    ///
    /// # Errors
    /// [`CacheError::BadName`] if the id is not a plain name; [`CacheError::Path`]
    /// if the directories cannot be made or read.
    pub fn open(cache_dir: &Path, provider_id: &str) -> Result<Self, CacheError> {
        let directory = cache_dir.join("pkgCache").join(FileName::new(provider_id)?);
        let metadata = directory.join("metadata");
        durable::public_directory(&metadata)?;
        sweep(&directory)?;
        Ok(Self {
            memo: Memo::load(metadata.join(memo::FILE_NAME)),
            signatures: Signatures::load(Signers::new(SystemTime::UNIX_EPOCH), &metadata),
            directory,
            hashed_bytes: AtomicU64::new(0),
        })
    }

    /// Makes the packages of some repositories require signatures: the cache neither returns nor stores others of
    /// these.
    #[must_use]
    pub fn with_signers(mut self, signers: Signers) -> Self {
        self.signatures = Signatures::load(signers, &self.directory.join("metadata"));
        self
    }

    /// Returns the directory of the package files.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the bytes read to verify cached files since the cache was opened.
    pub fn hashed_bytes(&self) -> u64 {
        self.hashed_bytes.load(Ordering::Relaxed)
    }

    /// Saves the list of verified files for the next run. [`Self::obtain_all`] and dropping do so, too.
    ///
    /// # Errors
    /// If the list cannot be written; only time is lost then.
    pub fn flush(&self) -> Result<(), CacheError> {
        self.signatures.save()?;
        Ok(self.memo.save(&self.directory)?)
    }

    /// Looks for `package` and verifies it; deletes and logs a bad file.
    ///
    /// # Errors
    /// [`CacheError`] if the cache cannot be read, or a bad file cannot be deleted.
    pub fn lookup(&self, package: &ResolvedPackage) -> Result<Lookup, CacheError> {
        self.lookup_until(package, &[])
    }

    /// Does the work of [`Self::lookup`]; setting any of `stop` ends it.
    fn lookup_until(&self, package: &ResolvedPackage, stop: &[&Cancel]) -> Result<Lookup, CacheError> {
        let path = self.path_of(package)?;
        match self.glance(package, &path)? {
            Glance::Good(_) => return Ok(Lookup::Hit(path)),
            Glance::Absent => return Ok(Lookup::Miss),
            Glance::Bad { .. } | Glance::Unverified { .. } => {}
        }
        let partial = self.lock(package, stop)?;
        Ok(match self.inspect(package, &path, stop)? {
            Inspected::Good(_) => {
                partial.discard();
                Lookup::Hit(path)
            }
            Inspected::Absent => Lookup::Miss,
            Inspected::Deleted(reason) => Lookup::Bad(reason),
        })
    }

    /// Returns `package`, downloading it from `url` if it is missing or bad. When many threads and processes ask at
    /// once, one of them downloads.
    ///
    /// # Errors
    /// [`CacheError::Fetch`] if the download fails, [`CacheError::Missing`] when offline, [`CacheError::NoSpace`] if
    /// the package does not fit.
    pub fn obtain(
        &self,
        package: &ResolvedPackage,
        url: &str,
        fetcher: &Fetcher,
        progress: &dyn Progress,
    ) -> Result<Obtained, CacheError> {
        let path = self.path_of(package)?;
        if let Glance::Good(file) = self.glance(package, &path)? {
            return Ok(reused(path, file));
        }
        let task = Task::start(progress, &package.name, Unit::Bytes, Some(package.size_bytes));
        let advance = |amount_bytes| task.advance(amount_bytes);
        let fetching = Fetching {
            fetcher,
            advance: &advance,
            stop: &[fetcher.cancel()],
        };
        self.obtain_by(fetching, package, url)
    }

    /// Does the work of [`Self::obtain`].
    fn obtain_by(&self, fetching: Fetching<'_>, package: &ResolvedPackage, url: &str) -> Result<Obtained, CacheError> {
        let path = self.path_of(package)?;
        let partial = self.lock(package, fetching.stop)?;
        let how = match self.inspect(package, &path, fetching.stop)? {
            Inspected::Good(file) => {
                // Another thread or process was faster, or hashing was enough.
                partial.discard();
                (fetching.advance)(package.size_bytes);
                return Ok(reused(path, file));
            }
            Inspected::Absent => How::Fetched,
            Inspected::Deleted(_) => How::Refetched,
        };
        if !fetching.fetcher.may_fetch(url) {
            let packages = vec![package.into()];
            return Err(CacheError::Missing { packages });
        }
        let wanted = Download {
            url,
            size_bytes: package.size_bytes,
            checksum: package.checksum,
        };
        let received_bytes = self.download(fetching, package, &wanted, &partial);
        let received_bytes = match received_bytes {
            Err(error @ CacheError::NoSpace { .. }) => {
                partial.discard();
                return Err(error);
            }
            result => result?,
        };
        let file = self.store(package, partial, &path)?;
        Ok(Obtained {
            path,
            file,
            how,
            received_bytes,
        })
    }

    /// Fills `partial` with the verified content; returns the bytes received.
    fn download(
        &self,
        fetching: Fetching<'_>,
        package: &ResolvedPackage,
        wanted: &Download<'_>,
        partial: &Partial,
    ) -> Result<u64, CacheError> {
        self.check_space(self.missing_bytes(package))?;
        // A restarted download does not move the progress back.
        let furthest_bytes = Cell::new(0);
        let on_position = |position_bytes: u64| {
            let more_bytes = position_bytes.saturating_sub(furthest_bytes.get());
            furthest_bytes.set(furthest_bytes.get().max(position_bytes));
            (fetching.advance)(more_bytes);
        };
        match fetching.fetcher.download(wanted, partial, &on_position, fetching.stop) {
            Err(FetchError::Path(error)) if error.is_no_space() => Err(self.no_space(self.missing_bytes(package))),
            result => result.map_err(CacheError::of(package)),
        }
    }

    /// Gives a verified download its final name and opens it there.
    fn store(&self, package: &ResolvedPackage, partial: Partial, path: &Path) -> Result<File, CacheError> {
        let examined = |metadata: io::Result<Metadata>| metadata.map_err(PathError::on("examine", path));
        if let Err(error) = self.signatures.check(package, partial.file()) {
            partial.discard();
            return Err(error);
        }
        let written = examined(partial.file().metadata())?;
        // After the rename, the lock on the download's name stays until the end of this function.
        let _partial = partial.commit(path).map_err(|error| match error.is_no_space() {
            true => self.no_space(package.size_bytes),
            false => error.into(),
        })?;
        let file = File::open(path).map_err(PathError::on("open", path))?;
        let stored = examined(file.metadata())?;
        if (stored.dev(), stored.ino()) != (written.dev(), written.ino()) {
            let path = path.to_owned();
            return Err(CacheError::Unstable { path });
        }
        let identity = Identity::of(&stored);
        if identity.settle() {
            self.memo.remember(&package.file_name(), identity, package.checksum);
        }
        Ok(file)
    }

    /// Returns the bytes still to be written for `package`.
    fn missing_bytes(&self, package: &ResolvedPackage) -> u64 {
        let partial = Partial::path_in(&self.directory, package.checksum);
        let there_bytes = fs::symlink_metadata(partial).map_or(0, |metadata| metadata.len());
        package.size_bytes.saturating_sub(there_bytes)
    }

    /// Checks that the file system has room for `needed_bytes`.
    fn check_space(&self, needed_bytes: u64) -> Result<(), CacheError> {
        if self.available_bytes() < needed_bytes {
            return Err(self.no_space(needed_bytes));
        }
        Ok(())
    }

    fn no_space(&self, needed_bytes: u64) -> CacheError {
        CacheError::NoSpace {
            needed_bytes,
            full: FullDisk::at(&self.directory),
        }
    }

    /// Returns the bytes available to this process (statvfs(3)); `u64::MAX` if the file system does not say.
    fn available_bytes(&self) -> u64 {
        rustix::fs::statvfs(&self.directory).map_or(u64::MAX, |space| space.f_bavail.saturating_mul(space.f_frsize))
    }

    fn lock(&self, package: &ResolvedPackage, stop: &[&Cancel]) -> Result<Partial, CacheError> {
        Partial::lock(&self.directory, package.checksum, stop).map_err(CacheError::of(package))
    }

    /// Returns the path of the file of `package`, existing or not.
    ///
    /// # Errors
    /// [`CacheError::BadName`] if its fields make no plain file name.
    pub fn path_of(&self, package: &ResolvedPackage) -> Result<PathBuf, CacheError> {
        Ok(self.directory.join(FileName::new(&package.file_name())?))
    }
}

impl Drop for PackageCache {
    fn drop(&mut self) {
        if let Err(error) = self.flush() {
            tracing::debug!(%error, "the memo of verified packages was not saved");
        }
    }
}

fn reused(path: PathBuf, file: File) -> Obtained {
    Obtained {
        path,
        file,
        how: How::Reused,
        received_bytes: 0,
    }
}
