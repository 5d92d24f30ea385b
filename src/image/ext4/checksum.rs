//! Metadata checksums: CRC-32C without the inversions at start and end ("Checksums" in the kernel's
//! `Documentation/filesystems/ext4/checksums.rst`).

/// The state from which all checksums of one file system start, or `None` where it has no checksums.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seed(Option<u32>);

impl Seed {
    /// Makes the seed of a file system with this UUID.
    pub(super) fn new(uuid: &[u8; 16], has_checksums: bool) -> Self {
        Self(has_checksums.then(|| raw(!0, uuid)))
    }

    /// Returns the seed for the metadata of inode `number` (of generation 0).
    pub(super) fn of_inode(self, number: u32) -> Self {
        Self(self.0.map(|seed| raw(raw(seed, &number.to_le_bytes()), &[0; 4])))
    }

    /// Says whether the file system has checksums.
    pub(super) fn is_active(self) -> bool {
        self.0.is_some()
    }

    /// Returns the checksum over `parts`, one after the other; `None` without checksums.
    pub(super) fn over(self, parts: &[&[u8]]) -> Option<u32> {
        self.0.map(|seed| parts.iter().fold(seed, |crc, part| raw(crc, part)))
    }
}

/// Continues the CRC-32C `crc` over `bytes`, without the inversions.
pub(super) fn raw(crc: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!crc, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value of CRC-32C (RFC 3720, B.4, is the same polynomial).
    #[test]
    fn known_checksum() {
        assert_eq!(!raw(!0, b"123456789"), 0xe306_9283);
        assert_eq!(Seed::new(&[1; 16], false).of_inode(7).over(&[b"x"]), None);
    }
}
