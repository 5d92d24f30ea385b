//! Keys that are fetched: the first answer for a URL is remembered, and a later one must be the same key. Without the
//! network the remembered one is used.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::durable::{self, PathError};
use crate::fetch::{FetchError, Fetcher, Reply, Transport as _};
use crate::package::Sha256;
use crate::verify::Keyring;

/// Largest key file, in bytes. A usual one is a few kilobytes; a certificate with many signatures some hundred.
const LIMIT_BYTES: u64 = 1 << 20;

/// Fetches keys, and remembers them in a directory.
#[derive(Debug)]
pub struct Keys<'a> {
    /// What downloads them.
    pub fetcher: &'a Fetcher,
    /// Where they are remembered.
    pub directory: PathBuf,
    /// Whether only remembered keys may be used.
    pub offline: bool,
}

impl Keys<'_> {
    /// Gives the key at `url`.
    ///
    /// # Errors
    /// The reason, in words.
    pub fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        let remembered = self.directory.join(format!("{}.key", Sha256::of(url)));
        if self.offline {
            let known = read(&remembered)?;
            return known.ok_or_else(|| "it was never fetched, and downloads are not allowed".to_owned());
        }
        let fresh = self.fetch(url)?;
        let fingerprints = fingerprints(&fresh)?;
        if let Some(old) = read(&remembered)? {
            let known = self::fingerprints(&old).unwrap_or_default();
            if known != fingerprints {
                return Err(changed(&known, &fingerprints, &remembered));
            }
        } else {
            tracing::info!(
                url,
                fingerprints = fingerprints.join(" "),
                "the key is remembered from now on"
            );
        }
        durable::public_directory(&self.directory).map_err(|error| error.to_string())?;
        durable::write_public_file(&remembered, &fresh).map_err(|error| error.to_string())?;
        Ok(fresh)
    }

    fn fetch(&self, url: &str) -> Result<Vec<u8>, String> {
        match self.fetcher.get(url, LIMIT_BYTES, None) {
            Ok(Reply::Body { bytes, .. }) => Ok(bytes),
            Ok(Reply::NotModified) => Err("the server says that it is unchanged, but it was never fetched".to_owned()),
            Err(FetchError::NotFound { .. }) => Err("it is not there".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Reads the remembered key in the file `path`; `None` if the file does not exist. An unreadable file is an error: to
/// ignore it would be to trust any other key.
fn read(path: &Path) -> Result<Option<Vec<u8>>, String> {
    let file = match durable::open_regular(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(PathError::on("read the remembered key", path)(error).to_string()),
    };
    let read = durable::read_at_most(file, LIMIT_BYTES);
    read.map(Some)
        .map_err(|error| PathError::on("read the remembered key", path)(error).to_string())
}

fn fingerprints(key: &[u8]) -> Result<Vec<String>, String> {
    let keyring = Keyring::from_certificates(&[key]).map_err(|error| error.to_string())?;
    let mut fingerprints = keyring.fingerprints();
    fingerprints.sort();
    Ok(fingerprints)
}

fn changed(known: &[String], found: &[String], remembered: &Path) -> String {
    format!(
        "it has changed: it was {}, now it is {}; if its owner has announced that, remove {}",
        known.join(" "),
        found.join(" "),
        remembered.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cancel::Cancel;
    use crate::fetch::FetchOptions;
    use crate::verify::gpg::Gpg;

    #[test]
    fn a_key_is_remembered_and_must_stay_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let served = directory.path().join("key.asc");
        let url = format!("file://{}", served.display());
        let fetcher = Fetcher::new(FetchOptions::default(), Cancel::default()).unwrap();
        let keys = |offline| Keys {
            fetcher: &fetcher,
            directory: directory.path().join("keys"),
            offline,
        };
        assert!(keys(true).get(&url).unwrap_err().contains("never fetched"));
        let key = Gpg::with_key("first").export("first");
        std::fs::write(&served, &key).unwrap();
        assert_eq!(keys(false).get(&url).unwrap(), key);
        assert_eq!(keys(false).get(&url).unwrap(), key);
        std::fs::write(&served, Gpg::with_key("second").export("second")).unwrap();
        let error = keys(false).get(&url).unwrap_err();
        assert!(error.contains("it has changed") && error.contains("remove"), "{error}");
        assert_eq!(keys(true).get(&url).unwrap(), key, "the first answer counts");
        std::fs::write(&served, "<html>").unwrap();
        assert!(keys(false).get(&url).is_err());
    }
}
