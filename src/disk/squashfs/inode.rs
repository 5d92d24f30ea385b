//! Inodes.

use zerocopy::little_endian::U32;

use super::super::DiskError;
use super::Squashfs;
use super::directory::kind_of;
use super::disk::{BaseInode, Directory, File, LinksAnd, LongDirectory, LongFile};
use super::metadata::Cursor;
use crate::overlay::layer::{Attributes, FileKind, Timestamp};

const INODE: &str = "an inode";
const IDS: &str = "the table of owners";
/// The number that stands for no fragment, and for no attributes.
pub(super) const NONE: u32 = u32::MAX;
/// What the number of an inode's kind is greater by, if the inode is of the longer form.
const LONGER: u16 = 7;
/// The longest target of a symbolic link, in bytes (`PATH_MAX`).
const TARGET_BYTES_MAX: u32 = 4096;

/// An inode.
#[derive(Debug)]
pub(super) struct Inode<'a> {
    /// Its metadata.
    pub(super) attributes: Attributes,
    /// The number of its extended attributes in their table; [`NONE`] if it has none.
    pub(super) xattr: u32,
    /// What belongs to its kind.
    pub(super) body: Body<'a>,
}

/// What belongs to the kind of an inode.
#[derive(Debug)]
pub(super) enum Body<'a> {
    /// Of a directory: the block of its names in their table, the offset in it, and their length, in bytes.
    Directory(u64, usize, u64),
    /// Of a regular file.
    File(Contents<'a>),
    /// The target of a symbolic link.
    Link(Vec<u8>),
    /// Nothing.
    Other,
}

/// Where the contents of a file are.
#[derive(Debug)]
pub(super) struct Contents<'a> {
    /// The place of its first block in bytes.
    pub(super) start: u64,
    /// The number of the fragment with its end, or [`NONE`], and the offset in it in bytes.
    pub(super) fragment: (u32, u32),
    /// At the lengths of its blocks.
    pub(super) lengths: Cursor<'a>,
}

impl Squashfs {
    /// Reads the inode that `reference` names: a block of the table, and an offset in its last 16 bits.
    pub(super) fn inode(&self, reference: u64) -> Result<Inode<'_>, DiskError> {
        let place = self.superblock.inode_table.get().saturating_add(reference >> 16);
        let mut cursor = self.metadata(INODE, place, (reference & 0xffff) as usize)?;
        let base: BaseInode = cursor.record()?;
        let number = base.kind.get();
        let is_long = number > LONGER;
        let number = if is_long { number - LONGER } else { number };
        let kind = kind_of(number).ok_or_else(|| cursor.damaged("its kind is unknown"))?;
        let id = |number: u16| -> Result<u32, DiskError> {
            let id: U32 = self.in_table(IDS, self.superblock.id_table.get(), number.into())?;
            Ok(id.get())
        };
        let attributes = Attributes {
            kind,
            permissions: u32::from(base.mode.get()) & 0o7777,
            uid: id(base.uid.get())?,
            gid: id(base.gid.get())?,
            size_bytes: 0,
            modified: Timestamp {
                seconds: base.mtime.get().into(),
                nanoseconds: 0,
            },
            links: 1,
            device: (0, 0),
        };
        let mut inode = Inode {
            attributes,
            xattr: NONE,
            body: Body::Other,
        };
        match kind {
            FileKind::Directory => directory(&mut inode, &mut cursor, is_long)?,
            FileKind::Regular => return file(inode, cursor, is_long),
            _ => other(&mut inode, &mut cursor, is_long)?,
        }
        Ok(inode)
    }
}

fn directory(inode: &mut Inode<'_>, cursor: &mut Cursor<'_>, is_long: bool) -> Result<(), DiskError> {
    let (start, offset, size, links) = if is_long {
        let record: LongDirectory = cursor.record()?;
        inode.xattr = record.xattr.get();
        (record.start, record.offset, record.size.get(), record.links)
    } else {
        let record: Directory = cursor.record()?;
        (record.start, record.offset, record.size.get().into(), record.links)
    };
    inode.attributes.links = links.get();
    // The size counts the names of the directory itself and of the one above it.
    let length = u64::from(size).saturating_sub(3);
    inode.body = Body::Directory(start.get().into(), offset.get().into(), length);
    Ok(())
}

fn file<'a>(inode: Inode<'a>, mut cursor: Cursor<'a>, is_long: bool) -> Result<Inode<'a>, DiskError> {
    let (mut attributes, mut xattr) = (inode.attributes, NONE);
    let (start, fragment) = if is_long {
        let record: LongFile = cursor.record()?;
        xattr = record.xattr.get();
        attributes.links = record.links.get();
        attributes.size_bytes = record.size.get();
        (record.start.get(), (record.fragment.get(), record.offset.get()))
    } else {
        let record: File = cursor.record()?;
        attributes.size_bytes = record.size.get().into();
        (record.start.get().into(), (record.fragment.get(), record.offset.get()))
    };
    Ok(Inode {
        attributes,
        xattr,
        body: Body::File(Contents {
            start,
            fragment,
            lengths: cursor,
        }),
    })
}

/// Reads what belongs to a link, a device, a FIFO or a socket.
fn other(inode: &mut Inode<'_>, cursor: &mut Cursor<'_>, is_long: bool) -> Result<(), DiskError> {
    let attributes = &mut inode.attributes;
    match attributes.kind {
        FileKind::Symlink => {
            let [links, size]: LinksAnd = cursor.record()?;
            if size.get() > TARGET_BYTES_MAX {
                return Err(cursor.damaged("the target of the symbolic link is too long"));
            }
            attributes.links = links.get();
            attributes.size_bytes = size.get().into();
            inode.body = Body::Link(cursor.bytes(size.get() as usize)?);
        }
        FileKind::BlockDevice | FileKind::CharDevice => {
            let [links, device]: LinksAnd = cursor.record()?;
            attributes.links = links.get();
            let device = device.get();
            attributes.device = (device >> 8 & 0xfff, device & 0xff | device >> 12 & 0xf_ff00);
        }
        _ => attributes.links = cursor.record::<U32>()?.get(),
    }
    if is_long {
        inode.xattr = cursor.record::<U32>()?.get();
    }
    Ok(())
}
