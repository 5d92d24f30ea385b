//! Decides whether a cached file is the right one.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Seek as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::atomic::Ordering;

use super::memo::Identity;
use super::{CacheError, PackageCache};
use crate::cancel::Cancel;
use crate::durable::{self, PathError};
use crate::fetch::FetchError;
use crate::package::{Checksum, ResolvedPackage};

/// The result of looking at a file without reading it.
pub(super) enum Glance {
    /// It was verified before, its signature too if it needs one, and is unchanged.
    Good(File),
    /// It is missing.
    Absent,
    /// It is certainly wrong.
    Bad { reason: String, metadata: Metadata },
    /// Only hashing can decide.
    Unverified { file: File, metadata: Metadata },
}

/// The result of a full verification.
pub(super) enum Inspected {
    /// It is verified.
    Good(File),
    /// It is missing.
    Absent,
    /// It was bad, for this reason, and was deleted.
    Deleted(String),
}

impl PackageCache {
    /// Looks at the file of `package` without reading it.
    pub(super) fn glance(&self, package: &ResolvedPackage, path: &Path) -> Result<Glance, CacheError> {
        let bad = |reason: String, metadata| Ok(Glance::Bad { reason, metadata });
        // Without O_NONBLOCK, opening a FIFO would wait for its writer.
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Glance::Absent),
            Err(error) => {
                let metadata = fs::symlink_metadata(path).map_err(PathError::on("examine", path))?;
                if metadata.is_file() {
                    return Err(PathError::on("open", path)(error).into());
                }
                return bad("it is not a regular file".to_owned(), metadata);
            }
        };
        let metadata = file.metadata().map_err(PathError::on("examine", path))?;
        if !metadata.is_file() {
            return bad("it is not a regular file".to_owned(), metadata);
        }
        if metadata.len() != package.size_bytes {
            let reason = format!("it has {} bytes, expected {}", metadata.len(), package.size_bytes);
            return bad(reason, metadata);
        }
        match self.memo.get(&package.file_name(), &Identity::of(&metadata)) {
            Some(digest) if digest == package.checksum => match self.signatures.are_known(package) {
                true => Ok(Glance::Good(file)),
                false => Ok(Glance::Unverified { file, metadata }),
            },
            Some(digest) if digest.algorithm() == package.checksum.algorithm() => {
                bad(wrong_digest(digest, package), metadata)
            }
            // Another repository lists the same package by another algorithm.
            _ => Ok(Glance::Unverified { file, metadata }),
        }
    }

    /// Verifies the file of `package` and deletes a bad one. The caller holds the package's lock.
    pub(super) fn inspect(
        &self,
        package: &ResolvedPackage,
        path: &Path,
        stop: &[&Cancel],
    ) -> Result<Inspected, CacheError> {
        let (reason, metadata) = match self.glance(package, path)? {
            Glance::Good(file) => return Ok(Inspected::Good(file)),
            Glance::Absent => return Ok(Inspected::Absent),
            Glance::Bad { reason, metadata } => (reason, metadata),
            Glance::Unverified { file, metadata } => match self.verify(package, path, &file, stop)? {
                Ok(()) => return Ok(Inspected::Good(file)),
                Err(reason) => (reason, metadata),
            },
        };
        tracing::warn!(path = %path.display(), reason, "deleting a bad package from the cache");
        remove_if_same(path, &metadata)?;
        Ok(Inspected::Deleted(reason))
    }

    /// Hashes `file` and leaves it at its start; the inner error is the reason why it is bad.
    fn verify(
        &self,
        package: &ResolvedPackage,
        path: &Path,
        file: &File,
        stop: &[&Cancel],
    ) -> Result<Result<(), String>, CacheError> {
        let examined = || file.metadata().map_err(PathError::on("examine", path));
        let identity = Identity::of(&examined()?);
        let settled = identity.settle();
        let mut hasher = package.checksum.algorithm().hasher();
        let hashed = durable::each_piece(file, path, stop, |bytes| {
            hasher.update(bytes);
            self.hashed_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            Ok(())
        });
        match hashed {
            Ok(()) => {}
            // A damaged disk: the copy is useless.
            Err(FetchError::Path(error)) => return Ok(Err(error.to_string())),
            Err(error) => return Err(CacheError::of(package)(error)),
        }
        let digest = hasher.finish();
        if digest != package.checksum {
            return Ok(Err(wrong_digest(digest, package)));
        }
        if Identity::of(&examined()?) != identity {
            return Ok(Err("it changed while it was read".to_owned()));
        }
        (&*file).rewind().map_err(PathError::on("read", path))?;
        self.signatures.check(package, file)?;
        if settled {
            self.memo.remember(&package.file_name(), identity, digest);
        }
        Ok(Ok(()))
    }
}

fn wrong_digest(actual: Checksum, package: &ResolvedPackage) -> String {
    format!(
        "it has the {} {actual}, expected {}",
        actual.algorithm(),
        package.checksum
    )
}

/// Removes the file at `path` unless it was replaced since `metadata` was read.
fn remove_if_same(path: &Path, metadata: &Metadata) -> Result<(), CacheError> {
    match fs::symlink_metadata(path) {
        Ok(found) if (found.dev(), found.ino()) == (metadata.dev(), metadata.ino()) => {
            Ok(fs::remove_file(path).map_err(PathError::on("delete the bad", path))?)
        }
        _ => Ok(()),
    }
}
