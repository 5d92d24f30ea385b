//! Digests of the SHA-2 family, for files whose publisher chooses the algorithm.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::digest::DynDigest;

use super::Sha256;

/// A hash function of FIPS 180-4 without known collisions.
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

    /// Returns the algorithm that createrepo_c(8) calls `name`; `None` for any other.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// Returns the name that createrepo_c(8) uses, such as `sha256`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha224 => "sha224",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Returns the name of its field in a Debian repository, such as `SHA256`.
    pub fn field(self) -> &'static str {
        match self {
            Self::Sha224 => "SHA224",
            Self::Sha256 => "SHA256",
            Self::Sha384 => "SHA384",
            Self::Sha512 => "SHA512",
        }
    }

    /// Returns the length of its digests in bytes.
    const fn length_bytes(self) -> usize {
        match self {
            Self::Sha224 => 28,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// Makes a hasher of this algorithm.
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

/// A hash computation in progress.
#[allow(missing_debug_implementations)] // the states have none
pub struct Hasher {
    algorithm: Algorithm,
    state: Box<dyn DynDigest + Send>,
}

impl Hasher {
    /// Adds `bytes` to the hashed data.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
    }

    /// Returns the digest of all bytes added.
    pub fn finish(self) -> Checksum {
        Checksum::new(self.algorithm, &self.state.finalize())
    }
}

/// A digest, written as lower-case hexadecimal digits; their number tells the algorithm.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Checksum {
    algorithm: Algorithm,
    /// The digest; zeros behind its end.
    bytes: [u8; 64],
}

/// The error for a text that is not a digest.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0:?} is no digest of SHA-224, SHA-256, SHA-384 or SHA-512")]
pub struct BadChecksum(pub String);

impl Checksum {
    /// Takes the digest that an implementation of `algorithm` computed.
    fn new(algorithm: Algorithm, digest: &[u8]) -> Self {
        let mut bytes = [0; 64];
        for (place, byte) in bytes.iter_mut().zip(digest) {
            *place = *byte;
        }
        Self { algorithm, bytes }
    }

    /// Parses the hexadecimal digits of a digest of `algorithm`.
    ///
    /// # Errors
    /// If they are no digits, too few or too many.
    pub fn parse(algorithm: Algorithm, digits: &str) -> Result<Self, BadChecksum> {
        let parsed: Self = digits.parse()?;
        match parsed.algorithm == algorithm {
            true => Ok(parsed),
            false => Err(BadChecksum(digits.to_owned())),
        }
    }

    /// Returns its algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the bytes of the digest.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.algorithm.length_bytes()).unwrap_or_default()
    }

    /// Returns whether it is the digest of `bytes`.
    pub fn is_of(&self, bytes: &[u8]) -> bool {
        let mut hasher = self.algorithm.hasher();
        hasher.update(bytes);
        hasher.finish() == *self
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.as_bytes()))
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{self}", self.algorithm.name())
    }
}

impl From<Sha256> for Checksum {
    fn from(digest: Sha256) -> Self {
        Self::new(Algorithm::Sha256, &digest.0)
    }
}

impl From<Checksum> for String {
    fn from(checksum: Checksum) -> Self {
        checksum.to_string()
    }
}

impl TryFrom<String> for Checksum {
    type Error = BadChecksum;

    fn try_from(text: String) -> Result<Self, BadChecksum> {
        text.parse()
    }
}

impl FromStr for Checksum {
    type Err = BadChecksum;

    fn from_str(text: &str) -> Result<Self, BadChecksum> {
        let bad = || BadChecksum(text.chars().take(200).collect());
        let mut known = Algorithm::ALL.into_iter();
        let algorithm = known.find(|algorithm| algorithm.length_bytes() * 2 == text.len());
        let algorithm = algorithm.ok_or_else(bad)?;
        let bytes = hex::decode(text).map_err(|_| bad())?;
        Ok(Self::new(algorithm, &bytes))
    }
}

/// A digest as a field that is named after its algorithm. For `#[serde(flatten, with)]`.
pub(super) mod named {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    use super::{Algorithm, Checksum};

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Named {
        Sha224(String),
        Sha256(String),
        Sha384(String),
        Sha512(String),
    }

    /// Writes the field.
    pub fn serialize<S: Serializer>(checksum: &Checksum, serializer: S) -> Result<S::Ok, S::Error> {
        let name = match checksum.algorithm {
            Algorithm::Sha224 => Named::Sha224,
            Algorithm::Sha256 => Named::Sha256,
            Algorithm::Sha384 => Named::Sha384,
            Algorithm::Sha512 => Named::Sha512,
        };
        name(checksum.to_string()).serialize(serializer)
    }

    /// Reads the field.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Checksum, D::Error> {
        let (algorithm, digits) = match Named::deserialize(deserializer)? {
            Named::Sha224(digits) => (Algorithm::Sha224, digits),
            Named::Sha256(digits) => (Algorithm::Sha256, digits),
            Named::Sha384(digits) => (Algorithm::Sha384, digits),
            Named::Sha512(digits) => (Algorithm::Sha512, digits),
        };
        Checksum::parse(algorithm, &digits).map_err(de::Error::custom)
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
