//! Files that a template names by URL, beside the packages: each is named after its SHA-256.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::usage;
use crate::durable::{self, PathError};
use crate::fetch::{FetchError, Fetcher, Reply, Transport as _, Validators, shown};
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
    durable::public_directory(directory)?;
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
    Ok(note_files(directory, [sha256].into_iter())?)
}

/// The directory below `metadata` of what is known of URLs whose files have no digest in the template.
const KNOWN: &str = "files";
/// The largest record of a URL, in bytes.
const KNOWN_MAX_BYTES: u64 = 64 << 10;

/// The file that a URL served last.
#[derive(Serialize, Deserialize)]
struct Known {
    sha256: Sha256,
    validators: Validators,
}

/// Makes sure that the package cache `directory` has the file that `url` serves now, and returns its digest. The server
/// is asked whether it still has the file of an earlier call; offline, that file is taken. A new file is logged with its
/// digest.
///
/// # Errors
/// [`FetchError`] if it cannot be downloaded; [`FetchError::Offline`] if it never was and no download is allowed.
pub fn obtain_current(directory: &Path, url: &str, fetcher: &Fetcher) -> Result<Sha256, FetchError> {
    let record = directory.join("metadata").join(KNOWN).join(Sha256::of(url).to_string());
    durable::public_directory(record.parent().unwrap_or(directory))?;
    let known = known(&record);
    let known = match known {
        Some(known) if digest(&file_path(directory, known.sha256))? == Some(known.sha256) => Some(known),
        _ => None,
    };
    let sha256 = match known {
        Some(known) if !fetcher.may_fetch(url) => known.sha256,
        known => match fetcher.get(url, FILE_MAX_BYTES, known.as_ref().map(|known| &known.validators))? {
            Reply::NotModified => known.map_or_else(|| Sha256::of([]), |known| known.sha256),
            Reply::Body { bytes, validators } => {
                let sha256 = keep_file(directory, &bytes)?;
                if known.as_ref().is_none_or(|known| known.sha256 != sha256) {
                    tracing::warn!(url = shown(url), %sha256, "NOT PINNED: the file has no digest in the template");
                }
                // Strings always have a JSON form.
                let text = serde_json::to_vec(&Known { sha256, validators }).unwrap_or_default();
                durable::write_public_file(&record, text)?;
                sha256
            }
        },
    };
    Ok(sha256)
}

/// Reads the record of a URL; `None` if there is none, or it is damaged.
fn known(record: &Path) -> Option<Known> {
    let file = durable::open_regular(record).ok()?;
    serde_json::from_slice(&durable::read_at_most(file, KNOWN_MAX_BYTES).ok()?).ok()
}

/// Puts `content` into the package cache `directory`, unless it is there, whole; returns its digest.
///
/// # Errors
/// If it cannot be read or written.
pub fn keep_file(directory: &Path, content: &[u8]) -> Result<Sha256, PathError> {
    let sha256 = Sha256::of(content);
    let path = file_path(directory, sha256);
    if digest(&path)? != Some(sha256) {
        durable::public_directory(directory)?;
        durable::write_public_file(&path, content)?;
    }
    Ok(sha256)
}

/// Notes that the files with these digests in the package cache `directory` are used now.
///
/// # Errors
/// If the record of use cannot be written.
pub fn note_files(directory: &Path, files: impl Iterator<Item = Sha256>) -> Result<(), PathError> {
    usage::note(directory, files.map(|sha256| format!("{sha256}{FILE_SUFFIX}")))
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
    use crate::fetch::testing::{Server, fetcher, fetcher_with};

    #[test]
    fn a_cache_without_a_directory_gets_one() {
        let place = tempfile::tempdir().unwrap();
        let cache = place.path().join("pkgCache/new");
        let sha256 = keep_file(&cache, b"content").unwrap();
        note_files(&cache, [sha256].into_iter()).unwrap();
        assert_eq!(std::fs::read(file_path(&cache, sha256)).unwrap(), b"content");
    }

    #[test]
    fn what_a_url_serves_is_asked_for_again_and_found_offline() {
        let cache = tempfile::tempdir().unwrap();
        let server = Server::start();
        let url = server.page("/f", "content");
        let expected = Sha256::of("content");
        let offline = fetcher_with(Cancel::default(), |options| options.offline = true);
        let missing = obtain_current(cache.path(), &url, &offline);
        assert!(matches!(missing, Err(FetchError::Offline { .. })), "{missing:?}");
        assert_eq!(obtain_current(cache.path(), &url, &fetcher()).unwrap(), expected);
        assert_eq!(obtain_current(cache.path(), &url, &fetcher()).unwrap(), expected);
        let sent: Vec<_> = server.served().iter().map(|served| served.status).collect();
        assert_eq!(sent, [200, 304], "the server says that nothing has changed");
        assert_eq!(obtain_current(cache.path(), &url, &offline).unwrap(), expected);
        // Without the file, or with a damaged one, the server is asked for it.
        std::fs::write(file_path(cache.path(), expected), "contemt").unwrap();
        assert!(obtain_current(cache.path(), &url, &offline).is_err());
        assert_eq!(obtain_current(cache.path(), &url, &fetcher()).unwrap(), expected);
        assert_eq!(std::fs::read(file_path(cache.path(), expected)).unwrap(), b"content");
    }

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
