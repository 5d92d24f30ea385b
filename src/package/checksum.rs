//! Digests of the SHA-2 family, for where whoever publishes something chooses the algorithm.

use std::fmt;
use std::str::FromStr;

use sha2::digest::DynDigest;

use super::Sha256;

/// A hash function of FIPS 180-4 that nobody has broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-224
    Sha224,
    /// SHA-256
    Sha256,
    /// SHA-384
    Sha384,
    /// SHA-512
    Sha512,
}

impl Algorithm {
    const ALL: [Self; 4] = [Self::Sha224, Self::Sha256, Self::Sha384, Self::Sha512];

    /// The one that createrepo_c(8) calls `name`.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// `sha256` and its like.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha224 => "sha224",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Hexadecimal digits of its digests.
    fn digits(self) -> usize {
        match self {
            Self::Sha224 => 56,
            Self::Sha256 => 64,
            Self::Sha384 => 96,
            Self::Sha512 => 128,
        }
    }

    /// Starts hashing.
    pub fn hasher(self) -> Hasher {
        let state: Box<dyn DynDigest + Send> = match self {
            Self::Sha224 => Box::new(sha2::Sha224::default()),
            Self::Sha256 => Box::new(sha2::Sha256::default()),
            Self::Sha384 => Box::new(sha2::Sha384::default()),
            Self::Sha512 => Box::new(sha2::Sha512::default()),
        };
        Hasher { algorithm: self, state }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SHA-{}", self.name().trim_start_matches("sha"))
    }
}

/// Hashes what it is given.
#[allow(missing_debug_implementations)] // the states have none
pub struct Hasher {
    algorithm: Algorithm,
    state: Box<dyn DynDigest + Send>,
}

impl Hasher {
    /// Takes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
    }

    /// The digest of all that was given.
    pub fn finish(self) -> Checksum {
        Checksum {
            algorithm: self.algorithm,
            hex: hex::encode(self.state.finalize()).into(),
        }
    }
}

/// A digest, written as lower-case hexadecimal digits; their number says of which algorithm.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Checksum {
    algorithm: Algorithm,
    hex: Box<str>,
}

/// The text is no digest.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0:?} is no digest of SHA-224, SHA-256, SHA-384 or SHA-512")]
pub struct BadChecksum(pub String);

impl Checksum {
    /// Its algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether it is the digest of `bytes`.
    pub fn is_of(&self, bytes: &[u8]) -> bool {
        let mut hasher = self.algorithm.hasher();
        hasher.update(bytes);
        hasher.finish() == *self
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex)
    }
}

impl From<Sha256> for Checksum {
    fn from(digest: Sha256) -> Self {
        Self {
            algorithm: Algorithm::Sha256,
            hex: digest.to_string().into(),
        }
    }
}

impl FromStr for Checksum {
    type Err = BadChecksum;

    fn from_str(text: &str) -> Result<Self, BadChecksum> {
        let bad = || BadChecksum(text.chars().take(200).collect());
        let mut known = Algorithm::ALL.into_iter();
        let algorithm = known
            .find(|algorithm| algorithm.digits() == text.len())
            .ok_or_else(bad)?;
        match text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            true => Ok(Self {
                algorithm,
                hex: text.to_ascii_lowercase().into(),
            }),
            false => Err(bad()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of FIPS 180-4's examples ("abc").
    #[test]
    fn known_vectors() {
        for text in [
            "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd\
             454d4423643ce80e2a9ac94fa54ca49f",
        ] {
            let checksum: Checksum = text.parse().unwrap();
            assert!(checksum.is_of(b"abc") && !checksum.is_of(b"abd"), "{text}");
            assert_eq!(checksum.to_string(), text);
            assert_eq!(
                Algorithm::named(checksum.algorithm().name()),
                Some(checksum.algorithm())
            );
        }
        assert_eq!(
            Checksum::from(Sha256::of("abc")),
            Sha256::of("abc").to_string().parse().unwrap()
        );
        assert_eq!(Algorithm::Sha512.to_string(), "SHA-512");
        for bad in ["", "ba78", &"x".repeat(64), &"0".repeat(40)] {
            assert!(bad.parse::<Checksum>().is_err(), "{bad}");
        }
        assert_eq!((Algorithm::named("sha"), Algorithm::named("md5")), (None, None));
    }
}
