//! Metadata checksums: CRC-32C without the inversions at start and end ("Checksums" in the kernel's
//! `Documentation/filesystems/ext4/checksums.rst`).

/// The checksum state from which everything in one file system starts, or `None` where it has no checksums.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seed(Option<u32>);

impl Seed {
    /// For a file system with this UUID.
    pub(super) fn new(uuid: &[u8; 16], has_checksums: bool) -> Self {
        Self(has_checksums.then(|| raw(!0, uuid)))
    }

    /// For what belongs to inode `number` (of generation 0).
    pub(super) fn of_inode(self, number: u32) -> Self {
        Self(self.0.map(|seed| raw(raw(seed, &number.to_le_bytes()), &[0; 4])))
    }

    /// Whether there are checksums at all.
    pub(super) fn is_active(self) -> bool {
        self.0.is_some()
    }

    /// The checksum over `parts`, one after the other.
    pub(super) fn over(self, parts: &[&[u8]]) -> Option<u32> {
        self.0.map(|seed| parts.iter().fold(seed, |crc, part| raw(crc, part)))
    }
}

/// CRC-32C continued from `crc`.
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
