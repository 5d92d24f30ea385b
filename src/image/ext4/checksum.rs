//! Metadata checksums: CRC-32C without the inversions at start and end ("Checksums" in the kernel's
//! `Documentation/filesystems/ext4/checksums.rst`).

/// The state from which all checksums of one file system start, or `None` where it has no checksums.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seed(Option<u32>);

impl Seed {
    /// Makes the seed of a file system with this UUID.
    pub(crate) fn new(uuid: &[u8; 16], has_checksums: bool) -> Self {
        Self(has_checksums.then(|| raw(!0, uuid)))
    }

    /// Makes the seed of a file system that stores it (feature `metadata_csum_seed`).
    pub(crate) fn stored(seed: u32) -> Self {
        Self(Some(seed))
    }

    /// Returns the seed for the metadata of inode `number` of this `generation`.
    pub(crate) fn of_inode(self, number: u32, generation: u32) -> Self {
        let of_number = |seed| raw(seed, &number.to_le_bytes());
        Self(self.0.map(|seed| raw(of_number(seed), &generation.to_le_bytes())))
    }

    /// Says whether the file system has checksums.
    pub(crate) fn is_active(self) -> bool {
        self.0.is_some()
    }

    /// Returns the checksum over `parts`, one after the other; `None` without checksums.
    pub(crate) fn over(self, parts: &[&[u8]]) -> Option<u32> {
        self.0.map(|seed| parts.iter().fold(seed, |crc, part| raw(crc, part)))
    }
}

/// Continues the CRC-32C `crc` over `bytes`, without the inversions.
pub(crate) fn raw(crc: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!crc, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value of CRC-32C (RFC 3720, B.4, is the same polynomial).
    #[test]
    fn known_checksum() {
        assert_eq!(!raw(!0, b"123456789"), 0xe306_9283);
        assert_eq!(Seed::new(&[1; 16], false).of_inode(7, 0).over(&[b"x"]), None);
    }
}
