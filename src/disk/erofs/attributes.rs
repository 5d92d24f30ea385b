//! Extended attributes: those behind an inode, and those that it shares with others.

use zerocopy::FromBytes as _;

use super::super::DiskError;
use super::Erofs;
use super::inode::Inode;
use crate::image::erofs::disk::{AttributeEntry, AttributesHeader, PREFIXES};

const ATTRIBUTES: &str = "the extended attributes of an inode";
const ENTRY_BYTES: usize = size_of::<AttributeEntry>();
/// The bit of an entry's index that says that the prefix of its name is in a table.
const LONG_PREFIX: u8 = 0x80;

/// An attribute: its name and its value.
type Attribute = (Vec<u8>, Vec<u8>);

impl Erofs {
    /// Reads all extended attributes of `inode`.
    pub(super) fn attributes_of(&self, inode: &Inode) -> Result<Vec<Attribute>, DiskError> {
        let length = (inode.end - inode.attributes_at) as usize;
        if length == 0 {
            return Ok(Vec::new());
        }
        let bytes = self.area.bytes(ATTRIBUTES, inode.attributes_at, length)?;
        let header = AttributesHeader::read_from_prefix(&bytes);
        let (header, rest) = header.map_err(|_| self.wrong(inode, "its attributes have no header"))?;
        let (shared, mut own) = rest
            .split_at_checked(usize::from(header.shared_count) * 4)
            .ok_or_else(|| self.wrong(inode, "its attributes are cut short"))?;
        let mut found = Vec::new();
        for id in shared.as_chunks::<4>().0 {
            found.push(self.shared(inode, u32::from_le_bytes(*id))?);
        }
        while own.len() >= ENTRY_BYTES {
            let (attribute, length) = self.attribute_in(inode, own)?;
            found.push(attribute);
            own = own.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(found)
    }

    /// Reads the shared attribute `id`.
    fn shared(&self, inode: &Inode, id: u32) -> Result<Attribute, DiskError> {
        let first = self.offset(self.superblock.xattr_blkaddr.get().into());
        let place = first.saturating_add(u64::from(id) * 4);
        let entry: AttributeEntry = self.area.record(ATTRIBUTES, place)?;
        let length = ENTRY_BYTES + usize::from(entry.name_len) + usize::from(entry.value_size.get());
        let bytes = self.area.bytes(ATTRIBUTES, place, length)?;
        Ok(self.attribute_in(inode, &bytes)?.0)
    }

    /// Reads the attribute at the start of `bytes`; returns it and its length in bytes.
    fn attribute_in(&self, inode: &Inode, bytes: &[u8]) -> Result<(Attribute, usize), DiskError> {
        let short = || self.wrong(inode, "an attribute is cut short");
        let (entry, rest) = AttributeEntry::read_from_prefix(bytes).map_err(|_| short())?;
        if entry.name_index & LONG_PREFIX != 0 {
            let text = "an attribute of the erofs file system has a long prefix, which is not read";
            return Err(DiskError::Unsupported(text.into()));
        }
        let (name, rest) = rest.split_at_checked(entry.name_len.into()).ok_or_else(short)?;
        let value = rest.get(..entry.value_size.get().into()).ok_or_else(short)?;
        let prefix = PREFIXES.iter().find(|(_, index)| *index == entry.name_index);
        let (prefix, _) = prefix.ok_or_else(|| self.wrong(inode, "an attribute has no known prefix"))?;
        let length = ENTRY_BYTES + name.len() + value.len();
        let name = [*prefix, name].concat();
        match name.contains(&0) {
            true => Err(self.wrong(inode, "an attribute has an impossible name")),
            false => Ok(((name, value.to_owned()), length)),
        }
    }
}
