//! Extended attributes.

use zerocopy::little_endian::{U32, U64};

use super::super::DiskError;
use super::Squashfs;
use super::disk::{AttributeEntry, AttributesId, AttributesTable};
use super::inode::{Inode, NONE};

const ATTRIBUTES: &str = "extended attributes";
/// The name spaces, by their numbers.
const PREFIXES: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];
/// The bit of an attribute's kind that says that its value lies elsewhere.
const ELSEWHERE: u16 = 0x100;
/// The most attributes of a file, and the most bytes of a value (`XATTR_SIZE_MAX`).
const COUNT_MAX: u32 = 1 << 12;
const VALUE_BYTES_MAX: u32 = 64 << 10;

/// An attribute: its name and its value.
type Attribute = (Vec<u8>, Vec<u8>);

impl Squashfs {
    /// Reads the extended attributes of `inode`: names and values.
    pub(super) fn attributes_of(&self, inode: &Inode<'_>) -> Result<Vec<Attribute>, DiskError> {
        let table_at = self.superblock.xattr_id_table.get();
        if inode.xattr == NONE || table_at == u64::MAX {
            return Ok(Vec::new());
        }
        let table: AttributesTable = self.area.record(ATTRIBUTES, table_at)?;
        let list = table_at + size_of::<AttributesTable>() as u64;
        if inode.xattr >= table.ids.get() {
            return Err(self.area.damaged(ATTRIBUTES, table_at, "a file has none of them"));
        }
        let id: AttributesId = self.in_table(ATTRIBUTES, list, inode.xattr.into())?;
        let at = |reference: u64| {
            let place = table.start.get().saturating_add(reference >> 16);
            self.metadata(ATTRIBUTES, place, (reference & 0xffff) as usize)
        };
        let mut cursor = at(id.place.get())?;
        if id.count.get() > COUNT_MAX {
            return Err(cursor.damaged("a file has too many"));
        }
        let mut found = Vec::new();
        for _ in 0..id.count.get() {
            let entry: AttributeEntry = cursor.record()?;
            let name = cursor.bytes(entry.size.get().into())?;
            let kind = entry.kind.get();
            let prefix = PREFIXES.get(usize::from(kind & !ELSEWHERE));
            let prefix = prefix.ok_or_else(|| cursor.damaged("one has no known name space"))?;
            let length: U32 = cursor.record()?;
            let value = if kind & ELSEWHERE != 0 {
                let mut elsewhere = at(cursor.record::<U64>()?.get())?;
                let length: U32 = elsewhere.record()?;
                value(&mut elsewhere, length.get())?
            } else {
                value(&mut cursor, length.get())?
            };
            if name.contains(&0) {
                return Err(cursor.damaged("one has an impossible name"));
            }
            found.push(([*prefix, &name].concat(), value));
        }
        Ok(found)
    }
}

/// Reads a value of `length` bytes.
fn value(cursor: &mut super::metadata::Cursor<'_>, length: u32) -> Result<Vec<u8>, DiskError> {
    match length > VALUE_BYTES_MAX {
        true => Err(cursor.damaged("a value is too long")),
        false => cursor.bytes(length as usize),
    }
}
