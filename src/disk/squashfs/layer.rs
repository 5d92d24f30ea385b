//! The file system as a layer of the overlay. A node's id names the place of its inode.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use super::Squashfs;
use super::inode::Body;
use crate::overlay::layer::{Attributes, Entry, Errno, Layer, LayerResult, NodeId, Summary};

impl Layer for Squashfs {
    fn root(&self) -> NodeId {
        NodeId(self.superblock.root_inode.get())
    }

    fn summary(&self) -> Summary {
        Summary {
            has_xattrs: self.superblock.xattr_id_table.get() != u64::MAX,
            nodes: self.superblock.inodes.get().into(),
            ..Summary::default()
        }
    }

    fn attributes(&self, node: NodeId) -> LayerResult<Attributes> {
        Ok(self.inode(node.0)?.attributes)
    }

    fn entries(&self, directory: NodeId, after: u64, visit: &mut dyn FnMut(Entry<'_>) -> bool) -> LayerResult<()> {
        let Body::Directory(start, offset, length) = self.inode(directory.0)?.body else {
            return Err(Errno::NOTDIR.into());
        };
        Ok(self.names((start, offset, length), after, &mut |name| {
            visit(Entry {
                name: OsStr::from_bytes(&name.name),
                node: NodeId(name.inode),
                kind: name.kind,
                cookie: name.cookie,
            })
        })?)
    }

    fn read_link(&self, node: NodeId) -> LayerResult<Vec<u8>> {
        match self.inode(node.0)?.body {
            Body::Link(target) => Ok(target),
            _ => Err(Errno::INVAL.into()),
        }
    }

    fn xattr(&self, node: NodeId, name: &OsStr) -> LayerResult<Option<Vec<u8>>> {
        let attributes = self.attributes_of(&self.inode(node.0)?)?;
        let found = attributes.into_iter().find(|(own, _)| own == name.as_bytes());
        Ok(found.map(|(_, value)| value))
    }

    fn xattr_names(&self, node: NodeId) -> LayerResult<Vec<OsString>> {
        let attributes = self.attributes_of(&self.inode(node.0)?)?;
        Ok(attributes
            .into_iter()
            .map(|(name, _)| OsString::from_vec(name))
            .collect())
    }

    fn is_ready(&self, _node: NodeId, _offset: u64, _length: usize) -> bool {
        false
    }

    fn read_at(&self, node: NodeId, offset: u64, buffer: &mut [u8]) -> LayerResult<usize> {
        let inode = self.inode(node.0)?;
        let size_bytes = inode.attributes.size_bytes;
        let mut contents = match inode.body {
            Body::File(contents) => contents,
            Body::Directory(..) => return Err(Errno::ISDIR.into()),
            Body::Link(_) | Body::Other => return Err(Errno::INVAL.into()),
        };
        let length = size_bytes.saturating_sub(offset).min(buffer.len() as u64) as usize;
        if let Some(buffer) = buffer.get_mut(..length).filter(|buffer| !buffer.is_empty()) {
            self.read_content(&mut contents, size_bytes, offset, buffer)?;
        }
        Ok(length)
    }
}
