//! Identifiers that are the same in every build of one lock.

use sha2::Digest as _;
use uuid::Uuid;

use crate::package::Sha256;

/// The digest over template and lock from which every identifier of an image is derived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageSeed(pub Sha256);

impl ImageSeed {
    /// Returns the identifier for `purpose`: a version 8 UUID (RFC 9562, section 5.8) from SHA-256 over seed and
    /// purpose. Different purposes differ.
    pub fn uuid(&self, purpose: &str) -> Uuid {
        let mut hasher = sha2::Sha256::new();
        hasher.update(self.0.0);
        hasher.update(purpose.as_bytes());
        let digest: [u8; 32] = hasher.finalize().into();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        Uuid::new_v8(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_depend_on_seed_and_purpose_alone() {
        let (a, b) = (ImageSeed(Sha256::of("a")), ImageSeed(Sha256::of("b")));
        assert_eq!(a.uuid("disk"), a.uuid("disk"));
        assert_ne!(a.uuid("disk"), a.uuid("partition 1"));
        assert_ne!(a.uuid("disk"), b.uuid("disk"));
        assert_eq!(a.uuid("disk").get_version_num(), 8);
    }
}
