//! Files that a template names by URL and digest, beside the packages: each is named after its SHA-256.

use std::io;
use std::path::{Path, PathBuf};

use super::usage;
use crate::durable::{self, PathError};
use crate::fetch::{FetchError, Fetcher, Reply, Transport as _, shown};
use crate::package::{Checksum, Sha256};

/// The end of the names of such files.
pub const FILE_SUFFIX: &str = ".file";
/// The largest file, in bytes; it is held in memory until its digest is known to be right.
const FILE_MAX_BYTES: u64 = 1 << 30;

/// Returns the path in the package cache `directory` of the file with this digest, existing or not.
pub fn file_path(directory: &Path, sha256: Sha256) -> PathBuf {
    directory.join(format!("{sha256}{FILE_SUFFIX}"))
}

/// Makes sure that the package cache `directory` has the file with the digest `sha256`, whole: downloads it from `url` if
/// it is missing or damaged. Notes that it is used now.
///
/// # Errors
/// [`FetchError::WrongDigest`] if the server has another file; [`FetchError::Offline`] if it is missing and no download
/// is allowed; [`FetchError::Path`] if it cannot be read or written.
pub fn obtain_file(directory: &Path, url: &str, sha256: Sha256, fetcher: &Fetcher) -> Result<(), FetchError> {
    // For the record of use, too.
    durable::public_directory(&directory.join("metadata"))?;
    let path = file_path(directory, sha256);
    if digest(&path)? != Some(sha256) {
        let bytes = match fetcher.get(url, FILE_MAX_BYTES, None)? {
            Reply::Body { bytes, .. } => bytes,
            // No server may say so without being asked; the digest of nothing is wrong.
            Reply::NotModified => Vec::new(),
        };
        let actual = Sha256::of(&bytes);
        if actual != sha256 {
            return Err(FetchError::WrongDigest {
                url: shown(url),
                expected: Box::new(Checksum::from(sha256)),
                actual: Box::new(Checksum::from(actual)),
            });
        }
        durable::write_public_file(&path, bytes)?;
    }
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    Ok(usage::note(directory, name.into_iter())?)
}

/// Computes the digest of a file; `None` if it does not exist.
fn digest(path: &Path) -> Result<Option<Sha256>, PathError> {
    let read = durable::open_regular(path).and_then(Sha256::of_reader);
    match read {
        Ok((digest, _)) => Ok(Some(digest)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(PathError::on("read", path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cancel::Cancel;
    use crate::fetch::testing::{fetcher, fetcher_with};

    #[test]
    fn a_file_is_kept_verified_and_found_offline() {
        let (served, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (source, sha256) = (served.path().join("f"), Sha256::of("content"));
        std::fs::write(&source, "content").unwrap();
        let url = format!("file://{}", source.display());
        let obtain = || obtain_file(cache.path(), &url, sha256, &fetcher());
        obtain().unwrap();
        let kept = file_path(cache.path(), sha256);
        assert_eq!(std::fs::read(&kept).unwrap(), b"content");
        let used = usage::last_used(cache.path());
        assert_eq!(used.keys().collect::<Vec<_>>(), [&format!("{sha256}.file")]);
        // Damaged, it is fetched again.
        std::fs::write(&kept, "contemt").unwrap();
        obtain().unwrap();
        assert_eq!(std::fs::read(&kept).unwrap(), b"content");
        // Another content of the server does not matter while it is kept, and is refused afterwards.
        std::fs::write(&source, "another").unwrap();
        obtain().unwrap();
        std::fs::remove_file(&kept).unwrap();
        assert!(matches!(obtain(), Err(FetchError::WrongDigest { .. })));
        assert!(!kept.exists());
        let offline = fetcher_with(Cancel::default(), |options| options.offline = true);
        let missing = obtain_file(cache.path(), "https://a.example/f", sha256, &offline);
        assert!(matches!(missing, Err(FetchError::Offline { .. })), "{missing:?}");
        std::fs::write(&kept, "content").unwrap();
        obtain_file(cache.path(), "https://a.example/f", sha256, &offline).unwrap();
    }
}
