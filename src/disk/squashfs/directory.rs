//! Directories: runs of names, whose inodes lie in one block of the table of inodes.

use super::super::DiskError;
use super::Squashfs;
use super::disk::{DirectoryEntry, DirectoryHeader};
use crate::overlay::layer::FileKind;

const DIRECTORY: &str = "the names of a directory";
/// The most names of a run.
const RUN_MAX: u32 = 256;

/// A name in a directory.
#[derive(Debug)]
pub(super) struct Name {
    /// The name; without `/` and NUL, not empty.
    pub(super) name: Vec<u8>,
    /// The inode that it names.
    pub(super) inode: u64,
    /// The kind of that inode.
    pub(super) kind: FileKind,
    /// What to go on behind: the number of the name, from 1.
    pub(super) cookie: u64,
}

impl Squashfs {
    /// Calls `visit` for the names behind the cookie `after` in the directory whose `length` bytes of names lie at byte
    /// `offset` of the block `start` of their table.
    pub(super) fn names(
        &self,
        (start, offset, length): (u64, usize, u64),
        after: u64,
        visit: &mut dyn FnMut(Name) -> bool,
    ) -> Result<(), DiskError> {
        if length == 0 {
            return Ok(());
        }
        let place = self.superblock.directory_table.get().saturating_add(start);
        let mut cursor = self.metadata(DIRECTORY, place, offset)?;
        let (mut done, mut cookie) = (0, 0);
        while done < length {
            let header: DirectoryHeader = cursor.record()?;
            done += size_of::<DirectoryHeader>() as u64;
            let count = header.count.get();
            if count >= RUN_MAX {
                return Err(cursor.damaged("a run of names is too long"));
            }
            for _ in 0..=count {
                let entry: DirectoryEntry = cursor.record()?;
                let name = cursor.bytes(usize::from(entry.size.get() & 0xff) + 1)?;
                done += (size_of::<DirectoryEntry>() + name.len()) as u64;
                cookie += 1;
                if name.contains(&b'/') || name.contains(&0) || matches!(name.as_slice(), b"." | b"..") {
                    return Err(cursor.damaged("a name is impossible"));
                }
                if cookie <= after {
                    continue;
                }
                let inode = u64::from(header.start.get()) << 16 | u64::from(entry.offset.get());
                let kind = match kind_of(entry.kind.get()) {
                    Some(kind) => kind,
                    None => self.inode(inode)?.attributes.kind,
                };
                let name = Name {
                    name,
                    inode,
                    kind,
                    cookie,
                };
                if !visit(name) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// Returns the kind that `number` stands for in directories, and in inodes of the shorter form.
pub(super) fn kind_of(number: u16) -> Option<FileKind> {
    Some(match number {
        1 => FileKind::Directory,
        2 => FileKind::Regular,
        3 => FileKind::Symlink,
        4 => FileKind::BlockDevice,
        5 => FileKind::CharDevice,
        6 => FileKind::Fifo,
        7 => FileKind::Socket,
        _ => return None,
    })
}
