//! Signatures of EFI programs (Microsoft, "Windows Authenticode Portable Executable Signature Format"; "PE Format": the
//! attribute certificate table).
//!
//! The table lies behind all else. What is hashed leaves out the checksum, the table and the entry that names it, so
//! signing does not change the digest, and a program can have several signatures.

use std::io::{self, Read};
use std::sync::Arc;

use sha2::Digest as _;

use super::pe::{self, PeError};
use crate::image::content::{Computed, Source};
use crate::package::Sha256;
use crate::sign::message::{Content, wrapped};
use crate::sign::{Certificate, SignError, Signer};

/// Entries of the table, and the table itself, begin at multiples of this number of bytes.
const ALIGNMENT: u64 = 8;
/// The length of an entry's header, `WIN_CERTIFICATE`.
const HEADER_BYTES: usize = 8;
/// `WIN_CERT_REVISION_2_0` and `WIN_CERT_TYPE_PKCS_SIGNED_DATA`.
const KIND: [u8; 4] = [0x00, 0x02, 0x02, 0x00];
/// The largest program that is read into memory, in bytes; others are chains whose head is there already.
const PROGRAM_LIMIT_BYTES: u64 = 256 << 20;

/// The reason why a program was not signed.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticodeError {
    /// It is not a usable EFI program.
    #[error(transparent)]
    Program(#[from] PeError),
    /// Its bytes cannot be read.
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    /// The signer failed.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// A program whose headers have room for one more signature; the signature itself is missing.
#[derive(Debug, Clone)]
pub struct Unsigned {
    /// All but the new entry of the table: headers, sections, padding, earlier signatures.
    program: Source,
    places: pe::SignaturePlaces,
    /// The start of the table: the end of what is hashed.
    table: u64,
}

impl Unsigned {
    /// Prepares `program` for a signature whose entry has `entry_bytes`.
    fn new(program: &Source, entry_bytes: u64) -> Result<Self, AuthenticodeError> {
        let mut parts = match program {
            Source::Chain(parts) => parts.clone(),
            other => vec![other.clone()],
        };
        let head = parts.first_mut().ok_or(PeError::Invalid("empty"))?;
        let mut bytes = in_memory(head)?;
        let size = program.size_bytes();
        let places = pe::signature_places(&bytes)?;
        let (table, before) = match places.table {
            Some((start, length)) if start + length == size && start % ALIGNMENT == 0 => (start, length),
            Some(_) => return Err(PeError::Invalid("something lies behind its signatures").into()),
            None => (size.next_multiple_of(ALIGNMENT), 0),
        };
        pe::set_signatures(&mut bytes, &places, (table, before + entry_bytes))?;
        *head = Source::Bytes(bytes);
        if before == 0 {
            parts.push(Source::Zeros(table - size));
        }
        Ok(Self {
            program: Source::Chain(parts),
            places,
            table,
        })
    }

    /// Computes the Authenticode digest.
    fn digest(&self) -> io::Result<Sha256> {
        let mut reader = self.program.reader().take(self.table);
        let mut hasher = sha2::Sha256::new();
        let mut at = 0;
        for (left_out, length) in self.places.left_out() {
            hash(&mut hasher, &mut reader, left_out - at)?;
            io::copy(&mut (&mut reader).take(length), &mut io::sink())?;
            at = left_out + length;
        }
        hash(&mut hasher, &mut reader, self.table - at)?;
        Ok(Sha256(hasher.finalize().into()))
    }
}

/// Hashes exactly `length` bytes of `reader`.
fn hash(hasher: &mut sha2::Sha256, reader: &mut impl Read, length: u64) -> io::Result<()> {
    let mut buffer = vec![0; 256 << 10];
    let mut left = length;
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        reader.read_exact(&mut buffer[..wanted])?;
        hasher.update(&buffer[..wanted]);
        left -= wanted as u64;
    }
    Ok(())
}

/// Returns the bytes of the part of a program that has its headers.
fn in_memory(head: &Source) -> Result<Vec<u8>, AuthenticodeError> {
    match head {
        Source::Bytes(bytes) => Ok(bytes.clone()),
        other if other.size_bytes() > PROGRAM_LIMIT_BYTES => Err(PeError::TooLarge.into()),
        other => {
            let mut bytes = Vec::new();
            other.reader().read_to_end(&mut bytes)?;
            Ok(bytes)
        }
    }
}

/// Returns the length of the table's entry for a signature of `certificate`'s key: that of the longest one, so that it is
/// known before there is a signature.
fn entry_bytes(certificate: &Certificate) -> u64 {
    let longest = Content::of_program(&Sha256([0; 32])).longest(certificate);
    ((HEADER_BYTES + longest) as u64).next_multiple_of(ALIGNMENT)
}

/// Makes the table's entry of a message, filled up with zeros to `entry_bytes`.
fn entry(message: &[u8], entry_bytes: u64) -> Vec<u8> {
    // An entry has a few thousand bytes.
    let mut entry = (entry_bytes as u32).to_le_bytes().to_vec();
    entry.extend(KIND);
    entry.extend(message);
    entry.resize(entry_bytes as usize, 0);
    entry
}

/// Returns `program` with a signature by `signer` behind those that it has. If bytes of it are promised, it is signed when
/// the result is read; else at once.
///
/// # Errors
/// [`AuthenticodeError`].
pub fn signed(program: &Source, signer: &Arc<dyn Signer>) -> Result<Source, AuthenticodeError> {
    let length = entry_bytes(signer.certificate());
    let unsigned = Unsigned::new(program, length)?;
    let mut parts = vec![unsigned.program.clone()];
    parts.push(match program.is_promised() {
        false => Source::Bytes(entry(&sign(&unsigned, signer.as_ref())?, length)),
        true => {
            let signer = Arc::clone(signer);
            Source::Computed(Computed::new(length, move || {
                let message = sign(&unsigned, signer.as_ref()).map_err(io::Error::other)?;
                Ok(entry(&message, length))
            }))
        }
    });
    Ok(Source::Chain(parts))
}

fn sign(program: &Unsigned, signer: &dyn Signer) -> Result<Vec<u8>, AuthenticodeError> {
    let content = Content::of_program(&program.digest()?);
    Ok(wrapped(&content.sign(signer)?))
}

/// Returns what a key signs for `program`: the bytes whose SHA-256 digest is signed.
///
/// # Errors
/// [`AuthenticodeError`] if it is not a usable EFI program.
pub fn to_sign(program: &Source) -> Result<Vec<u8>, AuthenticodeError> {
    // The digest does not depend on the length of the new entry.
    let digest = Unsigned::new(program, ALIGNMENT)?.digest()?;
    Ok(Content::of_program(&digest).to_sign().to_owned())
}

/// Returns `program` with `signature`, which the key of `certificate` has made of what [`to_sign`] gave.
///
/// # Errors
/// [`AuthenticodeError`] if it is not a usable EFI program, or the signature is not one of this key for it.
pub fn attach(program: &Source, certificate: &Certificate, signature: &[u8]) -> Result<Source, AuthenticodeError> {
    let length = entry_bytes(certificate);
    let unsigned = Unsigned::new(program, length)?;
    let content = Content::of_program(&unsigned.digest()?);
    certificate.verify(content.to_sign(), signature)?;
    let message = wrapped(&content.signed(certificate, signature));
    Ok(Source::Chain(vec![
        unsigned.program,
        Source::Bytes(entry(&message, length)),
    ]))
}
