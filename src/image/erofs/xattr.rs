//! Extended attributes: those that several files have lie in one place, the others behind their inode
//! (`Documentation/filesystems/erofs.rst`, "Extended attributes"). An ACL has the form of getxattr(2).

use std::collections::BTreeMap;

use zerocopy::IntoBytes as _;
use zerocopy::little_endian::{U16, U32};

use super::disk::{AttributeEntry, AttributesHeader, PREFIXES};
use crate::image::tree::{Node, Tree};

/// The unit in bytes in which attributes and their places are counted.
const UNIT_BYTES: usize = 4;
/// The most attributes of a file that lie in the common place.
const SHARED_MAX: usize = 255;
/// The most bytes of a file's attributes that an inode can count.
const INLINE_MAX: usize = size_of::<AttributesHeader>() + (u16::MAX as usize - 1) * UNIT_BYTES;

/// An attribute as it is kept: the number of its name space, the rest of its name, its value.
type Attribute<'a> = (u8, &'a [u8], &'a [u8]);

/// The attributes that several files have.
#[derive(Debug)]
pub(super) struct Shared<'a> {
    /// The place of each, in units from the start of [`Self::bytes`].
    places: BTreeMap<Attribute<'a>, u32>,
    /// All of them, one after the other.
    pub(super) bytes: Vec<u8>,
}

impl<'a> Shared<'a> {
    /// Finds them in `tree`.
    pub(super) fn of(tree: &'a Tree) -> Self {
        let mut counts: BTreeMap<Attribute<'a>, u32> = BTreeMap::new();
        for attribute in tree.nodes().iter().flat_map(attributes).flatten() {
            *counts.entry(attribute).or_default() += 1;
        }
        let mut shared = Self {
            places: BTreeMap::new(),
            bytes: Vec::new(),
        };
        for (attribute, _) in counts.into_iter().filter(|(_, count)| *count > 1) {
            let place = (shared.bytes.len() / UNIT_BYTES) as u32;
            shared.places.insert(attribute, place);
            encode(&mut shared.bytes, attribute);
        }
        shared
    }

    /// Makes the bytes between the inode of `node` and its data; none if it has no attributes. Places of shared attributes
    /// count from the start of the area for them.
    ///
    /// # Errors
    /// The reason why the attributes cannot be kept, in words.
    pub(super) fn behind_inode(&self, node: &'a Node) -> Result<Vec<u8>, String> {
        let (mut shared, mut own) = (Vec::new(), Vec::new());
        for attribute in attributes(node) {
            let attribute = attribute?;
            match self.places.get(&attribute) {
                Some(place) if shared.len() < SHARED_MAX => shared.push(U32::new(*place)),
                _ => encode(&mut own, attribute),
            }
        }
        if shared.is_empty() && own.is_empty() {
            return Ok(Vec::new());
        }
        let header = AttributesHeader {
            name_filter: U32::ZERO,
            shared_count: shared.len() as u8,
            unused: [0; 7],
        };
        let bytes = [header.as_bytes(), shared.as_bytes(), &own].concat();
        match bytes.len() > INLINE_MAX {
            true => Err("its extended attributes are larger than 256 KiB".to_owned()),
            false => Ok(bytes),
        }
    }
}

/// Returns the number of units that an inode counts for attributes of `bytes`.
pub(super) fn units(bytes: &[u8]) -> u16 {
    let behind_header = bytes.len().saturating_sub(size_of::<AttributesHeader>());
    let units = behind_header / UNIT_BYTES + 1;
    if bytes.is_empty() { 0 } else { units as u16 }
}

/// Returns the attributes of `node`, each one as it is kept or the reason why it cannot be.
fn attributes(node: &Node) -> impl Iterator<Item = Result<Attribute<'_>, String>> {
    node.xattrs.iter().map(|(name, value)| {
        let name = name.as_encoded_bytes();
        let refused = |reason: &str| format!("{reason} its extended attribute {:?}", String::from_utf8_lossy(name));
        let (rest, index) = PREFIXES
            .iter()
            .find_map(|(prefix, index)| Some((name.strip_prefix(*prefix)?, *index)))
            .ok_or_else(|| refused("erofs has no name space for"))?;
        let is_acl = matches!(index, 2 | 3);
        if is_acl != rest.is_empty() || rest.len() > 255 {
            return Err(refused("erofs has no place for the name of"));
        }
        if value.len() > usize::from(u16::MAX) {
            return Err(refused("erofs has no place for the value of"));
        }
        Ok((index, rest, value.as_slice()))
    })
}

/// Appends `attribute` to `bytes`, filled up to a unit.
fn encode(bytes: &mut Vec<u8>, (index, name, value): Attribute<'_>) {
    let entry = AttributeEntry {
        name_len: name.len() as u8,
        name_index: index,
        value_size: U16::new(value.len() as u16),
    };
    bytes.extend_from_slice(entry.as_bytes());
    bytes.extend_from_slice(name);
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(UNIT_BYTES), 0);
}
