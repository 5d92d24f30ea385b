//! AES-256 in XTS mode (IEEE 1619-2018), as the kernel's `aes-xts-plain64` has it: the tweak is the number of the sector
//! of 512 bytes at which a unit begins, little-endian.

use std::fmt;

use aes::Aes256;
use aes::cipher::generic_array::GenericArray;
use aes::cipher::{BlockDecrypt as _, BlockEncrypt as _, KeyInit as _};

use crate::package::Sha256;

/// The bytes of a block of the cipher.
const BLOCK_BYTES: usize = 16;
/// The number of tweaks that are made at once.
const BATCH: usize = 64;

/// The cipher of one key.
#[derive(Clone)]
pub struct Xts {
    data: Aes256,
    tweak: Aes256,
}

impl fmt::Debug for Xts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Xts")
    }
}

/// The direction of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Encrypt,
    Decrypt,
}

impl Xts {
    /// Makes the cipher of `key`, 64 bytes; missing ones are zero.
    pub fn new(key: &[u8]) -> Self {
        let half = |at: usize| {
            let mut half = GenericArray::default();
            let given = key.get(at..).unwrap_or_default();
            half.iter_mut().zip(given).for_each(|(place, byte)| *place = *byte);
            half
        };
        Self {
            data: Aes256::new(&half(0)),
            tweak: Aes256::new(&half(32)),
        }
    }

    /// Encrypts `unit`, whole blocks, which begins at the sector of 512 bytes with this number.
    pub fn encrypt(&self, sector: u64, unit: &mut [u8]) {
        self.apply(sector, unit, Direction::Encrypt);
    }

    /// Decrypts `unit` as [`Self::encrypt`] encrypts.
    pub fn decrypt(&self, sector: u64, unit: &mut [u8]) {
        self.apply(sector, unit, Direction::Decrypt);
    }

    /// Returns a digest of `digest` and the key, from which nobody learns the key.
    pub fn mark(&self, digest: &Sha256) -> Sha256 {
        let mut bytes = digest.0;
        self.encrypt(0, &mut bytes);
        Sha256::of(bytes)
    }

    fn apply(&self, sector: u64, unit: &mut [u8], direction: Direction) {
        let mut first = GenericArray::from(u128::from(sector).to_le_bytes());
        self.tweak.encrypt_block(&mut first);
        let mut tweak = u128::from_le_bytes(first.into());
        let mut blocks = [GenericArray::default(); BATCH];
        for batch in unit.chunks_mut(BATCH * BLOCK_BYTES) {
            let mut tweaks = [0; BATCH];
            let count = batch.len() / BLOCK_BYTES;
            for (place, bytes) in batch.chunks_exact(BLOCK_BYTES).enumerate() {
                tweaks[place] = tweak;
                blocks[place] = mixed(bytes, tweak);
                tweak = doubled(tweak);
            }
            match direction {
                Direction::Encrypt => self.data.encrypt_blocks(&mut blocks[..count]),
                Direction::Decrypt => self.data.decrypt_blocks(&mut blocks[..count]),
            }
            for ((bytes, block), tweak) in batch.chunks_exact_mut(BLOCK_BYTES).zip(&blocks).zip(tweaks) {
                bytes.copy_from_slice(&mixed(block, tweak));
            }
        }
    }
}

/// Returns the block `bytes` with `tweak` added.
fn mixed(bytes: &[u8], tweak: u128) -> GenericArray<u8, aes::cipher::consts::U16> {
    let mut block = [0; BLOCK_BYTES];
    block.copy_from_slice(bytes);
    (u128::from_le_bytes(block) ^ tweak).to_le_bytes().into()
}

/// Multiplies by x in the field of the tweaks.
fn doubled(tweak: u128) -> u128 {
    let carry = if tweak >> 127 == 1 { 0x87 } else { 0 };
    tweak << 1 ^ carry
}

#[cfg(test)]
mod tests {
    use super::*;

    /// IEEE 1619-2018, annex B, vector 10: AES-256, data unit 0xff, 512 bytes.
    #[test]
    fn the_vector_of_the_standard() {
        let key = hex::decode(
            "27182818284590452353602874713526624977572470936999595749669676273141592653589793238462643383279502884197169399375105820974944592",
        )
        .unwrap();
        let plain: Vec<u8> = (0..512_usize).map(|at| at as u8).collect();
        let mut unit = plain.clone();
        let xts = Xts::new(&key);
        xts.encrypt(0xff, &mut unit);
        assert_eq!(hex::encode(&unit[..16]), "1c3b3a102f770386e4836c99e370cf9b");
        assert_eq!(hex::encode(&unit[496..]), "c4f36ffda9fcea70b9c6e693e148c151");
        xts.decrypt(0xff, &mut unit);
        assert_eq!(unit, plain);
    }
}
