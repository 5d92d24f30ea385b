//! Directories (`Documentation/filesystems/ext4/directory.rst`): lists of names, one to a block. The blocks of an index are
//! lists without names for a reader that goes through all of them, as this one does.

use zerocopy::FromBytes;

use super::super::DiskError;
use super::inode::Inode;
use super::{Ext, IS_CHECKED};
use crate::image::ext4::disk::DirectoryEntry;
use crate::image::ext4::inode::FLAG_INDEX;
use crate::image::file_type;
use crate::overlay::layer::FileKind;

const BLOCK: &str = "a block of a directory";
const HEADER_BYTES: usize = size_of::<DirectoryEntry>();
/// The entry that holds a block's checksum: its length, and the type that it pretends to have.
const TAIL_BYTES: usize = 12;
const TAIL_TYPE: u8 = 0xde;
/// Bytes of the parent's number, which stand for `.` and `..` in a directory that is in its inode.
const PARENT_BYTES: usize = 4;
/// The bytes of `i_block`.
const PLACE_BYTES: u64 = 60;

/// A name in a directory.
#[derive(Debug)]
pub(super) struct Name<'a> {
    /// The name; without `/` and NUL, not empty.
    pub(super) name: &'a [u8],
    /// The inode that it names.
    pub(super) inode: u32,
    /// The kind of that inode, if the directory says it.
    pub(super) kind: Option<FileKind>,
    /// The offset of the end of the entry in the directory, in bytes.
    pub(super) end: u64,
}

/// A function that gets the names, and returns whether it wants more.
pub(super) type Visit<'a> = &'a mut dyn FnMut(Name<'_>) -> Result<bool, DiskError>;

impl Ext {
    /// Calls `visit` for the names in `directory` whose entries end behind `after`, without `.` and `..`.
    pub(super) fn names(&self, directory: &Inode, after: u64, visit: Visit<'_>) -> Result<(), DiskError> {
        if directory.is_encrypted() {
            let number = directory.number;
            return Err(DiskError::Unsupported(format!(
                "directory {number} of the file system is encrypted"
            )));
        }
        if directory.is_inline() {
            return self.inline_names(directory, after, visit);
        }
        let block_bytes = self.head.block_bytes;
        if !directory.size_bytes.is_multiple_of(block_bytes) || directory.size_bytes > self.area.size_bytes() {
            return Err(self.wrong(directory, "the size of the directory is impossible"));
        }
        for number in after / block_bytes..directory.size_bytes / block_bytes {
            let Some(place) = self.run(directory, number)?.place else {
                return Err(self.wrong(directory, "the directory has a hole"));
            };
            let block = self.block(BLOCK, place)?;
            // The blocks of an index have their checksums elsewhere.
            let is_index = number == 0 && directory.has(FLAG_INDEX) || is_index(&block);
            if !is_index {
                self.check_list(directory, &block, place)?;
            }
            let start = number * block_bytes;
            if !self.list(&block, (self.offset(place), start), after, visit)? {
                break;
            }
        }
        Ok(())
    }

    /// Visits the names of a directory that is in its inode: behind the number of its parent, and in an attribute.
    fn inline_names(&self, directory: &Inode, after: u64, visit: Visit<'_>) -> Result<(), DiskError> {
        let first = directory.record.block.get(PARENT_BYTES..).unwrap_or_default();
        if self.list(first, (directory.offset, PARENT_BYTES as u64), after, visit)? {
            let rest = self.inline_rest(directory)?;
            self.list(&rest, (directory.offset, PLACE_BYTES), after, visit)?;
        }
        Ok(())
    }

    /// Compares the checksum of a block of names, if it has one.
    fn check_list(&self, directory: &Inode, block: &[u8], place: u64) -> Result<(), DiskError> {
        let Some((covered, tail)) = block.split_last_chunk::<TAIL_BYTES>() else {
            return Ok(());
        };
        let is_tail = tail[..8] == [0, 0, 0, 0, TAIL_BYTES as u8, 0, 0, TAIL_TYPE];
        let sum = u32::from_le_bytes([tail[8], tail[9], tail[10], tail[11]]);
        match directory.seed.over(&[covered]) {
            Some(expected) if IS_CHECKED && is_tail && sum != expected => {
                let problem = format!("inode {}: its checksum is wrong", directory.number);
                Err(self.area.damaged(BLOCK, self.offset(place), problem))
            }
            _ => Ok(()),
        }
    }

    /// Visits the names in a `list`, which lies at an offset on the disk and at one in the directory. Returns whether
    /// `visit` wants more.
    fn list(&self, list: &[u8], (place, start): (u64, u64), after: u64, visit: Visit<'_>) -> Result<bool, DiskError> {
        let mut at = 0;
        while at < list.len() {
            let here = place + at as u64;
            let damaged = |problem: &str| self.area.damaged(BLOCK, here, problem);
            let rest = &list[at..];
            let Ok((entry, behind)) = DirectoryEntry::read_from_prefix(rest) else {
                // A list in an inode may end with less than an entry.
                break;
            };
            let length = record_bytes(&entry, list.len());
            // Without types the length of a name has 16 bits.
            let name_bytes = match self.head.has_file_types() {
                true => usize::from(entry.name_len),
                false => usize::from(u16::from_le_bytes([entry.name_len, entry.file_type])),
            };
            if length < HEADER_BYTES || !length.is_multiple_of(4) || length > rest.len() {
                return Err(damaged("the length of an entry is impossible"));
            }
            at += length;
            let end = start + at as u64;
            if entry.inode == 0 || end <= after {
                continue;
            }
            let name = behind.get(..name_bytes).filter(|_| HEADER_BYTES + name_bytes <= length);
            let Some(name) = name.filter(|name| is_sound(name)) else {
                return Err(damaged("a name is impossible"));
            };
            let kind = self
                .head
                .has_file_types()
                .then(|| file_type::kind(entry.file_type))
                .flatten();
            let found = Name {
                name,
                inode: entry.inode.get(),
                kind,
                end,
            };
            if !matches!(name, b"." | b"..") && !visit(found)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Returns the length of an entry; 64 KiB, and more than 16 bits can say, have forms of their own.
fn record_bytes(entry: &DirectoryEntry, list_bytes: usize) -> usize {
    let length = usize::from(entry.rec_len.get());
    match length {
        0 | 0xffff if list_bytes == 1 << 16 => list_bytes,
        _ => length & 0xfffc | (length & 3) << 16,
    }
}

/// Returns whether a block belongs to the inner nodes of an index: one entry without a name fills it.
fn is_index(block: &[u8]) -> bool {
    let first = DirectoryEntry::read_from_prefix(block);
    first.is_ok_and(|(entry, _)| entry.inode == 0 && record_bytes(&entry, block.len()) == block.len())
}

fn is_sound(name: &[u8]) -> bool {
    !name.is_empty() && name.len() <= 255 && !name.contains(&b'/') && !name.contains(&0)
}
