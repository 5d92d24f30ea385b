//! Signed messages: SignedData of PKCS #7 (RFC 2315, 9.1) with one signer, as Authenticode and UEFI have them. No time is
//! in them.

use super::certificate::PublicKey;
use super::der::{self, NULL, OCTET_STRING, SEQUENCE, oid, value};
use super::{Certificate, SignError, Signer};
use crate::package::Sha256;

/// 1.2.840.113549.1.7.1.
const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
/// 1.2.840.113549.1.7.2.
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2];
/// 1.2.840.113549.1.9.3.
const CONTENT_TYPE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 3];
/// 1.2.840.113549.1.9.4.
const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 4];
/// 1.2.840.113549.1.1.1.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
/// 1.2.840.10045.4.3.2.
const ECDSA_WITH_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
/// 2.16.840.1.101.3.4.2.1.
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];
/// 1.3.6.1.4.1.311.2.1.4.
const SPC_INDIRECT_DATA: &[u8] = &[0x2b, 6, 1, 4, 1, 0x82, 0x37, 2, 1, 4];
/// 1.3.6.1.4.1.311.2.1.15.
const SPC_PE_IMAGE_DATA: &[u8] = &[0x2b, 6, 1, 4, 1, 0x82, 0x37, 2, 1, 15];
/// Tags of the context: constructed, primitive.
const CONTEXT_0: u8 = 0xa0;
const CONTEXT_2: u8 = 0xa2;
const CONTEXT_0_PRIMITIVE: u8 = 0x80;
/// The text that stands in the place of a file name ("Windows Authenticode Portable Executable Signature Format").
const NO_FILE: &str = "<<<Obsolete>>>";

/// The content of a message, and what is signed of it.
#[derive(Debug, Clone)]
pub struct Content {
    /// The DER of the content with its type (ContentInfo).
    info: Vec<u8>,
    /// The DER of the signed attributes, as a set; `None` if the content itself is signed.
    attributes: Option<Vec<u8>>,
    /// What the signer gets.
    to_sign: Vec<u8>,
}

impl Content {
    /// Makes the content that says that an EFI program has this Authenticode digest.
    pub fn of_program(digest: &Sha256) -> Self {
        let file = value(
            CONTEXT_0,
            &[&value(CONTEXT_2, &[&der::wide_text(CONTEXT_0_PRIMITIVE, NO_FILE)])],
        );
        let image = value(SEQUENCE, &[&[0x03, 0x01, 0x00], &file]);
        let kind = value(SEQUENCE, &[&oid(SPC_PE_IMAGE_DATA), &image]);
        let digest = value(SEQUENCE, &[&sha256(), &value(OCTET_STRING, &[&digest.0])]);
        let indirect = [kind, digest].concat();
        // Tag and length do not belong to what is hashed.
        let message_digest = value(OCTET_STRING, &[&Sha256::of(&indirect).0]);
        let content = value(CONTEXT_0, &[&value(SEQUENCE, &[&indirect])]);
        let attribute = |kind: &[u8], held: &[u8]| value(SEQUENCE, &[&oid(kind), &der::set(vec![held.to_owned()])]);
        let attributes = der::set(vec![
            attribute(CONTENT_TYPE, &oid(SPC_INDIRECT_DATA)),
            attribute(MESSAGE_DIGEST, &message_digest),
        ]);
        Self {
            info: value(SEQUENCE, &[&oid(SPC_INDIRECT_DATA), &content]),
            to_sign: attributes.clone(),
            attributes: Some(attributes),
        }
    }

    /// Makes the content of a message about `bytes`, which its reader has from elsewhere.
    pub fn detached(bytes: Vec<u8>) -> Self {
        Self {
            info: value(SEQUENCE, &[&oid(DATA)]),
            attributes: None,
            to_sign: bytes,
        }
    }

    /// Returns what the signer signs.
    pub fn to_sign(&self) -> &[u8] {
        &self.to_sign
    }

    /// Has `signer` sign it; returns the DER of SignedData.
    ///
    /// # Errors
    /// Those of the signer.
    pub fn sign(&self, signer: &dyn Signer) -> Result<Vec<u8>, SignError> {
        let signature = signer.sign(&self.to_sign)?;
        Ok(self.signed(signer.certificate(), &signature))
    }

    /// Returns the DER of SignedData with `signature`, which is one of `certificate`'s key.
    pub fn signed(&self, certificate: &Certificate, signature: &[u8]) -> Vec<u8> {
        let (issuer, serial) = certificate.issuer_and_serial();
        let algorithm = match certificate.public() {
            PublicKey::Rsa(_) => value(SEQUENCE, &[&oid(RSA), &value(NULL, &[])]),
            PublicKey::P256(_) | PublicKey::P384(_) => value(SEQUENCE, &[&oid(ECDSA_WITH_SHA256)]),
        };
        // In the message the set of attributes has a tag of its own (RFC 2315, 9.2).
        let attributes = self.attributes.as_deref().and_then(der::content);
        let attributes = attributes
            .map(|content| value(CONTEXT_0, &[content]))
            .unwrap_or_default();
        let signer_info = value(
            SEQUENCE,
            &[
                &der::small_integer(1),
                &value(SEQUENCE, &[issuer, serial]),
                &sha256(),
                &attributes,
                &algorithm,
                &value(OCTET_STRING, &[signature]),
            ],
        );
        value(
            SEQUENCE,
            &[
                &der::small_integer(1),
                &der::set(vec![sha256()]),
                &self.info,
                &value(CONTEXT_0, &[certificate.der()]),
                &der::set(vec![signer_info]),
            ],
        )
    }

    /// Returns the length, in bytes, of the longest message that [`wrapped`] makes with a key like that of `certificate`.
    pub fn longest(&self, certificate: &Certificate) -> usize {
        let signature = vec![0; certificate.signature_bytes_max()];
        wrapped(&self.signed(certificate, &signature)).len()
    }
}

/// Returns the DER of ContentInfo around that of SignedData.
pub fn wrapped(signed_data: &[u8]) -> Vec<u8> {
    value(SEQUENCE, &[&oid(SIGNED_DATA), &value(CONTEXT_0, &[signed_data])])
}

/// Encodes the algorithm identifier of SHA-256.
fn sha256() -> Vec<u8> {
    value(SEQUENCE, &[&oid(SHA256), &value(NULL, &[])])
}
