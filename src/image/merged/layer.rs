//! The merged tree as a layer, for readers that take any tree.

use std::ffi::{OsStr, OsString};

use super::Merged;
use crate::overlay::layer::{Attributes, Entry, Layer, LayerResult, NodeId};
use crate::overlay::{Access, Ino, Stat};
use crate::package::Sha256;

/// Nodes that were looked up stay in memory as long as the tree.
impl Layer for Merged {
    fn root(&self) -> NodeId {
        NodeId(Ino::ROOT.0)
    }

    fn lookup(&self, directory: NodeId, name: &OsStr) -> LayerResult<Option<NodeId>> {
        let found = self.overlay.lookup(Ino(directory.0), name)?;
        Ok(found.map(|stat| NodeId(stat.ino.0)))
    }

    fn attributes(&self, node: NodeId) -> LayerResult<Attributes> {
        let Stat {
            kind,
            permissions,
            uid,
            gid,
            size_bytes,
            modified,
            links,
            device,
            ..
        } = self.overlay.getattr(Ino(node.0))?;
        Ok(Attributes {
            kind,
            permissions,
            uid,
            gid,
            size_bytes,
            modified,
            links,
            device,
        })
    }

    fn entries(&self, directory: NodeId, after: u64, visit: &mut dyn FnMut(Entry<'_>) -> bool) -> LayerResult<()> {
        self.overlay.read_dir_plus(Ino(directory.0), after, &mut |listed, _| {
            visit(Entry {
                name: listed.name,
                node: NodeId(listed.ino.0),
                kind: listed.kind,
                cookie: listed.cookie,
            })
        })
    }

    fn read_link(&self, node: NodeId) -> LayerResult<Vec<u8>> {
        self.overlay.read_link(Ino(node.0), Access::Unnoted)
    }

    fn xattr(&self, node: NodeId, name: &OsStr) -> LayerResult<Option<Vec<u8>>> {
        self.overlay.xattr(Ino(node.0), name)
    }

    fn xattr_names(&self, node: NodeId) -> LayerResult<Vec<OsString>> {
        self.overlay.xattr_names(Ino(node.0))
    }

    fn digest(&self, node: NodeId) -> LayerResult<Option<Sha256>> {
        let (layer, node) = self.overlay.origin(Ino(node.0))?;
        match self.overlay.layers().get(layer) {
            Some(layer) => layer.digest(node),
            None => Ok(None),
        }
    }

    fn is_ready(&self, node: NodeId, offset: u64, length: usize) -> bool {
        self.overlay.is_ready(Ino(node.0), offset, length)
    }

    fn read_at(&self, node: NodeId, offset: u64, buffer: &mut [u8]) -> LayerResult<usize> {
        self.overlay.read(Ino(node.0), offset, buffer, Access::Unnoted)
    }
}
