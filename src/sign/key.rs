//! Private keys in files: PEM or DER; PKCS #8 (RFC 5958), also encrypted (RFC 8018), PKCS #1 (RFC 8017) or SEC 1 (RFC 5915).

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use p256::ecdsa::signature::hazmat::PrehashSigner as _;
use rsa::pkcs1::DecodeRsaPrivateKey as _;
use rsa::pkcs8::{self, DecodePrivateKey as _};
use zeroize::Zeroizing;

use super::certificate::{self, Certificate, FILE_LIMIT_BYTES, PublicKey};
use super::{SignError, Signer};
use crate::durable::{self, PathError};
use crate::package::Sha256;

/// The largest passphrase in bytes.
const PASSPHRASE_LIMIT_BYTES: u64 = 4096;

/// A passphrase. It is cleared when it is dropped, and never shown.
pub struct Passphrase(Zeroizing<Vec<u8>>);

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase")
    }
}

impl Passphrase {
    /// Reads the passphrase file `path`; white space at both ends does not count.
    ///
    /// # Errors
    /// If it cannot be read, or has no passphrase.
    pub fn read(path: &Path) -> Result<Self, SignError> {
        let read = durable::open_regular(path).and_then(|file| durable::read_at_most(file, PASSPHRASE_LIMIT_BYTES));
        let bytes = Zeroizing::new(read.map_err(PathError::on("read", path))?);
        let trimmed = bytes.trim_ascii();
        if trimmed.is_empty() {
            return Err(SignError::Passphrase {
                path: path.to_owned(),
                problem: "has no passphrase in it",
            });
        }
        Ok(Self(Zeroizing::new(trimmed.to_owned())))
    }

    /// Returns its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A private key; its types clear themselves when they are dropped.
enum PrivateKey {
    Rsa(Box<rsa::RsaPrivateKey>),
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
}

/// A signer with a private key from a file.
pub struct FileSigner {
    certificate: Certificate,
    key: PrivateKey,
    path: PathBuf,
}

impl fmt::Debug for FileSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSigner")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl FileSigner {
    /// Reads the key file `path`, with `passphrase` if it is encrypted, and checks that it is the key of `certificate`,
    /// which is valid at `now`.
    ///
    /// # Errors
    /// [`SignError`].
    pub fn open(
        path: &Path,
        passphrase: Option<&Passphrase>,
        certificate: Certificate,
        now: SystemTime,
    ) -> Result<Self, SignError> {
        certificate.check(now)?;
        let read = durable::open_regular(path).and_then(|file| durable::read_at_most(file, FILE_LIMIT_BYTES));
        let contents = Zeroizing::new(read.map_err(PathError::on("read", path))?);
        let key = PrivateKey::parse(path, &contents, passphrase)?;
        if key.public() != *certificate.public() {
            return Err(SignError::Mismatch {
                key: path.to_owned(),
                certificate: certificate.path().to_owned(),
            });
        }
        Ok(Self {
            certificate,
            key,
            path: path.to_owned(),
        })
    }
}

impl Signer for FileSigner {
    fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let failed = |problem| SignError::Key {
            path: self.path.clone(),
            problem,
        };
        let digest = Sha256::of(message).0;
        let signed = match &self.key {
            PrivateKey::Rsa(key) => key.sign(certificate::rsa_scheme(), &digest).ok(),
            // The nonce comes from key and digest (RFC 6979).
            PrivateKey::P256(key) => {
                let signature: Option<p256::ecdsa::Signature> = key.sign_prehash(&digest).ok();
                signature.map(|signature| signature.to_der().as_bytes().to_owned())
            }
            PrivateKey::P384(key) => {
                let signature: Option<p384::ecdsa::Signature> = key.sign_prehash(&digest).ok();
                signature.map(|signature| signature.to_der().as_bytes().to_owned())
            }
        };
        signed.ok_or_else(|| failed("the key cannot sign"))
    }
}

impl PrivateKey {
    /// Parses the contents of the key file `path`.
    fn parse(path: &Path, contents: &[u8], passphrase: Option<&Passphrase>) -> Result<Self, SignError> {
        let no_key = |problem| SignError::Key {
            path: path.to_owned(),
            problem,
        };
        let found = certificate::pem(contents, |label| label.ends_with("PRIVATE KEY"));
        let (label, der) = found.unwrap_or_else(|| (String::new(), contents.to_owned()));
        let der = Zeroizing::new(der);
        let is_encrypted = label.is_empty() || label == "ENCRYPTED PRIVATE KEY";
        if is_encrypted && let Ok(encrypted) = pkcs8::EncryptedPrivateKeyInfo::try_from(der.as_slice()) {
            let wrong = |problem| SignError::Passphrase {
                path: path.to_owned(),
                problem,
            };
            let passphrase = passphrase.ok_or_else(|| wrong("the key is encrypted, and there is no passphrase"))?;
            let opened = encrypted.decrypt(passphrase.bytes());
            let opened = opened.map_err(|_| wrong("the passphrase does not open the key"))?;
            return Self::of(opened.as_bytes()).ok_or_else(|| no_key(UNKNOWN));
        }
        if label.is_empty() && contents.windows(10).any(|part| part == b"ENCRYPTED\n") {
            return Err(no_key(
                "its encryption is an old one; `openssl pkcs8 -topk8` makes a file that can be read",
            ));
        }
        Self::of(&der).ok_or_else(|| no_key(UNKNOWN))
    }

    /// Parses a key's DER.
    fn of(der: &[u8]) -> Option<Self> {
        let rsa = rsa::RsaPrivateKey::from_pkcs8_der(der).ok();
        if let Some(key) = rsa.or_else(|| rsa::RsaPrivateKey::from_pkcs1_der(der).ok()) {
            return Some(Self::Rsa(Box::new(key)));
        }
        let p256 = p256::SecretKey::from_pkcs8_der(der).ok();
        if let Some(key) = p256.or_else(|| p256::SecretKey::from_sec1_der(der).ok()) {
            return Some(Self::P256(key.into()));
        }
        let p384 = p384::SecretKey::from_pkcs8_der(der).ok();
        let key = p384.or_else(|| p384::SecretKey::from_sec1_der(der).ok())?;
        Some(Self::P384(key.into()))
    }

    /// Returns its public key.
    fn public(&self) -> PublicKey {
        match self {
            Self::Rsa(key) => PublicKey::Rsa(key.to_public_key()),
            Self::P256(key) => PublicKey::P256(*key.verifying_key()),
            Self::P384(key) => PublicKey::P384(*key.verifying_key()),
        }
    }
}

const UNKNOWN: &str =
    "not a private key of RSA or of ECDSA on P-256 or P-384 (PEM or DER of PKCS #8, PKCS #1 or SEC 1)";
