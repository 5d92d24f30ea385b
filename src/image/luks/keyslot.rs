//! The key slot: the volume key, encrypted with a key that is made of the passphrase, and spread over many sectors.

use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

use super::xts::Xts;
use super::{KEY_BYTES, Secret};
use crate::package::Sha256;

/// Memory of the passphrase's function in KiB: small devices open the image too.
pub(super) const MEMORY_KIB: u32 = 64 << 10;
/// Its passes.
pub(super) const PASSES: u32 = 4;
/// Its lanes.
pub(super) const LANES: u32 = 1;
/// The number of stripes over which a key is spread ("LUKS1 On-Disk Format Specification" 1.2.3, 2.4).
pub(super) const STRIPES: usize = 4000;
/// The sectors by which key slots are encrypted, in bytes.
const SECTOR_BYTES: usize = 512;
const DIGEST_BYTES: usize = 32;

/// A key slot.
pub(super) struct Slot {
    /// The salt of the passphrase's function.
    pub(super) salt: Vec<u8>,
    /// The encrypted stripes.
    pub(super) area: Vec<u8>,
    /// The salt of the digest of the volume key, and the digest.
    pub(super) digest: (Vec<u8>, Vec<u8>),
}

/// The number of rounds of the digest of the volume key, which has full entropy.
pub(super) const DIGEST_ROUNDS: u32 = 1000;

impl Slot {
    /// Makes the slot of `volume_key` that `passphrase` opens.
    pub(super) fn make(volume_key: &[u8], passphrase: &[u8], secret: &Secret) -> Self {
        let salt = secret.draw("slot salt", DIGEST_BYTES).to_vec();
        let mut slot_key = Zeroizing::new([0; KEY_BYTES]);
        let parameters = Params::new(MEMORY_KIB, PASSES, LANES, Some(KEY_BYTES)).unwrap_or_default();
        let function = Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters);
        // Salt, key and passphrase have lengths that the function takes.
        if let Err(error) = function.hash_password_into(passphrase, &salt, &mut slot_key[..]) {
            tracing::error!(%error, "the passphrase cannot be used");
        }
        let mut area = stripes(volume_key, secret).to_vec();
        let cipher = Xts::new(&slot_key[..]);
        for (sector, unit) in (0..).zip(area.chunks_mut(SECTOR_BYTES)) {
            cipher.encrypt(sector, unit);
        }
        let digest_salt = secret.draw("digest salt", DIGEST_BYTES).to_vec();
        let mut digest = vec![0; DIGEST_BYTES];
        pbkdf2::pbkdf2_hmac::<sha2::Sha256>(volume_key, &digest_salt, DIGEST_ROUNDS, &mut digest);
        Self {
            salt,
            area,
            digest: (digest_salt, digest),
        }
    }
}

/// Spreads `key` over the stripes: all of them are needed to get it back.
fn stripes(key: &[u8], secret: &Secret) -> Zeroizing<Vec<u8>> {
    let mut stripes = secret.draw("stripes", key.len() * STRIPES);
    let mut state = Zeroizing::new(vec![0; key.len()]);
    let last = key.len() * (STRIPES - 1);
    for stripe in stripes[..last].chunks(key.len()) {
        state.iter_mut().zip(stripe).for_each(|(state, byte)| *state ^= byte);
        diffuse(&mut state);
    }
    for ((place, state), byte) in stripes[last..].iter_mut().zip(state.iter()).zip(key) {
        *place = state ^ byte;
    }
    stripes
}

/// Makes each bit of a stripe depend on many ("LUKS1 On-Disk Format Specification", 2.4, function H1).
fn diffuse(state: &mut [u8]) {
    for (number, block) in (0_u32..).zip(state.chunks_mut(DIGEST_BYTES)) {
        let hashed = Sha256::of(Zeroizing::new([&number.to_be_bytes(), &block[..]].concat()));
        block.copy_from_slice(&hashed.0[..block.len()]);
    }
}
