//! The package cache: `{cache_dir}/pkgCache/{provider-id}/`, flat, shared by
//! builds, processes and hosts.
//!
//! A package is looked up, verified (size and SHA-256) and used, or deleted when
//! it is bad; what is not there is downloaded, verified, synced and renamed.
//! Invariant: a file under its final name was verified when it got that name,
//! and is used only if it is still the same, or verifies again.

mod bulk;
mod error;
mod memo;
mod signatures;
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
use crate::durable::PathError;
use crate::fetch::{Download, FetchError, Fetcher, Partial, sweep};
use crate::package::ResolvedPackage;
use crate::progress::{Progress, Unit};

pub use bulk::{CacheReport, CachedPackage, First, Wanted};
pub use error::{CacheError, MissingPackage};
pub use memo::verified_digests;
pub use signatures::Signers;
pub use usage::last_used;

use memo::{Identity, Memo};
use signatures::Signatures;
use verify::{Glance, Inspected};

/// The packages of one provider on disk. All methods may be called from any
/// number of threads and processes at once.
#[derive(Debug)]
pub struct PackageCache {
    directory: PathBuf,
    memo: Memo,
    signatures: Signatures,
    hashed_bytes: AtomicU64,
}

/// What [`PackageCache::lookup`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// The verified package file.
    Hit(PathBuf),
    /// There is none.
    Miss,
    /// There was one that did not verify, for this reason; it was deleted.
    Bad(String),
}

/// How a package came to be in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It was there and verified.
    Reused,
    /// It was not there and was downloaded.
    Fetched,
    /// It was there, but bad; it was deleted and downloaded again.
    Refetched,
}

/// A package that is in the cache now.
#[derive(Debug)]
pub struct Obtained {
    /// Where it lies.
    pub path: PathBuf,
    /// The verified file, open for reading at its start.
    pub file: File,
    /// How it came there.
    pub how: How,
    /// Bytes that were received for it.
    pub received_bytes: u64,
}

impl PackageCache {
    /// Opens the cache of `provider_id` below `cache_dir`, creating it if absent,
    /// and removes what killed processes left there more than a day ago.
    ///
    /// # Errors
    /// [`CacheError::BadName`] if the id is not a plain name; [`CacheError::Path`]
    /// if the directories cannot be made or read.
    pub fn open(cache_dir: &Path, provider_id: &str) -> Result<Self, CacheError> {
        let directory = cache_dir.join("pkgCache").join(plain_name(provider_id)?);
        let metadata = directory.join("metadata");
        fs::create_dir_all(&metadata).map_err(PathError::on("create", &metadata))?;
        sweep(&directory)?;
        Ok(Self {
            memo: Memo::load(metadata.join(memo::FILE_NAME)),
            signatures: Signatures::load(Signers::new(SystemTime::UNIX_EPOCH), &metadata),
            directory,
            hashed_bytes: AtomicU64::new(0),
        })
    }

    /// The same cache, but packages of some repositories must be signed: others are not given, and do
    /// not get a name in it.
    #[must_use]
    pub fn with_signers(mut self, signers: Signers) -> Self {
        self.signatures = Signatures::load(signers, &self.directory.join("metadata"));
        self
    }

    /// The directory that holds the package files.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Bytes that were read to verify cached files since the cache was opened.
    pub fn hashed_bytes(&self) -> u64 {
        self.hashed_bytes.load(Ordering::Relaxed)
    }

    /// Writes down which files were verified, for the next run. Also done by
    /// [`Self::obtain_all`] and on drop.
    ///
    /// # Errors
    /// If it cannot be written; nothing but time is lost then.
    pub fn flush(&self) -> Result<(), CacheError> {
        self.signatures.save()?;
        Ok(self.memo.save(&self.directory)?)
    }

    /// Looks for `package` and verifies it; a bad file is deleted, and the log says so.
    ///
    /// # Errors
    /// [`CacheError`] if the cache cannot be read, or a bad file not be deleted.
    pub fn lookup(&self, package: &ResolvedPackage) -> Result<Lookup, CacheError> {
        self.lookup_until(package, &[])
    }

    /// [`Self::lookup`] that any of `stop` ends.
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

    /// Opens the verified file of `package`; `None` if there is none, or it was
    /// bad and therefore deleted. What is verified is the opened file itself.
    ///
    /// # Errors
    /// As [`Self::lookup`].
    pub fn open_verified(&self, package: &ResolvedPackage) -> Result<Option<File>, CacheError> {
        let path = self.path_of(package)?;
        match self.glance(package, &path)? {
            Glance::Good(file) => return Ok(Some(file)),
            Glance::Absent => return Ok(None),
            Glance::Bad { .. } | Glance::Unverified { .. } => {}
        }
        let partial = self.lock(package, &[])?;
        Ok(match self.inspect(package, &path, &[])? {
            Inspected::Good(file) => {
                partial.discard();
                Some(file)
            }
            Inspected::Absent | Inspected::Deleted(_) => None,
        })
    }

    /// Gives `package`, downloading it from `url` if it is not there or bad.
    /// However many threads and processes ask at once, one downloads.
    ///
    /// # Errors
    /// [`CacheError::Fetch`] if it cannot be had, [`CacheError::Missing`] when
    /// offline, [`CacheError::NoSpace`] if it does not fit.
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
        let task = progress.start(&package.name, Unit::Bytes, Some(package.size_bytes));
        let advance = |amount_bytes| progress.advance(task, amount_bytes);
        let obtained = self.obtain_until(package, url, fetcher, &advance, &[fetcher.cancel()]);
        progress.finish(task);
        obtained
    }

    /// [`Self::obtain`] that any of `stop` ends and that tells `advance` of new bytes.
    fn obtain_until(
        &self,
        package: &ResolvedPackage,
        url: &str,
        fetcher: &Fetcher,
        advance: &dyn Fn(u64),
        stop: &[&Cancel],
    ) -> Result<Obtained, CacheError> {
        let path = self.path_of(package)?;
        let partial = self.lock(package, stop)?;
        let how = match self.inspect(package, &path, stop)? {
            Inspected::Good(file) => {
                // Somebody else was faster, or hashing was enough.
                partial.discard();
                advance(package.size_bytes);
                return Ok(reused(path, file));
            }
            Inspected::Absent => How::Fetched,
            Inspected::Deleted(_) => How::Refetched,
        };
        if !fetcher.may_fetch(url) {
            let packages = vec![package.into()];
            return Err(CacheError::Missing { packages });
        }
        let wanted = Download {
            url,
            size_bytes: package.size_bytes,
            sha256: package.sha256,
        };
        let received_bytes = self.download(package, &wanted, fetcher, &partial, advance, stop);
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

    /// Fills `partial` with the verified content.
    fn download(
        &self,
        package: &ResolvedPackage,
        wanted: &Download<'_>,
        fetcher: &Fetcher,
        partial: &Partial,
        advance: &dyn Fn(u64),
        stop: &[&Cancel],
    ) -> Result<u64, CacheError> {
        self.check_space(self.missing_bytes(package))?;
        // A download that starts over does not move the progress back.
        let furthest_bytes = Cell::new(0);
        let on_position = |position_bytes: u64| {
            let more_bytes = position_bytes.saturating_sub(furthest_bytes.get());
            furthest_bytes.set(furthest_bytes.get().max(position_bytes));
            advance(more_bytes);
        };
        match fetcher.download(wanted, partial, &on_position, stop) {
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
        // Renamed, the file is not a download any more, but the lock stays until the end of this function.
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
            self.memo.remember(&package.file_name(), identity, package.sha256);
        }
        Ok(file)
    }

    /// What is still to be written for `package`.
    fn missing_bytes(&self, package: &ResolvedPackage) -> u64 {
        let partial = Partial::path_in(&self.directory, package.sha256);
        let there_bytes = fs::symlink_metadata(partial).map_or(0, |metadata| metadata.len());
        package.size_bytes.saturating_sub(there_bytes)
    }

    /// Refuses to begin what does not fit.
    fn check_space(&self, needed_bytes: u64) -> Result<(), CacheError> {
        if self.available_bytes() < needed_bytes {
            return Err(self.no_space(needed_bytes));
        }
        Ok(())
    }

    fn no_space(&self, needed_bytes: u64) -> CacheError {
        CacheError::NoSpace {
            needed_bytes,
            available_bytes: self.available_bytes(),
            path: self.directory.clone(),
        }
    }

    /// What the file system has for us (statvfs(3)); one that does not tell has enough.
    fn available_bytes(&self) -> u64 {
        rustix::fs::statvfs(&self.directory).map_or(u64::MAX, |space| space.f_bavail.saturating_mul(space.f_frsize))
    }

    fn lock(&self, package: &ResolvedPackage, stop: &[&Cancel]) -> Result<Partial, CacheError> {
        Partial::lock(&self.directory, package.sha256, stop).map_err(CacheError::of(package))
    }

    /// Where the file of `package` is, or would be.
    ///
    /// # Errors
    /// [`CacheError::BadName`] if what it says of itself makes no plain file name.
    pub fn path_of(&self, package: &ResolvedPackage) -> Result<PathBuf, CacheError> {
        Ok(self.directory.join(plain_name(&package.file_name())?))
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

/// `name`, if it names an ordinary file in a directory: what an index or a
/// template says must not lead elsewhere, hide, or break a line.
fn plain_name(name: &str) -> Result<&str, CacheError> {
    let odd = |c: char| c == '/' || c.is_control();
    if name.is_empty() || name.len() > 255 || name.starts_with('.') || name.contains(odd) {
        let name = name.to_owned();
        return Err(CacheError::BadName { name });
    }
    Ok(name)
}
