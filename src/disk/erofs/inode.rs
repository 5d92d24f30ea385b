//! Inodes.

use super::super::DiskError;
use super::Erofs;
use crate::image::erofs::disk::{AttributesHeader, CompactInode, ExtendedInode, FORMAT_EXTENDED, Layout};
use crate::overlay::layer::{Attributes, FileKind, Timestamp};

const INODE: &str = "an inode";

/// An inode.
#[derive(Debug, Clone)]
pub(super) struct Inode {
    /// Its number.
    pub(super) nid: u64,
    /// Its place in bytes.
    pub(super) place: u64,
    /// The place of its extended attributes in bytes.
    pub(super) attributes_at: u64,
    /// The place in bytes of what follows: data, or their map.
    pub(super) end: u64,
    /// How its data are found.
    pub(super) layout: Layout,
    /// Where its data are.
    pub(super) data: u32,
    /// Kind of file.
    pub(super) kind: FileKind,
    /// Length of its data in bytes.
    pub(super) size_bytes: u64,
    mode: u32,
    owner: (u32, u32),
    links: u32,
    modified: Timestamp,
}

impl Inode {
    /// Returns its metadata.
    pub(super) fn attributes(&self) -> Attributes {
        let (uid, gid) = self.owner;
        Attributes {
            kind: self.kind,
            permissions: self.mode & 0o7777,
            uid,
            gid,
            size_bytes: if self.kind == FileKind::Directory {
                0
            } else {
                self.size_bytes
            },
            modified: self.modified,
            links: self.links,
            device: match self.kind.is_device() {
                true => (self.data >> 8 & 0xfff, self.data & 0xff | self.data >> 12 & 0xf_ff00),
                false => (0, 0),
            },
        }
    }
}

impl Erofs {
    /// Reads the inode `nid`.
    pub(super) fn inode(&self, nid: u64) -> Result<Inode, DiskError> {
        let place = self.place(nid);
        let compact: CompactInode = self.area.record(INODE, place)?;
        let (format, units) = (compact.format.get(), compact.xattr_icount.get());
        let layout =
            Layout::of(format).ok_or_else(|| self.area.damaged(INODE, place, "its data lie in no known way"))?;
        let mode = u32::from(compact.mode.get());
        let kind = FileKind::from_mode(mode).ok_or_else(|| self.area.damaged(INODE, place, "its kind is unknown"))?;
        let attributes_bytes = match units {
            0 => 0,
            units => size_of::<AttributesHeader>() as u64 + (u64::from(units) - 1) * 4,
        };
        let inode = |length: usize| Inode {
            nid,
            place,
            attributes_at: place + length as u64,
            end: place + length as u64 + attributes_bytes,
            layout,
            data: compact.place.get(),
            kind,
            size_bytes: compact.size.get().into(),
            mode,
            owner: (compact.uid.get().into(), compact.gid.get().into()),
            links: compact.nlink.get().into(),
            modified: self.time(),
        };
        if format & FORMAT_EXTENDED == 0 {
            return Ok(inode(size_of::<CompactInode>()));
        }
        let extended: ExtendedInode = self.area.record(INODE, place)?;
        Ok(Inode {
            size_bytes: extended.size.get(),
            owner: (extended.uid.get(), extended.gid.get()),
            links: extended.nlink.get(),
            modified: Timestamp {
                seconds: extended.mtime.get() as i64,
                nanoseconds: extended.mtime_nsec.get().min(999_999_999),
            },
            ..inode(size_of::<ExtendedInode>())
        })
    }

    /// Makes the error of what is wrong with an inode.
    pub(super) fn wrong(&self, inode: &Inode, problem: impl std::fmt::Display) -> DiskError {
        self.area
            .damaged(INODE, inode.place, format!("inode {}: {problem}", inode.nid))
    }
}
