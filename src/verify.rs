//! OpenPGP signatures: oic checks which pinned key signed a text, and whether that key was valid.
//!
//! Invariant: text leaves this module as verified only if a pinned certificate
//! made a good signature over all of it, under sequoia's standard policy, with a
//! key that was valid when it signed and still is at the given time.

mod clearsign;
#[cfg(test)]
pub(crate) mod gpg;
pub mod rpm;
#[cfg(test)]
mod tests;

use crate::hint::Hint;
use std::io;
use std::time::SystemTime;

use openpgp::Cert;
use openpgp::cert::prelude::*;
use openpgp::packet::key::PublicParts;
use openpgp::packet::{Signature, Tag};
use openpgp::parse::Parse as _;
use openpgp::parse::stream::{
    DetachedVerifierBuilder, GoodChecksum, MessageLayer, MessageStructure, VerificationError, VerificationHelper,
    VerifierBuilder,
};
use openpgp::policy::StandardPolicy;
use openpgp::serialize::Serialize as _;
use openpgp::types::RevocationStatus;
use sequoia_openpgp as openpgp;

/// The certificates that may sign one source.
#[derive(Debug, Clone)]
pub struct Keyring {
    certificates: Vec<Cert>,
}

/// The maker of a good signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// Fingerprint of its pinned certificate, in upper-case hexadecimal digits.
    pub fingerprint: String,
    /// Time of the signature, as stated in it.
    pub signed_at: SystemTime,
}

/// A clear-signed text whose signature was good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Exactly the signed text, dash escapes undone.
    pub text: Vec<u8>,
    /// Its signer.
    pub signer: Signer,
}

/// The reason why a signature, or a key, is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// No certificate was found where at least one is needed.
    #[error("no OpenPGP certificate in the given keys{}", detail(.reason))]
    NoCertificate {
        /// The parser's message; may be empty.
        reason: String,
    },
    /// The document is not exactly one clear-signed message.
    #[error("not a clear-signed document: {reason}")]
    NotClearSigned {
        /// The mistake in it.
        reason: String,
    },
    /// The input has no signature.
    #[error("no signature")]
    NoSignature,
    /// Only keys that are not pinned signed it.
    #[error("signed by unknown key {}; accepted are {}", .signed_by.join(", "), .pinned.join(", "))]
    UnknownKey {
        /// Fingerprints or key ids that the signatures name.
        signed_by: Vec<String>,
        /// Fingerprints of the pinned certificates.
        pinned: Vec<String>,
    },
    /// A pinned key is named, but the signature does not fit the text.
    #[error("bad signature by key {key}: {reason}")]
    BadSignature {
        /// Fingerprint of the certificate.
        key: String,
        /// The message of the check.
        reason: String,
    },
    /// The signing key, or its certificate, has expired.
    #[error("signed by key {key}, which has expired: {reason}")]
    ExpiredKey {
        /// Fingerprint of the certificate.
        key: String,
        /// The time of expiry, in words.
        reason: String,
    },
    /// The signing key, or its certificate, was revoked.
    #[error("signed by key {key}, which was revoked")]
    RevokedKey {
        /// Fingerprint of the certificate.
        key: String,
    },
    /// The key may not make such signatures, or its algorithms are too weak.
    #[error("signed by key {key}, which cannot be used: {reason}")]
    UnusableKey {
        /// Fingerprint of the certificate.
        key: String,
        /// The message of the policy.
        reason: String,
    },
    /// The signature, or one by which its key is bound, uses an algorithm that is broken.
    #[error("signed by key {key} in a way that can be forged: {reason}")]
    TooWeak {
        /// Fingerprint of the certificate.
        key: String,
        /// The message of the policy, with the algorithm.
        reason: String,
    },
    /// The signature cannot be read.
    #[error("malformed signature: {reason}")]
    Malformed {
        /// The parser's message.
        reason: String,
    },
}

impl VerifyError {
    /// Returns a hint on the next step of the user, if anything helps.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::NoCertificate { .. } => Some("give the repository's public key (`pkey`)".into()),
            Self::UnknownKey { .. } => Some(
                "if you trust that key, add it to the repository's keys; otherwise the mirror serves something else"
                    .into(),
            ),
            Self::ExpiredKey { .. } => Some("check the clock of this machine; else get the renewed key".into()),
            Self::BadSignature { .. } => Some("check the clock of this machine; else try another mirror".into()),
            Self::TooWeak { .. } => {
                let text = "SHA-1 and short keys are refused as apt and dnf do today: ask the vendor for a key and \
                            signatures with SHA-256 or better; `[trusted=yes]` takes the repository without verification";
                Some(text.into())
            }
            Self::RevokedKey { .. } | Self::UnusableKey { .. } => {
                Some("get the key that the repository signs with today".into())
            }
            Self::NotClearSigned { .. } | Self::NoSignature | Self::Malformed { .. } => {
                Some("try another mirror; a proxy or portal may have answered in its place".into())
            }
        }
    }

    /// Returns the rank for the choice among several failed signatures. The greatest rank is reported: a pinned key's
    /// failure before an unknown key's.
    fn rank(&self) -> u8 {
        match self {
            Self::RevokedKey { .. } => 5,
            Self::ExpiredKey { .. } => 4,
            Self::BadSignature { .. } => 3,
            Self::UnusableKey { .. } | Self::TooWeak { .. } => 2,
            Self::UnknownKey { .. } => 1,
            _ => 0,
        }
    }
}

fn detail(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!(": {reason}")
    }
}

/// Returns the signed text of a clear-signed document **without** a check of its signature, for sources that are
/// trusted by declaration.
///
/// # Errors
/// [`VerifyError::NotClearSigned`] if the document is not exactly one clear-signed message.
pub fn signed_text_unverified(clear_signed: &[u8]) -> Result<Vec<u8>, VerifyError> {
    let text = clearsign::signed_lines(clear_signed);
    text.map(String::into_bytes)
        .map_err(|reason| VerifyError::NotClearSigned { reason })
}

/// Returns those certificates in `blob` that have one of `fingerprints` (upper-case hexadecimal digits), in binary
/// form.
///
/// # Errors
/// [`VerifyError::NoCertificate`] if `blob` has none of them.
pub fn select(blob: &[u8], fingerprints: &[String]) -> Result<Vec<u8>, VerifyError> {
    let mut keyring = Keyring::from_certificates(&[blob])?;
    let found = keyring.fingerprints().join(", ");
    keyring
        .certificates
        .retain(|cert| fingerprints.contains(&cert.fingerprint().to_hex()));
    if keyring.certificates.is_empty() {
        let reason = format!("has the fingerprint {}: it has {found}", fingerprints.join(" or "));
        return Err(VerifyError::NoCertificate {
            reason: format!("none {reason}"),
        });
    }
    keyring.to_bytes()
}

impl Keyring {
    /// Reads certificates, armored or binary, one or many per blob.
    ///
    /// # Errors
    /// [`VerifyError::NoCertificate`] if a blob holds none that can be read.
    pub fn from_certificates(blobs: &[impl AsRef<[u8]>]) -> Result<Self, VerifyError> {
        let mut certificates = Vec::new();
        for blob in blobs {
            certificates.extend(read_certificates(blob.as_ref())?);
        }
        if certificates.is_empty() {
            return Err(VerifyError::NoCertificate { reason: String::new() });
        }
        Ok(Self { certificates })
    }

    /// Returns the fingerprints of the pinned certificates, in upper-case hexadecimal digits.
    pub fn fingerprints(&self) -> Vec<String> {
        self.certificates
            .iter()
            .map(|cert| cert.fingerprint().to_hex())
            .collect()
    }

    /// Returns all certificates in binary OpenPGP form, as apt takes them in a `.gpg` file.
    ///
    /// # Errors
    /// [`VerifyError::NoCertificate`] if one of them cannot be written.
    pub fn to_bytes(&self) -> Result<Vec<u8>, VerifyError> {
        let mut bytes = Vec::new();
        for cert in &self.certificates {
            let written = cert.export(&mut bytes);
            written.map_err(|error| VerifyError::NoCertificate {
                reason: format!("{error:#}"),
            })?;
        }
        Ok(bytes)
    }

    /// Returns the certificates in ASCII armor, one after the other, as rpm and dnf read them.
    ///
    /// # Errors
    /// If a certificate cannot be written.
    pub fn to_armored(&self) -> Result<Vec<u8>, VerifyError> {
        let mut bytes = Vec::new();
        for cert in &self.certificates {
            let written = cert.armored().export(&mut bytes);
            written.map_err(|error| VerifyError::NoCertificate {
                reason: format!("{error:#}"),
            })?;
        }
        Ok(bytes)
    }

    /// Verifies a clear-signed document (`InRelease`) and returns the signed text.
    ///
    /// `at` is the time at which keys and signatures must be valid.
    ///
    /// # Errors
    /// [`VerifyError`] unless one pinned, valid key made a good signature and the
    /// document holds nothing else.
    pub fn verify_inline(&self, clear_signed: &[u8], at: SystemTime) -> Result<Verified, VerifyError> {
        let lines = signed_text_unverified(clear_signed)?;
        let policy = StandardPolicy::at(at);
        let mut verifier = VerifierBuilder::from_bytes(clear_signed)
            .and_then(|builder| {
                let builder = builder.buffer_size(clear_signed.len().saturating_add(1));
                builder.with_policy(&policy, at, Judge::new(self, &policy, at))
            })
            .map_err(from_sequoia)?;
        let mut text = Vec::with_capacity(lines.len());
        io::Read::read_to_end(&mut verifier, &mut text).map_err(|error| malformed(format!("{error:#}")))?;
        if !same_lines(&text, &lines) {
            return Err(malformed("the signed text does not fill the document".to_owned()));
        }
        let signer = verifier.into_helper().signer.ok_or(VerifyError::NoSignature)?;
        Ok(Verified { text, signer })
    }

    /// Verifies a detached signature (`Release.gpg`), armored or binary, over `data`.
    ///
    /// # Errors
    /// [`VerifyError`] unless one pinned, valid key made a good signature.
    pub fn verify_detached(&self, data: &[u8], signature: &[u8], at: SystemTime) -> Result<Signer, VerifyError> {
        self.check(data, signature, Packets::Current, at)
    }

    fn check(&self, data: &[u8], signature: &[u8], packets: Packets, at: SystemTime) -> Result<Signer, VerifyError> {
        self.check_reader(data, signature, packets, at)
    }

    /// Does the same as [`Self::check`], on data from a reader.
    fn check_reader(
        &self,
        data: impl io::Read + Send + Sync,
        signature: &[u8],
        packets: Packets,
        at: SystemTime,
    ) -> Result<Signer, VerifyError> {
        if signature.trim_ascii().is_empty() {
            return Err(VerifyError::NoSignature);
        }
        let policy = packets.policy(at);
        let mut verifier = DetachedVerifierBuilder::from_bytes(signature)
            .and_then(|builder| builder.with_policy(&policy, at, Judge::new(self, &policy, at)))
            .map_err(from_sequoia)?;
        verifier.verify_reader(data).map_err(from_sequoia)?;
        verifier.into_helper().signer.ok_or(VerifyError::NoSignature)
    }
}

/// The accepted versions of OpenPGP signature packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packets {
    /// The versions that the standard policy accepts.
    Current,
    /// Also version 3, which older versions of `rpm`, and distributions with them, make. It differs in the data beside
    /// the signature, not in its strength.
    WithVersion3,
}

impl Packets {
    fn policy(self, at: SystemTime) -> StandardPolicy<'static> {
        let mut policy = StandardPolicy::at(at);
        if self == Self::WithVersion3 {
            policy.accept_packet_tag_version(Tag::Signature, 3);
        }
        policy
    }
}

/// Returns whether two independent readers of the frame saw the same text; trailing blanks and the kind of line end are
/// not signed (RFC 9580, 7.2).
fn same_lines(text: &[u8], lines: &[u8]) -> bool {
    let trimmed = |text: &[u8]| -> Vec<Vec<u8>> {
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        text.split(|&byte| byte == b'\n')
            .map(|line| line.trim_ascii_end().to_vec())
            .collect()
    };
    trimmed(text) == trimmed(lines)
}

/// Reads the certificates of a blob. An armored blob may have several blocks one after the other; each is read by
/// itself.
fn read_certificates(blob: &[u8]) -> Result<Vec<Cert>, VerifyError> {
    const ARMOR: &[u8] = b"-----BEGIN PGP PUBLIC KEY BLOCK-----";
    let mut starts: Vec<usize> = (0..blob.len())
        .filter(|&at| blob.get(at..).is_some_and(|b| b.starts_with(ARMOR)))
        .collect();
    if starts.is_empty() {
        starts.push(0);
    }
    let ends = starts.iter().skip(1).copied().chain([blob.len()]);
    let mut certificates = Vec::new();
    let mut reason = String::new();
    for part in starts.iter().zip(ends).filter_map(|(&start, end)| blob.get(start..end)) {
        match CertParser::from_bytes(part) {
            Ok(parser) => {
                for cert in parser {
                    match cert {
                        Ok(cert) => certificates.push(cert.strip_secret_key_material()),
                        Err(error) => reason = format!("{error:#}"),
                    }
                }
            }
            Err(error) => reason = format!("{error:#}"),
        }
    }
    if certificates.is_empty() {
        return Err(VerifyError::NoCertificate { reason });
    }
    if !reason.is_empty() {
        tracing::warn!(reason, "a certificate of a keyring cannot be read and is ignored");
    }
    Ok(certificates)
}

fn malformed(reason: String) -> VerifyError {
    VerifyError::Malformed { reason }
}

/// Extracts the error of `Judge::check`, which passes through sequoia as an opaque error.
fn from_sequoia(error: openpgp::anyhow::Error) -> VerifyError {
    error
        .downcast::<VerifyError>()
        .unwrap_or_else(|error| malformed(format!("{error:#}")))
}

/// Returns whether the policy refuses an algorithm.
fn is_weak(error: &openpgp::anyhow::Error) -> bool {
    let mut causes = error.chain().map(|cause| cause.downcast_ref());
    causes.any(|cause| matches!(cause, Some(openpgp::Error::PolicyViolation(..))))
}

fn too_weak(cert: &Cert, error: &openpgp::anyhow::Error) -> VerifyError {
    VerifyError::TooWeak {
        key: cert.fingerprint().to_hex(),
        reason: format!("{error:#}"),
    }
}

/// The judge of the signatures of one document.
struct Judge<'k> {
    keyring: &'k Keyring,
    policy: &'k StandardPolicy<'k>,
    at: SystemTime,
    signer: Option<Signer>,
}

impl<'k> Judge<'k> {
    fn new(keyring: &'k Keyring, policy: &'k StandardPolicy<'k>, at: SystemTime) -> Self {
        Self {
            keyring,
            policy,
            at,
            signer: None,
        }
    }

    /// Checks that the key is also valid now (sequoia judged it by the signature's time), and returns the signer.
    fn still_valid(&self, good: &GoodChecksum<'_>) -> Result<Signer, VerifyError> {
        let key = good.ka.cert().fingerprint().to_hex();
        let unusable = |reason: String| VerifyError::UnusableKey {
            key: key.clone(),
            reason,
        };
        let cert = good.ka.cert().with_policy(self.policy, self.at);
        let cert = cert.map_err(|error| unusable(format!("{error:#}")))?;
        let signing = cert.keys().key_handle(good.ka.key().fingerprint()).next();
        let signing = signing.ok_or_else(|| unusable("the signing subkey is not valid any more".to_owned()))?;
        usable(&signing)?;
        let signed_at = good.sig.signature_creation_time();
        let signed_at = signed_at.ok_or_else(|| malformed("it has no creation time".to_owned()))?;
        Ok(Signer {
            fingerprint: key,
            signed_at,
        })
    }

    fn explain(&self, error: &VerificationError<'_>) -> VerifyError {
        match error {
            VerificationError::UnboundKey { cert, error, .. } if is_weak(error) => too_weak(cert, error),
            VerificationError::BadKey { ka, error, .. } | VerificationError::BadSignature { ka, error, .. }
                if is_weak(error) =>
            {
                too_weak(ka.cert(), error)
            }
            VerificationError::MissingKey { sig } => self.unknown(sig),
            VerificationError::UnboundKey { cert, error, .. } => VerifyError::UnusableKey {
                key: cert.fingerprint().to_hex(),
                reason: format!("{error:#}"),
            },
            VerificationError::BadKey { ka, error, .. } => match usable(ka) {
                Err(reason) => reason,
                Ok(()) => VerifyError::UnusableKey {
                    key: ka.cert().fingerprint().to_hex(),
                    reason: format!("{error:#}"),
                },
            },
            VerificationError::BadSignature { ka, error, .. } => VerifyError::BadSignature {
                key: ka.cert().fingerprint().to_hex(),
                reason: format!("{error:#}"),
            },
            VerificationError::MalformedSignature { error, .. } => malformed(format!("{error:#}")),
            VerificationError::UnknownSignature { sig } => malformed(format!("{:#}", sig.error())),
            other => malformed(other.to_string()),
        }
    }

    fn unknown(&self, signature: &Signature) -> VerifyError {
        let issuers: Vec<String> = signature.get_issuers().iter().map(ToString::to_string).collect();
        // A signature may name its key twice, by key id and by fingerprint, which ends with the key id.
        let named_longer = |id: &String| {
            issuers
                .iter()
                .any(|other| other.len() > id.len() && other.ends_with(id.as_str()))
        };
        let mut signed_by: Vec<String> = issuers.iter().filter(|id| !named_longer(id)).cloned().collect();
        if signed_by.is_empty() {
            signed_by.push("(the signature names none)".to_owned());
        }
        VerifyError::UnknownKey {
            signed_by,
            pinned: self.keyring.fingerprints(),
        }
    }
}

/// Checks that a key is alive, not revoked and meant for signing, at the time that the amalgamation carries.
fn usable(ka: &ValidErasedKeyAmalgamation<'_, PublicParts>) -> Result<(), VerifyError> {
    let key = ka.cert().fingerprint().to_hex();
    let revoked = |status| matches!(status, RevocationStatus::Revoked(_));
    if revoked(ka.valid_cert().revocation_status()) || revoked(ka.revocation_status()) {
        return Err(VerifyError::RevokedKey { key });
    }
    match ka.valid_cert().alive().and_then(|()| ka.alive()) {
        Err(error) => Err(VerifyError::ExpiredKey {
            key,
            reason: format!("{error:#}"),
        }),
        Ok(()) if ka.for_signing() => Ok(()),
        Ok(()) => Err(VerifyError::UnusableKey {
            key,
            reason: "it is not meant for signing".to_owned(),
        }),
    }
}

impl VerificationHelper for Judge<'_> {
    fn get_certs(&mut self, _ids: &[openpgp::KeyHandle]) -> openpgp::Result<Vec<Cert>> {
        Ok(self.keyring.certificates.clone())
    }

    fn check(&mut self, structure: MessageStructure<'_>) -> openpgp::Result<()> {
        let mut failure = VerifyError::NoSignature;
        let mut unknown = Vec::new();
        for layer in structure {
            let MessageLayer::SignatureGroup { results } = layer else {
                return Err(malformed("encrypted or compressed data".to_owned()).into());
            };
            for result in results {
                let verdict = match result {
                    Ok(good) => self.still_valid(&good),
                    Err(error) => Err(self.explain(&error)),
                };
                match verdict {
                    Ok(signer) => {
                        self.signer = Some(signer);
                        return Ok(());
                    }
                    Err(VerifyError::UnknownKey { signed_by, .. }) => unknown.extend(signed_by),
                    Err(error) if error.rank() >= failure.rank() => failure = error,
                    Err(_) => {}
                }
            }
        }
        if failure.rank() == 0 && !unknown.is_empty() {
            failure = VerifyError::UnknownKey {
                signed_by: unknown,
                pinned: self.keyring.fingerprints(),
            };
        }
        Err(failure.into())
    }
}
