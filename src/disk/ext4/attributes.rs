//! Extended attributes (`Documentation/filesystems/ext4/attributes.rst`): in the inode, in a block, and large values in
//! inodes of their own. ACLs have a form of their own on disk.

use zerocopy::FromBytes;

use super::super::DiskError;
use super::inode::Inode;
use super::{Ext, IS_CHECKED};
use crate::image::ext4::disk::AttributeEntry;
use crate::image::ext4::xattr::{BLOCK_HEADER_BYTES, MAGIC, PREFIXES};
use crate::overlay::layer::FileKind;

const BLOCK: &str = "a block of extended attributes";
const ENTRY_BYTES: usize = size_of::<AttributeEntry>();
/// The longest value, in bytes (`XATTR_SIZE_MAX`).
const VALUE_BYTES_MAX: u32 = 64 << 10;
/// The attribute that holds the rest of contents that are in the inode: `system.data`.
const DATA: (u8, &[u8]) = (7, b"data");
/// The numbers of the two ACLs.
const ACLS: std::ops::RangeInclusive<u8> = 2..=3;
/// The offset of the checksum of a block.
const CHECKSUM_AT: usize = 16;

/// An attribute.
#[derive(Debug)]
struct Attribute {
    /// The number of its name space.
    index: u8,
    name: Vec<u8>,
    value: Value,
}

/// The place of a value.
#[derive(Debug)]
enum Value {
    /// The value itself, as it is on disk.
    Here(Vec<u8>),
    /// The inode that holds it, and its length in bytes.
    Inode(u32, u32),
}

impl Attribute {
    /// Returns the whole name; `None` for a name space that Linux does not show.
    fn full_name(&self) -> Option<Vec<u8>> {
        let (prefix, _) = PREFIXES.iter().find(|(_, index)| *index == self.index)?;
        Some([*prefix, &self.name].concat())
    }

    fn is_data(&self) -> bool {
        (self.index, self.name.as_slice()) == DATA
    }
}

impl Ext {
    /// Returns the names of the attributes of `inode`.
    pub(super) fn attribute_names(&self, inode: &Inode) -> Result<Vec<Vec<u8>>, DiskError> {
        let all = self.all(inode)?;
        let shown = all.iter().filter(|attribute| !attribute.is_data());
        Ok(shown.filter_map(Attribute::full_name).collect())
    }

    /// Returns the value of the attribute `name` of `inode`.
    pub(super) fn attribute(&self, inode: &Inode, name: &[u8]) -> Result<Option<Vec<u8>>, DiskError> {
        let all = self.all(inode)?;
        let mut named = all.into_iter().filter(|attribute| !attribute.is_data());
        let Some(found) = named.find(|attribute| attribute.full_name().is_some_and(|own| own == name)) else {
            return Ok(None);
        };
        let is_acl = ACLS.contains(&found.index);
        let value = self.value(inode, found.value)?;
        match is_acl {
            true => acl(&value)
                .map(Some)
                .ok_or_else(|| self.wrong(inode, "an access control list is malformed")),
            false => Ok(Some(value)),
        }
    }

    /// Returns the part of contents that did not fit into the place of the inode's map.
    pub(super) fn inline_rest(&self, inode: &Inode) -> Result<Vec<u8>, DiskError> {
        let in_inode = self.in_inode(inode)?;
        match in_inode.into_iter().find(Attribute::is_data) {
            Some(attribute) => self.value(inode, attribute.value),
            None => Ok(Vec::new()),
        }
    }

    fn all(&self, inode: &Inode) -> Result<Vec<Attribute>, DiskError> {
        let mut all = self.in_inode(inode)?;
        let high = if self.head.is_64bit() {
            inode.record.file_acl_high.get()
        } else {
            0
        };
        let block = u64::from(high) << 32 | u64::from(inode.record.file_acl_lo.get());
        if block != 0 {
            all.extend(self.in_block(block)?);
        }
        Ok(all)
    }

    fn in_inode(&self, inode: &Inode) -> Result<Vec<Attribute>, DiskError> {
        match inode.rest.strip_prefix(&MAGIC) {
            Some(area) => parse(area, 0).map_err(|problem| self.wrong(inode, problem)),
            None => Ok(Vec::new()),
        }
    }

    fn in_block(&self, number: u64) -> Result<Vec<Attribute>, DiskError> {
        let mut block = self.block(BLOCK, number)?;
        let damaged = |problem: &str| self.area.damaged(BLOCK, self.offset(number), problem);
        if !block.starts_with(&MAGIC) {
            return Err(damaged("its magic number is wrong"));
        }
        let mut stored = [0; 4];
        let place = &mut block[CHECKSUM_AT..CHECKSUM_AT + 4];
        stored.copy_from_slice(place);
        place.fill(0);
        if let Some(sum) = self.head.seed.over(&[&number.to_le_bytes(), &block])
            && IS_CHECKED
            && sum != u32::from_le_bytes(stored)
        {
            return Err(damaged("its checksum is wrong"));
        }
        parse(&block, BLOCK_HEADER_BYTES).map_err(damaged)
    }

    fn value(&self, inode: &Inode, value: Value) -> Result<Vec<u8>, DiskError> {
        let (number, length) = match value {
            Value::Here(bytes) => return Ok(bytes),
            Value::Inode(number, length) => (number, length),
        };
        let holder = self.inode(number)?;
        let is_sound =
            holder.is_attribute() && holder.kind == FileKind::Regular && holder.size_bytes == u64::from(length);
        if !is_sound || length > VALUE_BYTES_MAX {
            return Err(self.wrong(inode, format!("inode {number} is not the value of an attribute")));
        }
        let mut bytes = vec![0; length as usize];
        self.read_content(&holder, 0, &mut bytes)?;
        Ok(bytes)
    }
}

/// Reads the entries in `area` from `start` on; values count from the start of `area`. Otherwise says what is wrong.
fn parse(area: &[u8], start: usize) -> Result<Vec<Attribute>, &'static str> {
    let mut found = Vec::new();
    let mut rest = area.get(start..).unwrap_or_default();
    // Four zeros end the entries.
    while rest.get(..4).is_some_and(|head| head != [0; 4]) {
        let Ok((entry, behind)) = AttributeEntry::read_from_prefix(rest) else {
            return Err("an extended attribute is cut short");
        };
        let name_bytes = usize::from(entry.name_len);
        let Some(name) = behind.get(..name_bytes) else {
            return Err("the name of an extended attribute is cut short");
        };
        if name.contains(&0) {
            return Err("the name of an extended attribute is impossible");
        }
        let (place, length) = (usize::from(entry.value_offs.get()), entry.value_size.get());
        let value = match entry.value_inum.get() {
            0 => {
                let value = match length {
                    0 => Some(&[][..]),
                    _ => area.get(place..).and_then(|rest| rest.get(..length as usize)),
                };
                Value::Here(value.ok_or("the value of an extended attribute is cut short")?.to_vec())
            }
            inode => Value::Inode(inode, length),
        };
        found.push(Attribute {
            index: entry.name_index,
            name: name.to_vec(),
            value,
        });
        rest = rest
            .get(ENTRY_BYTES + name_bytes.next_multiple_of(4)..)
            .unwrap_or_default();
    }
    Ok(found)
}

/// Converts an ACL from its form on disk (version 1, ids only where a user or group is named) to that of getxattr(2);
/// `None` if it is malformed.
fn acl(disk: &[u8]) -> Option<Vec<u8>> {
    const NAMED: [u16; 2] = [0x02, 0x08];
    let (version, mut rest) = disk.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*version) != 1 {
        return None;
    }
    let mut value = 2_u32.to_le_bytes().to_vec();
    while let Some((head, behind)) = rest.split_first_chunk::<4>() {
        value.extend_from_slice(head);
        rest = behind;
        match NAMED.contains(&u16::from_le_bytes([head[0], head[1]])) {
            true => {
                let (id, behind) = rest.split_first_chunk::<4>()?;
                value.extend_from_slice(id);
                rest = behind;
            }
            false => value.extend_from_slice(&[0xff; 4]),
        }
    }
    rest.is_empty().then_some(value)
}
