//! Certificates (RFC 5280), as far as signing needs them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use rsa::pkcs1v15::Pkcs1v15Sign;
use rsa::pkcs8::DecodePublicKey as _;
use rsa::traits::PublicKeyParts as _;
use x509_cert::der::{Decode as _, Encode as _};

use super::SignError;
use crate::date;
use crate::durable::{self, PathError};
use crate::package::Sha256;

/// The largest file of a certificate or key, in bytes.
pub(super) const FILE_LIMIT_BYTES: u64 = 1 << 20;
/// The smallest RSA key in bits.
const RSA_BITS_MIN: usize = 2048;
/// What precedes the digest in an RSA signature: the DER of DigestInfo with SHA-256 (RFC 8017, 9.2, note 1).
const SHA256_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20,
];

/// A public key.
#[derive(Clone, PartialEq)]
pub(super) enum PublicKey {
    /// RSA.
    Rsa(rsa::RsaPublicKey),
    /// ECDSA on P-256.
    P256(p256::ecdsa::VerifyingKey),
    /// ECDSA on P-384.
    P384(p384::ecdsa::VerifyingKey),
}

/// A certificate.
#[derive(Clone)]
pub struct Certificate {
    path: PathBuf,
    der: Vec<u8>,
    /// The DER of the issuer's name.
    issuer: Vec<u8>,
    /// The DER of the serial number.
    serial: Vec<u8>,
    public: PublicKey,
    public_der: Vec<u8>,
    valid_from: SystemTime,
    valid_until: SystemTime,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// The way of signing RSA keys with SHA-256.
pub(super) fn rsa_scheme() -> Pkcs1v15Sign {
    Pkcs1v15Sign {
        hash_len: Some(32),
        prefix: SHA256_INFO.into(),
    }
}

/// Returns the bytes of the first PEM block (RFC 7468) of `text` whose label is accepted, with the label; `None` if there
/// is none.
pub(super) fn pem(text: &[u8], accepts: impl Fn(&str) -> bool) -> Option<(String, Vec<u8>)> {
    let text = std::str::from_utf8(text).ok()?;
    text.match_indices("-----BEGIN ").find_map(|(at, _)| {
        let block = text.get(at..)?;
        let label = block.strip_prefix("-----BEGIN ")?.split_once("-----")?.0;
        let end = format!("-----END {label}-----");
        let length = block.find(&end).filter(|_| accepts(label))? + end.len();
        let (label, bytes) = pem_rfc7468::decode_vec(block.get(..length)?.as_bytes()).ok()?;
        Some((label.to_owned(), bytes))
    })
}

impl Certificate {
    /// Reads the certificate file `path`: PEM, of which the first certificate counts, or DER.
    ///
    /// # Errors
    /// [`SignError`] if it cannot be read, or its key cannot be used for signatures of firmware.
    pub fn read(path: &Path) -> Result<Self, SignError> {
        let read = durable::open_regular(path).and_then(|file| durable::read_at_most(file, FILE_LIMIT_BYTES));
        Self::parse(path, read.map_err(PathError::on("read", path))?)
    }

    /// Parses the contents of the certificate file `path`.
    fn parse(path: &Path, contents: Vec<u8>) -> Result<Self, SignError> {
        let wrong = |problem: String| SignError::Certificate {
            path: path.to_owned(),
            problem,
        };
        let is_certificate = |label: &str| matches!(label, "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE");
        let der = pem(&contents, is_certificate).map_or(contents, |(_, der)| der);
        let parsed = x509_cert::Certificate::from_der(&der);
        let parsed = parsed.map_err(|error| wrong(format!("not a certificate: {error}")))?;
        let fields = &parsed.tbs_certificate;
        let encoded = |error| wrong(format!("cannot be encoded: {error}"));
        let public_der = fields.subject_public_key_info.to_der().map_err(encoded)?;
        let public = PublicKey::parse(&public_der).map_err(|problem| wrong(problem.into()))?;
        Ok(Self {
            path: path.to_owned(),
            issuer: fields.issuer.to_der().map_err(encoded)?,
            serial: fields.serial_number.to_der().map_err(encoded)?,
            public,
            public_der,
            valid_from: fields.validity.not_before.to_system_time(),
            valid_until: fields.validity.not_after.to_system_time(),
            der,
        })
    }

    /// Checks that it is valid at `now`.
    ///
    /// # Errors
    /// [`SignError::NotValid`].
    pub fn check(&self, now: SystemTime) -> Result<(), SignError> {
        if (self.valid_from..=self.valid_until).contains(&now) {
            return Ok(());
        }
        let show = |time: SystemTime| {
            let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            date::show(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
        };
        Err(SignError::NotValid {
            path: self.path.clone(),
            from: show(self.valid_from),
            until: show(self.valid_until),
        })
    }

    /// Returns its file, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns its DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Returns the DER of its issuer's name, and of its serial number.
    pub(super) fn issuer_and_serial(&self) -> (&[u8], &[u8]) {
        (&self.issuer, &self.serial)
    }

    /// Returns its public key.
    pub(super) fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Returns the DER of its public key (SubjectPublicKeyInfo).
    pub fn public_der(&self) -> &[u8] {
        &self.public_der
    }

    /// Returns the first instant of its validity.
    pub fn valid_from(&self) -> SystemTime {
        self.valid_from
    }

    /// Returns the digest of its DER.
    pub fn fingerprint(&self) -> Sha256 {
        Sha256::of(&self.der)
    }

    /// Returns the length, in bytes, of the longest signature of its key.
    pub(super) fn signature_bytes_max(&self) -> usize {
        match &self.public {
            PublicKey::Rsa(key) => key.size(),
            // A sequence of two numbers, each with a zero byte before it.
            PublicKey::P256(_) => 2 + 2 * (2 + 33),
            PublicKey::P384(_) => 2 + 2 * (2 + 49),
        }
    }

    /// Checks that `signature` is one of its key for the SHA-256 digest of `message`.
    ///
    /// # Errors
    /// [`SignError::Foreign`].
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SignError> {
        let digest = Sha256::of(message).0;
        let is_good = match &self.public {
            PublicKey::Rsa(key) => key.verify(rsa_scheme(), &digest, signature).is_ok(),
            PublicKey::P256(key) => {
                let signature = p256::ecdsa::Signature::from_der(signature);
                signature.is_ok_and(|signature| key.verify_prehash(&digest, &signature).is_ok())
            }
            PublicKey::P384(key) => {
                let signature = p384::ecdsa::Signature::from_der(signature);
                signature.is_ok_and(|signature| key.verify_prehash(&digest, &signature).is_ok())
            }
        };
        match is_good {
            true => Ok(()),
            false => Err(SignError::Foreign(self.path.display().to_string())),
        }
    }
}

impl PublicKey {
    /// Parses a SubjectPublicKeyInfo (RFC 5280, 4.1.2.7).
    fn parse(der: &[u8]) -> Result<Self, &'static str> {
        if let Ok(key) = rsa::RsaPublicKey::from_public_key_der(der) {
            return match key.n().bits() {
                0..RSA_BITS_MIN => Err("its RSA key has fewer than 2048 bits, which firmware refuses"),
                _ => Ok(Self::Rsa(key)),
            };
        }
        if let Ok(key) = p256::ecdsa::VerifyingKey::from_public_key_der(der) {
            return Ok(Self::P256(key));
        }
        match p384::ecdsa::VerifyingKey::from_public_key_der(der) {
            Ok(key) => Ok(Self::P384(key)),
            Err(_) => Err("its key is neither RSA nor ECDSA on P-256 or P-384"),
        }
    }
}
