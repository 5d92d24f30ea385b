//! Encrypted partitions: LUKS2 ("LUKS2 On-Disk Format Specification" 1.1.4) with AES-256 in XTS mode, made in process.
//!
//! A container is a header, a key slot, and a segment whose sectors are encrypted one by one. Contents write to the
//! segment as to any [`super::region::Region`]; a sector that nothing was written to stays a hole, which the running
//! system reads as noise. So only file systems that do not rely on zeros can lie here: ext4.

mod header;
mod keyslot;
pub mod xts;

use std::fmt;

use uuid::Uuid;
use zeroize::Zeroizing;

use crate::package::Sha256;
pub use header::SEGMENT_OFFSET_BYTES;
use xts::Xts;

/// The bytes of the volume key: two keys of AES-256.
pub(super) const KEY_BYTES: usize = 64;
/// The unit of encryption in bytes.
pub const SECTOR_BYTES: u64 = 4096;

/// Bytes that nobody can guess who does not have the seed, drawn by labels.
#[derive(Clone)]
pub struct Secret(Zeroizing<[u8; 32]>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// Makes it of `seed`, of any length, for the partition with this identifier.
    pub fn new(seed: &[u8], partition: Uuid) -> Self {
        let digest = Sha256::of(Zeroizing::new(
            [b"oic luks2 ", partition.as_bytes().as_slice(), seed].concat(),
        ));
        Self(Zeroizing::new(digest.0))
    }

    /// Returns `length` bytes for `label`: SHA-256 in counter mode (NIST SP 800-108, 4.1).
    fn draw(&self, label: &str, length: usize) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(length + 32));
        for counter in 0_u32.. {
            if bytes.len() >= length {
                break;
            }
            let input = Zeroizing::new([&counter.to_be_bytes(), label.as_bytes(), &[0], &self.0[..]].concat());
            bytes.extend(Sha256::of(&input).0);
        }
        bytes.truncate(length);
        bytes
    }
}

/// The keys of an encrypted partition. Nothing of it is ever shown.
#[derive(Clone)]
pub struct Encryption {
    /// UUID of the container.
    uuid: Uuid,
    passphrase: Zeroizing<Vec<u8>>,
    secret: Secret,
}

impl fmt::Debug for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encryption")
            .field("uuid", &self.uuid)
            .finish_non_exhaustive()
    }
}

impl Encryption {
    /// Encrypts with a volume key drawn from `secret`, which `passphrase` opens. `uuid` is the container's.
    pub fn new(uuid: Uuid, passphrase: &[u8], secret: Secret) -> Self {
        Self {
            uuid,
            passphrase: Zeroizing::new(passphrase.to_owned()),
            secret,
        }
    }

    /// Returns the cipher of the segment.
    pub fn cipher(&self) -> Xts {
        Xts::new(&self.volume_key())
    }

    fn volume_key(&self) -> Zeroizing<Vec<u8>> {
        self.secret.draw("volume key", KEY_BYTES)
    }

    /// Returns what lies before the segment: both headers and the key slot, each with its place in the partition in bytes.
    pub fn head(&self) -> Vec<(u64, Vec<u8>)> {
        let volume_key = self.volume_key();
        let slot = keyslot::Slot::make(&volume_key, &self.passphrase, &self.secret);
        let mut pieces = header::headers(self.uuid, &slot, &self.secret).to_vec();
        pieces.push((header::SLOT_OFFSET_BYTES, slot.area));
        pieces
    }
}

#[cfg(test)]
mod tests;
