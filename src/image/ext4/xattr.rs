//! Extended attributes: in the inode as far as they fit, the others in one block
//! (`Documentation/filesystems/ext4/attributes.rst`). ACLs have a form of their own on disk (`fs/ext4/acl.h` in the
//! kernel; the form of getxattr(2) and setxattr(2) is in `posix_acl_xattr.h`).

use std::cmp::Reverse;

use zerocopy::IntoBytes as _;
use zerocopy::little_endian::{U16, U32};

use super::bytes::{put, put_u32};
use super::checksum::Seed;
use super::disk::{AttributeEntry, INODE_AREA_BYTES};
use super::geometry::BLOCK_BYTES;

pub(crate) const MAGIC: [u8; 4] = 0xea02_0000_u32.to_le_bytes();
pub(crate) const BLOCK_HEADER_BYTES: usize = 32;
const ENTRY_HEADER_BYTES: usize = 16;
/// The end of the entries: four zeros.
const END_BYTES: usize = 4;

/// Name spaces by the number that stands for them. The first two are whole names.
pub(crate) const PREFIXES: [(&[u8], u8); 6] = [
    (b"system.posix_acl_access", 2),
    (b"system.posix_acl_default", 3),
    (b"user.", 1),
    (b"trusted.", 4),
    (b"security.", 6),
    (b"system.", 7),
];

/// The reason why a file's attributes cannot be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The attribute of this name is in no name space of ext4.
    Name(Vec<u8>),
    /// The attribute of this name is not an ACL.
    Acl(Vec<u8>),
    /// The attributes do not fit into an inode and a block.
    TooLarge,
}

/// An attribute as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Attribute {
    index: u8,
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Attribute {
    fn entry_bytes(&self) -> usize {
        ENTRY_HEADER_BYTES + self.name.len().next_multiple_of(4)
    }

    fn value_bytes(&self) -> usize {
        self.value.len().next_multiple_of(4)
    }

    /// Returns the hash that the kernel expects in a block.
    fn hash(&self) -> u32 {
        let name = self
            .name
            .iter()
            .fold(0_u32, |hash, byte| hash.rotate_left(5) ^ u32::from(*byte));
        self.value.chunks(4).fold(name, |hash, chunk| {
            let mut word = [0; 4];
            put(&mut word, 0, chunk);
            hash.rotate_left(16) ^ u32::from_le_bytes(word)
        })
    }
}

/// All attributes of a file, divided.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    /// For the inode, [`INODE_AREA_BYTES`] at most; may be empty.
    pub(super) in_inode: Vec<u8>,
    rest: Vec<Attribute>,
}

impl Attributes {
    /// Divides the attributes `list` (name and value).
    pub(super) fn new<'a>(list: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Result<Self, Refusal> {
        let mut all = list
            .map(|(name, value)| stored(name, value))
            .collect::<Result<Vec<_>, _>>()?;
        // The order in which the kernel searches.
        all.sort_by(|a, b| (a.index, a.name.len(), &a.name).cmp(&(b.index, b.name.len(), &b.name)));
        let mut small: Vec<_> = (0..all.len()).collect();
        small.sort_by_key(|index| Reverse(all[*index].index == 6));
        let mut room = INODE_AREA_BYTES - MAGIC.len() - END_BYTES;
        let mut is_in_inode = vec![false; all.len()];
        for index in small {
            let bytes = all[index].entry_bytes() + all[index].value_bytes();
            if bytes <= room {
                room -= bytes;
                is_in_inode[index] = true;
            }
        }
        let (mut inside, mut rest) = (Vec::new(), Vec::new());
        for (attribute, is_in_inode) in all.into_iter().zip(is_in_inode) {
            if is_in_inode {
                inside.push(attribute)
            } else {
                rest.push(attribute)
            }
        }
        let total: usize = rest.iter().map(|a| a.entry_bytes() + a.value_bytes()).sum();
        if BLOCK_HEADER_BYTES + total + END_BYTES > BLOCK_BYTES as usize {
            return Err(Refusal::TooLarge);
        }
        let mut in_inode = Vec::new();
        if !inside.is_empty() {
            in_inode.resize(INODE_AREA_BYTES, 0);
            put(&mut in_inode, 0, &MAGIC);
            fill(&mut in_inode[MAGIC.len()..], 0, &inside, |_| 0);
        }
        Ok(Self { in_inode, rest })
    }

    /// Says whether some attributes need a block.
    pub(super) fn needs_block(&self) -> bool {
        !self.rest.is_empty()
    }

    /// Makes the block of attributes, which lies at `place`; `seed` is the file system's.
    pub(super) fn block(&self, place: u64, seed: Seed) -> Vec<u8> {
        let mut block = vec![0; BLOCK_BYTES as usize];
        put(&mut block, 0, &MAGIC);
        put_u32(&mut block, 4, 1);
        put_u32(&mut block, 8, 1);
        fill(&mut block, BLOCK_HEADER_BYTES, &self.rest, Attribute::hash);
        let hash = self.rest.iter().fold(0_u32, |hash, a| hash.rotate_left(16) ^ a.hash());
        put_u32(&mut block, 12, hash);
        if let Some(checksum) = seed.over(&[&place.to_le_bytes(), &block]) {
            put_u32(&mut block, 16, checksum);
        }
        block
    }
}

/// Puts the entries into `area` from `start` on, and the values at its end; value offsets count from the start of
/// `area`.
fn fill(area: &mut [u8], start: usize, attributes: &[Attribute], hash: impl Fn(&Attribute) -> u32) {
    let (mut entry, mut value) = (start, area.len());
    for attribute in attributes {
        value -= attribute.value_bytes();
        let place = if attribute.value.is_empty() { 0 } else { value };
        let record = AttributeEntry {
            name_len: attribute.name.len() as u8,
            name_index: attribute.index,
            value_offs: U16::new(place as u16),
            value_inum: U32::ZERO,
            value_size: U32::new(attribute.value.len() as u32),
            hash: U32::new(hash(attribute)),
        };
        put(area, entry, record.as_bytes());
        put(area, entry + ENTRY_HEADER_BYTES, &attribute.name);
        put(area, value, &attribute.value);
        entry += attribute.entry_bytes();
    }
}

fn stored(name: &[u8], value: &[u8]) -> Result<Attribute, Refusal> {
    let refused = || Refusal::Name(name.to_owned());
    let (rest, index) = PREFIXES
        .iter()
        .find_map(|(prefix, index)| Some((name.strip_prefix(*prefix)?, *index)))
        .ok_or_else(refused)?;
    let is_acl = matches!(index, 2 | 3);
    if is_acl != rest.is_empty() || rest.len() > 255 {
        return Err(refused());
    }
    let value = match is_acl {
        true => acl(value).ok_or_else(|| Refusal::Acl(name.to_owned()))?,
        false => value.to_owned(),
    };
    Ok(Attribute {
        index,
        name: rest.to_owned(),
        value,
    })
}

/// Converts an ACL to its form on disk: version 1, with ids only for named users and groups; `None` if it is not an
/// ACL.
fn acl(value: &[u8]) -> Option<Vec<u8>> {
    const USER: u16 = 0x02;
    const GROUP: u16 = 0x08;
    let (version, entries) = value.split_first_chunk()?;
    let (entries, rest) = entries.as_chunks::<8>();
    if u32::from_le_bytes(*version) != 2 || !rest.is_empty() {
        return None;
    }
    let mut disk = 1_u32.to_le_bytes().to_vec();
    for entry in entries {
        let tag = u16::from_le_bytes([entry[0], entry[1]]);
        let bytes = if matches!(tag, USER | GROUP) { 8 } else { 4 };
        disk.extend_from_slice(&entry[..bytes]);
    }
    Some(disk)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(list: &[(&[u8], &[u8])]) -> Result<Attributes, Refusal> {
        Attributes::new(list.iter().copied())
    }

    #[test]
    fn what_does_not_fit_into_the_inode_goes_into_the_block() {
        assert_eq!(of(&[]).unwrap(), Attributes::default());
        let long = vec![7; 60];
        let both = of(&[(b"user.long", &long), (b"security.capability", &[1; 20])]).unwrap();
        assert!(both.needs_block() && both.in_inode[MAGIC.len() + 1] == 6);
        let one = of(&[(b"user.long", &long)]).unwrap();
        assert!(!one.needs_block());
    }

    #[test]
    fn what_ext4_cannot_keep_is_refused() {
        assert_eq!(of(&[(b"odd.name", b"")]), Err(Refusal::Name(b"odd.name".to_vec())));
        assert_eq!(of(&[(b"user.", b"")]), Err(Refusal::Name(b"user.".to_vec())));
        assert_eq!(of(&[(b"user.x", &[0; 4096])]), Err(Refusal::TooLarge));
        let acl = b"system.posix_acl_access";
        assert_eq!(of(&[(acl, b"short")]), Err(Refusal::Acl(acl.to_vec())));
    }
}
