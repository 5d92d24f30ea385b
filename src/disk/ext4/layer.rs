//! The file system as a layer of the overlay. A node's id is the number of its inode.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use super::super::DiskError;
use super::Ext;
use super::inode::Inode;
use crate::image::ext4::inode::FLAG_EXTENTS;
use crate::overlay::layer::{Attributes, Entry, Errno, FileKind, Layer, LayerResult, NodeId, Summary};

/// The inode of the root directory.
const ROOT: u32 = 2;
/// The longest target of a symbolic link, in bytes (`PATH_MAX`).
const TARGET_BYTES_MAX: u64 = 4096;

impl Ext {
    fn node(&self, node: NodeId) -> LayerResult<Inode> {
        let number = u32::try_from(node.0).map_err(|_| Errno::STALE)?;
        Ok(self.inode(number)?)
    }

    fn directory(&self, node: NodeId) -> LayerResult<Inode> {
        let inode = self.node(node)?;
        match inode.kind {
            FileKind::Directory => Ok(inode),
            _ => Err(Errno::NOTDIR.into()),
        }
    }

    /// Returns the target of a symbolic link: in the place of the map if it is short.
    fn target(&self, inode: &Inode) -> Result<Vec<u8>, DiskError> {
        let place = &inode.record.block;
        let is_short = inode.size_bytes < place.len() as u64 && !inode.has(FLAG_EXTENTS) && !inode.is_inline();
        if is_short && !inode.is_encrypted() {
            return Ok(place.get(..inode.size_bytes as usize).unwrap_or_default().to_vec());
        }
        if inode.size_bytes > TARGET_BYTES_MAX {
            return Err(self.wrong(inode, "the target of the symbolic link is too long"));
        }
        let mut target = vec![0; inode.size_bytes as usize];
        self.read_content(inode, 0, &mut target)?;
        Ok(target)
    }
}

impl Layer for Ext {
    fn root(&self) -> NodeId {
        NodeId(ROOT.into())
    }

    fn summary(&self) -> Summary {
        Summary {
            nodes: self.head.used_inodes(),
            ..Summary::default()
        }
    }

    fn attributes(&self, node: NodeId) -> LayerResult<Attributes> {
        Ok(self.node(node)?.attributes())
    }

    fn entries(&self, directory: NodeId, after: u64, visit: &mut dyn FnMut(Entry<'_>) -> bool) -> LayerResult<()> {
        let directory = self.directory(directory)?;
        Ok(self.names(&directory, after, &mut |entry| {
            let kind = match entry.kind {
                Some(kind) => kind,
                None => self.inode(entry.inode)?.kind,
            };
            Ok(visit(Entry {
                name: OsStr::from_bytes(entry.name),
                node: NodeId(entry.inode.into()),
                kind,
                cookie: entry.end,
            }))
        })?)
    }

    fn read_link(&self, node: NodeId) -> LayerResult<Vec<u8>> {
        let inode = self.node(node)?;
        match inode.kind {
            FileKind::Symlink => Ok(self.target(&inode)?),
            _ => Err(Errno::INVAL.into()),
        }
    }

    fn xattr(&self, node: NodeId, name: &OsStr) -> LayerResult<Option<Vec<u8>>> {
        Ok(self.attribute(&self.node(node)?, name.as_bytes())?)
    }

    fn xattr_names(&self, node: NodeId) -> LayerResult<Vec<OsString>> {
        let names = self.attribute_names(&self.node(node)?)?;
        Ok(names.into_iter().map(OsString::from_vec).collect())
    }

    fn next_data(&self, node: NodeId, offset: u64) -> LayerResult<u64> {
        Ok(self.data_from(&self.node(node)?, offset)?)
    }

    fn is_ready(&self, _node: NodeId, _offset: u64, _length: usize) -> bool {
        self.area.medium().is_plain()
    }

    fn read_at(&self, node: NodeId, offset: u64, buffer: &mut [u8]) -> LayerResult<usize> {
        let inode = self.node(node)?;
        match inode.kind {
            FileKind::Regular => Ok(self.read_content(&inode, offset, buffer)?),
            FileKind::Directory => Err(Errno::ISDIR.into()),
            _ => Err(Errno::INVAL.into()),
        }
    }
}
