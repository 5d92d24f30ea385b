//! The record beside an image: a header, the contents and their places, and a checksum. Little-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | magic `OICDRAWN` |
//! | 4 | version, 3 |
//! | 48 | inode, size, and times of the image's file: modification and change, seconds and nanoseconds |
//! | 8, 8, 8 | numbers of ranges, of known contents, and of units of the digest |
//! | 16 each | a range: start, end |
//! | 56 each | a known content: place, offset in its file, length, SHA-256 of the file |
//! | 40 each | a unit of the digest ([`DigestTree`]): number, SHA-256 |
//! | 4 | CRC-32 of all before |
//!
//! Anything else is not a record; the next image is then written as if there were no record.

use super::Identity;
use crate::image::canvas::{Drawn, Known};
use crate::image::digest::DigestTree;
use crate::package::Sha256;

const MAGIC: &[u8; 8] = b"OICDRAWN";
const VERSION: u32 = 3;

/// The contents of a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Attributes of the image's file.
    pub(super) identity: Identity,
    /// Contents of the image and their places.
    pub(super) drawn: Drawn,
    /// The tree of the image's digest.
    pub(super) tree: DigestTree,
}

/// Encodes a record.
pub(super) fn write(identity: &Identity, drawn: &Drawn, tree: &DigestTree) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend(identity.inode.to_le_bytes());
    bytes.extend(identity.size_bytes.to_le_bytes());
    for (seconds, nanoseconds) in [identity.modified, identity.changed] {
        bytes.extend(seconds.to_le_bytes());
        bytes.extend(nanoseconds.to_le_bytes());
    }
    bytes.extend((drawn.ranges.len() as u64).to_le_bytes());
    bytes.extend((drawn.known.len() as u64).to_le_bytes());
    bytes.extend((tree.units().len() as u64).to_le_bytes());
    for (start, end) in &drawn.ranges {
        bytes.extend(start.to_le_bytes());
        bytes.extend(end.to_le_bytes());
    }
    let mut known: Vec<_> = drawn.known.iter().collect();
    known.sort_unstable_by_key(|(place, _)| **place);
    for (place, known) in known {
        for number in [*place, known.offset_bytes, known.length_bytes] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(known.digest.0);
    }
    for (number, digest) in tree.units() {
        bytes.extend(number.to_le_bytes());
        bytes.extend(digest);
    }
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

/// Decodes a record; `None` if `bytes` is damaged, of another version, or inconsistent.
pub(super) fn read(bytes: &[u8]) -> Option<Record> {
    let (covered, crc) = bytes.split_last_chunk()?;
    if crc32fast::hash(covered) != u32::from_le_bytes(*crc) {
        return None;
    }
    let mut fields = Fields(covered);
    if fields.array()? != *MAGIC || u32::from_le_bytes(fields.array()?) != VERSION {
        return None;
    }
    let identity = Identity {
        inode: fields.number()?,
        size_bytes: fields.number()?,
        modified: (fields.signed()?, fields.signed()?),
        changed: (fields.signed()?, fields.signed()?),
    };
    let (ranges, known, units) = (fields.number()?, fields.number()?, fields.number()?);
    let mut drawn = Drawn::default();
    let mut behind = 0;
    for _ in 0..ranges {
        let (start, end) = (fields.number()?, fields.number()?);
        if start < behind || end <= start || end > identity.size_bytes {
            return None;
        }
        behind = end;
        drawn.ranges.push((start, end));
    }
    for _ in 0..known {
        let place = fields.number()?;
        let known = Known {
            offset_bytes: fields.number()?,
            length_bytes: fields.number()?,
            digest: Sha256(fields.array()?),
        };
        drawn.known.insert(place, known);
    }
    let (rest, tail) = fields.0.as_chunks::<40>();
    if rest.len() as u64 != units || !tail.is_empty() {
        return None;
    }
    let units = rest.iter().filter_map(|unit| {
        let (number, digest) = unit.split_first_chunk()?;
        Some((u64::from_le_bytes(*number), digest.try_into().ok()?))
    });
    let tree = DigestTree::of_units(identity.size_bytes, units)?;
    Some(Record { identity, drawn, tree })
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn signed(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_written_is_read() {
        let identity = Identity {
            inode: 7,
            size_bytes: 1 << 20,
            modified: (-1, 5),
            changed: (3, 4),
        };
        let known = Known {
            digest: Sha256::of("x"),
            offset_bytes: 1,
            length_bytes: 2,
        };
        let drawn = Drawn {
            ranges: vec![(0, 512), (4096, 8192)],
            known: [(4096, known)].into(),
        };
        let tree = DigestTree::of_units(1 << 20, [(0, [1; 32]), (1, [2; 32])].into_iter()).unwrap();
        let bytes = write(&identity, &drawn, &tree);
        let record = read(&bytes).unwrap();
        assert_eq!(record, Record { identity, drawn, tree });
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 4;
            assert_eq!(read(&damaged), None);
            assert_eq!(read(&bytes[..at]), None);
        }
    }
}
