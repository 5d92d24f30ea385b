//! Signatures of earlier builds: what was signed once with a key is not signed again, so that a repeated build asks no key,
//! and a key that signs in another way each time changes no image.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Certificate, SignError, Signer};
use crate::durable::{self, PathError};
use crate::package::Sha256;
use crate::sync::{Mutex, lock};

/// The version of the file.
const VERSION: u32 = 1;
/// The largest file that is read, in bytes.
const LIMIT_BYTES: u64 = 1 << 20;

/// The contents of the file.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    version: u32,
    /// Signatures in hexadecimal digits, by the digest of certificate and message.
    signatures: BTreeMap<Sha256, String>,
}

/// A signer that remembers. A signature counts only if it verifies, whatever the disk has made of it.
#[derive(Debug)]
pub struct Remembering {
    inner: Box<dyn Signer>,
    path: PathBuf,
    before: Record,
    used: Mutex<BTreeMap<Sha256, String>>,
}

impl Remembering {
    /// Makes a signer that takes what the file `path` has, and asks `inner` for what it lacks. A file that cannot be used
    /// has nothing; one of a build `from_scratch` does not count.
    pub fn new(inner: Box<dyn Signer>, path: PathBuf, from_scratch: bool) -> Self {
        let before = match from_scratch {
            true => None,
            false => read(&path),
        };
        Self {
            inner,
            path,
            before: before.unwrap_or_default(),
            used: Mutex::default(),
        }
    }

    /// Writes the signatures that were used, for the next build; nothing if the file has just these.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self) -> Result<(), PathError> {
        let record = Record {
            version: VERSION,
            signatures: std::mem::take(&mut *lock(&self.used)),
        };
        if record == self.before {
            return Ok(());
        }
        // A map of texts has a JSON form.
        let text = serde_json::to_string_pretty(&record).unwrap_or_default();
        durable::write_file(&self.path, text)
    }
}

/// Reads the record `path`; `None` if there is none that can be used.
fn read(path: &std::path::Path) -> Option<Record> {
    let read = fs::File::open(path).and_then(|file| durable::read_at_most(file, LIMIT_BYTES));
    let record = match read {
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => Err(error.to_string()),
        Ok(bytes) => serde_json::from_slice::<Record>(&bytes).map_err(|error| error.to_string()),
    };
    match record {
        Ok(record) if record.version == VERSION => Some(record),
        Ok(_) => None,
        Err(error) => {
            tracing::debug!(path = %path.display(), error, "the signatures of the build before cannot be read");
            None
        }
    }
}

impl Signer for Remembering {
    fn certificate(&self) -> &Certificate {
        self.inner.certificate()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let certificate = self.certificate();
        let key = Sha256::of([&certificate.fingerprint().0[..], &Sha256::of(message).0].concat());
        let known = lock(&self.used).get(&key).or(self.before.signatures.get(&key)).cloned();
        let known = known.and_then(|digits| hex::decode(digits).ok());
        let known = known.filter(|signature| certificate.verify(message, signature).is_ok());
        let signature = match known {
            Some(signature) => signature,
            None => self.inner.sign(message)?,
        };
        lock(&self.used).insert(key, hex::encode(&signature));
        Ok(signature)
    }
}
