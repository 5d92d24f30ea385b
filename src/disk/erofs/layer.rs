//! The file system as a layer of the overlay. A node's id is the number of its inode.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use super::Erofs;
use super::inode::Inode;
use crate::overlay::layer::{Attributes, Entry, Errno, FileKind, Layer, LayerResult, NodeId, Summary};

/// The longest target of a symbolic link, in bytes (`PATH_MAX`).
const TARGET_BYTES_MAX: u64 = 4096;

impl Erofs {
    fn node(&self, node: NodeId) -> LayerResult<Inode> {
        Ok(self.inode(node.0)?)
    }
}

impl Layer for Erofs {
    fn root(&self) -> NodeId {
        NodeId(self.superblock.root_nid.get().into())
    }

    fn summary(&self) -> Summary {
        Summary {
            nodes: self.superblock.inos.get(),
            ..Summary::default()
        }
    }

    fn attributes(&self, node: NodeId) -> LayerResult<Attributes> {
        Ok(self.node(node)?.attributes())
    }

    fn entries(&self, directory: NodeId, after: u64, visit: &mut dyn FnMut(Entry<'_>) -> bool) -> LayerResult<()> {
        let directory = self.node(directory)?;
        if directory.kind != FileKind::Directory {
            return Err(Errno::NOTDIR.into());
        }
        Ok(self.names(&directory, after, &mut |name| {
            visit(Entry {
                name: OsStr::from_bytes(name.name),
                node: NodeId(name.nid),
                kind: name.kind,
                cookie: name.cookie,
            })
        })?)
    }

    fn read_link(&self, node: NodeId) -> LayerResult<Vec<u8>> {
        let inode = self.node(node)?;
        if inode.kind != FileKind::Symlink {
            return Err(Errno::INVAL.into());
        }
        if inode.size_bytes > TARGET_BYTES_MAX {
            return Err(self.wrong(&inode, "the target of the symbolic link is too long").into());
        }
        let mut target = vec![0; inode.size_bytes as usize];
        self.read_content(&inode, 0, &mut target)?;
        Ok(target)
    }

    fn xattr(&self, node: NodeId, name: &OsStr) -> LayerResult<Option<Vec<u8>>> {
        let attributes = self.attributes_of(&self.node(node)?)?;
        let found = attributes.into_iter().find(|(own, _)| own == name.as_bytes());
        Ok(found.map(|(_, value)| value))
    }

    fn xattr_names(&self, node: NodeId) -> LayerResult<Vec<OsString>> {
        let attributes = self.attributes_of(&self.node(node)?)?;
        Ok(attributes
            .into_iter()
            .map(|(name, _)| OsString::from_vec(name))
            .collect())
    }

    fn next_data(&self, node: NodeId, offset: u64) -> LayerResult<u64> {
        Ok(self.data_from(&self.node(node)?, offset)?)
    }

    fn is_ready(&self, node: NodeId, _offset: u64, _length: usize) -> bool {
        let is_packed = |inode: Inode| inode.layout.is_packed();
        self.area.medium().is_plain() && !self.inode(node.0).is_ok_and(is_packed)
    }

    fn read_at(&self, node: NodeId, offset: u64, buffer: &mut [u8]) -> LayerResult<usize> {
        let inode = self.node(node)?;
        match inode.kind {
            FileKind::Regular => {}
            FileKind::Directory => return Err(Errno::ISDIR.into()),
            _ => return Err(Errno::INVAL.into()),
        }
        let length = inode.size_bytes.saturating_sub(offset).min(buffer.len() as u64) as usize;
        if let Some(buffer) = buffer.get_mut(..length).filter(|buffer| !buffer.is_empty()) {
            self.read_content(&inode, offset, buffer)?;
        }
        Ok(length)
    }
}
