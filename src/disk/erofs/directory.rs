//! Directories: blocks of entries, each followed by its names.

use zerocopy::FromBytes as _;

use super::super::DiskError;
use super::Erofs;
use super::inode::Inode;
use crate::image::erofs::disk::DirectoryEntry;
use crate::image::file_type;
use crate::overlay::layer::FileKind;

const ENTRY_BYTES: usize = size_of::<DirectoryEntry>();

/// A name in a directory.
#[derive(Debug)]
pub(super) struct Name<'a> {
    /// The name; without `/` and NUL, not empty.
    pub(super) name: &'a [u8],
    /// The inode that it names.
    pub(super) nid: u64,
    /// The kind of that inode.
    pub(super) kind: FileKind,
    /// What to go on behind.
    pub(super) cookie: u64,
}

impl Erofs {
    /// Calls `visit` for the names in `directory` behind the cookie `after`, without `.` and `..`.
    pub(super) fn names(
        &self,
        directory: &Inode,
        after: u64,
        visit: &mut dyn FnMut(Name<'_>) -> bool,
    ) -> Result<(), DiskError> {
        let block_bytes = self.block_bytes();
        // More than a block has.
        let per_block = block_bytes / ENTRY_BYTES as u64 + 1;
        let mut block = after / per_block;
        let mut skip = after % per_block;
        while block * block_bytes < directory.size_bytes {
            let start = block * block_bytes;
            let mut bytes = vec![0; (directory.size_bytes - start).min(block_bytes) as usize];
            self.read_content(directory, start, &mut bytes)?;
            let cookies = block * per_block + 1..;
            for (cookie, entry) in cookies.zip(self.entries_in(directory, &bytes)?) {
                let (name, entry) = entry?;
                if skip > 0 {
                    skip -= 1;
                    continue;
                }
                if matches!(name, b"." | b"..") {
                    continue;
                }
                let nid = entry.nid.get();
                let kind = match file_type::kind(entry.file_type) {
                    Some(kind) => kind,
                    None => self.inode(nid)?.kind,
                };
                let name = Name {
                    name,
                    nid,
                    kind,
                    cookie,
                };
                if !visit(name) {
                    return Ok(());
                }
            }
            (block, skip) = (block + 1, 0);
        }
        Ok(())
    }

    /// Returns the names and entries of a block.
    fn entries_in<'a>(
        &'a self,
        directory: &'a Inode,
        block: &'a [u8],
    ) -> Result<impl Iterator<Item = Result<(&'a [u8], DirectoryEntry), DiskError>>, DiskError> {
        let entry = |number: usize| {
            let bytes = block.get(number * ENTRY_BYTES..)?;
            Some(DirectoryEntry::read_from_prefix(bytes).ok()?.0)
        };
        let damaged = || self.wrong(directory, "a block of the directory is damaged");
        let first = usize::from(entry(0).ok_or_else(damaged)?.nameoff.get());
        if first < ENTRY_BYTES || !first.is_multiple_of(ENTRY_BYTES) || first > block.len() {
            return Err(damaged());
        }
        let count = first / ENTRY_BYTES;
        Ok((0..count).map(move |number| {
            let found = entry(number).ok_or_else(damaged)?;
            let start = usize::from(found.nameoff.get());
            let end = match number + 1 < count {
                true => usize::from(entry(number + 1).ok_or_else(damaged)?.nameoff.get()),
                false => block.len(),
            };
            let name = block.get(start..end).filter(|_| start >= first).ok_or_else(damaged)?;
            // Zeros may follow the last one.
            let length = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
            let name = name.get(..length).unwrap_or_default();
            match name.is_empty() || name.len() > 255 || name.contains(&b'/') {
                true => Err(damaged()),
                false => Ok((name, found)),
            }
        }))
    }
}
