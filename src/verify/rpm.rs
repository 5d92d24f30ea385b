//! Signatures of `.rpm` packages: over the header, and through the header's digest or directly over the payload.
//!
//! Invariant: a package is verified only if a pinned certificate made a good signature over its whole header, and that
//! header, or another such signature, covers all bytes behind the header.

use std::io::{self, Read};
use std::time::SystemTime;

use super::{Keyring, Packets, Signer, VerifyError};
use crate::hint::Hint;
use crate::package::Sha256;
use crate::rpmfile::{RpmFileError, RpmHead, Tag};

/// SHA-256 in OpenPGP's table of hash algorithms (RFC 9580, 9.5), which rpm uses too.
const SHA256_ALGORITHM: u64 = 8;

/// The reason why a package is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum RpmVerifyError {
    /// The package cannot be read.
    #[error(transparent)]
    File(#[from] RpmFileError),
    /// The package has no signature.
    #[error("the package is not signed")]
    Unsigned,
    /// The header has changed since the package was made.
    #[error("the package was tampered with or damaged: its header has the SHA-256 {actual}, it says {stated}")]
    HeaderDigest {
        /// The digest in the package.
        stated: String,
        /// The digest of the header.
        actual: Sha256,
    },
    /// A signature is not accepted.
    #[error("the package's signature is not accepted: {0}")]
    Signature(#[from] VerifyError),
    /// The payload differs from the signed one.
    #[error(
        "the package was tampered with or damaged: its payload has the SHA-256 {actual}, its signed header says {stated}"
    )]
    PayloadDigest {
        /// The digest in the signed header.
        stated: String,
        /// The digest of the payload.
        actual: Sha256,
    },
    /// The signature is good, but does not cover the payload.
    #[error("the package's signature covers its header only, and that has no SHA-256 of the payload")]
    UnsignedPayload,
    /// The package is signed, but is not the requested one.
    #[error("the package is {found}, which is not what its repository's index says")]
    OtherPackage {
        /// Its name, version and architecture.
        found: String,
    },
}

/// A package whose signature was good.
#[derive(Debug, Clone)]
pub struct VerifiedRpm {
    /// Its signer.
    pub signer: Signer,
    /// Its headers.
    pub head: RpmHead,
}

impl RpmVerifyError {
    /// Returns a hint on the next step of the user, if anything helps.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::Signature(error) => error.hint(),
            Self::Unsigned | Self::UnsignedPayload => Some(
                "get the signed package; or give the repository `[trusted=yes]` to take its packages unverified".into(),
            ),
            Self::File(_) | Self::HeaderDigest { .. } | Self::PayloadDigest { .. } | Self::OtherPackage { .. } => {
                Some("try another mirror; something on the way, or on the server, changed the package".into())
            }
        }
    }
}

/// Verifies all of `package`, from its start to its end, with the certificates of `keyring`.
///
/// `at` is the time at which keys and signatures must be valid. OpenPGP signatures of version 3 are
/// accepted as those of version 4 and 6 are, because distributions still make them; hash and key
/// algorithms must be sound all the same.
///
/// # Errors
/// [`RpmVerifyError`]; a tampered package, a wrong key and a missing signature each have their own variant.
pub fn verify(
    keyring: &Keyring,
    mut package: impl Read + Send + Sync,
    at: SystemTime,
) -> Result<VerifiedRpm, RpmVerifyError> {
    let head = RpmHead::read(&mut package)?;
    if let Some(stated) = head.signature.string(Tag::SIGNATURE_SHA256)? {
        let actual = Sha256::of(head.header.as_bytes());
        if stated != actual.to_string() {
            let stated = stated.to_owned();
            return Err(RpmVerifyError::HeaderDigest { stated, actual });
        }
    }
    let of_header = header_signatures(&head)?;
    if of_header.is_empty() {
        let signer = whole(keyring, &head, package, at)?;
        return Ok(VerifiedRpm { signer, head });
    }
    let signer = any_good(&of_header, |signature| {
        keyring.check(head.header.as_bytes(), signature, Packets::WithVersion3, at)
    })?;
    match payload_digest(&head)? {
        Some(stated) => check_payload(stated, package)?,
        None if has_whole_signature(&head) => {
            whole(keyring, &head, package, at)?;
        }
        None => return Err(RpmVerifyError::UnsignedPayload),
    }
    Ok(VerifiedRpm { signer, head })
}

/// Returns the signatures over the header, as binary OpenPGP packets or in armor.
fn header_signatures(head: &RpmHead) -> Result<Vec<Vec<u8>>, RpmFileError> {
    let mut all = Vec::new();
    for tag in [Tag::SIGNATURE_RSA, Tag::SIGNATURE_DSA] {
        all.extend(head.signature.binary(tag)?.map(<[u8]>::to_vec));
    }
    // RPM 6 stores only the text between the first and the last line of an armored signature.
    for base64 in head.signature.strings(Tag::SIGNATURE_OPENPGP)? {
        let armored = format!("-----BEGIN PGP SIGNATURE-----\n\n{base64}\n-----END PGP SIGNATURE-----\n");
        all.push(armored.into_bytes());
    }
    Ok(all)
}

fn has_whole_signature(head: &RpmHead) -> bool {
    head.signature.has(Tag::SIGNATURE_PGP) || head.signature.has(Tag::SIGNATURE_GPG)
}

/// Verifies a signature of the old kind, over header and payload together.
fn whole(
    keyring: &Keyring,
    head: &RpmHead,
    package: impl Read + Send + Sync,
    at: SystemTime,
) -> Result<Signer, RpmVerifyError> {
    let mut signature = None;
    for tag in [Tag::SIGNATURE_PGP, Tag::SIGNATURE_GPG] {
        signature = signature.or(head.signature.binary(tag)?);
    }
    let signature = signature.ok_or(RpmVerifyError::Unsigned)?;
    let mut failure = None;
    let signed = Noted {
        reader: head.header.as_bytes().chain(package),
        failure: &mut failure,
    };
    let checked = keyring.check_reader(signed, signature, Packets::WithVersion3, at);
    match failure {
        Some(error) => Err(RpmFileError::Io(error).into()),
        None => Ok(checked?),
    }
}

/// Returns the signer of the first good signature; else the last error of the greatest rank.
fn any_good(
    signatures: &[Vec<u8>],
    check: impl Fn(&[u8]) -> Result<Signer, VerifyError>,
) -> Result<Signer, VerifyError> {
    let mut worst = VerifyError::NoSignature;
    for signature in signatures {
        match check(signature) {
            Ok(signer) => return Ok(signer),
            Err(error) if error.rank() >= worst.rank() => worst = error,
            Err(_) => {}
        }
    }
    Err(worst)
}

/// Returns the digest of the payload that the header states, if it is by SHA-256.
fn payload_digest(head: &RpmHead) -> Result<Option<&str>, RpmFileError> {
    let algorithm = head.header.numbers(Tag::PAYLOAD_DIGEST_ALGORITHM)?;
    let digests = head.header.strings(Tag::PAYLOAD_DIGEST)?;
    let is_sha256 = matches!(algorithm[..], [] | [SHA256_ALGORITHM]);
    Ok(digests.first().copied().filter(|_| is_sha256))
}

fn check_payload(stated: &str, payload: impl Read) -> Result<(), RpmVerifyError> {
    let (actual, _) = Sha256::of_reader(payload).map_err(RpmFileError::Io)?;
    if stated.eq_ignore_ascii_case(&actual.to_string()) {
        return Ok(());
    }
    Err(RpmVerifyError::PayloadDigest {
        stated: stated.to_owned(),
        actual,
    })
}

/// A reader that keeps its error, which would otherwise look like a bad signature.
struct Noted<'a, R> {
    reader: R,
    failure: &'a mut Option<io::Error>,
}

impl<R: Read> Read for Noted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer).map_err(|error| {
            let seen = io::Error::new(error.kind(), error.to_string());
            *self.failure = Some(error);
            seen
        })
    }
}

#[cfg(test)]
mod tests;
