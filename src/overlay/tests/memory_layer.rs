//! A layer in memory.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use crate::overlay::layer::{Attributes, Entry, Errno, FileKind, Layer, LayerResult, NodeId, Timestamp};

#[derive(Debug, Clone)]
pub(crate) struct MemoryNode {
    pub(crate) attributes: Attributes,
    pub(crate) content: Vec<u8>,
    pub(crate) xattrs: BTreeMap<OsString, Vec<u8>>,
    children: Vec<(OsString, u64)>,
}

#[derive(Debug, Clone)]
pub(crate) struct MemoryLayer {
    nodes: Vec<MemoryNode>,
}

pub(crate) const MTIME: Timestamp = Timestamp {
    seconds: 1_600_000_000,
    nanoseconds: 123_456_789,
};

impl MemoryLayer {
    pub(crate) fn new() -> Self {
        Self {
            nodes: vec![MemoryNode::new(FileKind::Directory, 0o755)],
        }
    }

    pub(crate) fn node(&mut self, path: &str) -> &mut MemoryNode {
        let id = self.find(path).unwrap();
        &mut self.nodes[id]
    }

    fn find(&self, path: &str) -> Option<usize> {
        path.split('/')
            .filter(|name| !name.is_empty())
            .try_fold(0, |id: usize, name| {
                let child = self.nodes[id].children.iter().find(|(child, _)| child == name)?;
                Some(child.1 as usize)
            })
    }

    fn put(&mut self, path: &str, id: u64) {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let is_directory = self.nodes[id as usize].attributes.kind == FileKind::Directory;
        let parent = self.node(parent);
        parent.children.push((name.into(), id));
        parent.attributes.links += u32::from(is_directory);
    }

    pub(crate) fn add(&mut self, path: &str, node: MemoryNode) -> &mut MemoryNode {
        self.nodes.push(node);
        self.put(path, self.nodes.len() as u64 - 1);
        self.nodes.last_mut().unwrap()
    }

    pub(crate) fn directory(&mut self, path: &str) -> &mut MemoryNode {
        self.add(path, MemoryNode::new(FileKind::Directory, 0o755))
    }

    pub(crate) fn file(&mut self, path: &str, content: &[u8]) -> &mut MemoryNode {
        let mut node = MemoryNode::new(FileKind::Regular, 0o644);
        node.attributes.size_bytes = content.len() as u64;
        node.content = content.to_vec();
        self.add(path, node)
    }

    pub(crate) fn symlink(&mut self, path: &str, target: &str) -> &mut MemoryNode {
        let mut node = MemoryNode::new(FileKind::Symlink, 0o777);
        node.attributes.size_bytes = target.len() as u64;
        node.content = target.into();
        self.add(path, node)
    }

    pub(crate) fn device(&mut self, path: &str, kind: FileKind, device: (u32, u32)) -> &mut MemoryNode {
        let mut node = MemoryNode::new(kind, 0o600);
        node.attributes.device = device;
        self.add(path, node)
    }

    pub(crate) fn link(&mut self, old: &str, new: &str) {
        let id = self.find(old).unwrap();
        self.nodes[id].attributes.links += 1;
        self.put(new, id as u64);
    }

    fn get(&self, node: NodeId) -> LayerResult<&MemoryNode> {
        let index = usize::try_from(node.0).unwrap();
        self.nodes.get(index).ok_or_else(|| Errno::STALE.into())
    }
}

impl MemoryNode {
    pub(crate) fn new(kind: FileKind, permissions: u32) -> Self {
        Self {
            attributes: Attributes {
                kind,
                permissions,
                uid: 0,
                gid: 0,
                size_bytes: 0,
                modified: MTIME,
                links: if kind == FileKind::Directory { 2 } else { 1 },
                device: (0, 0),
            },
            content: Vec::new(),
            xattrs: BTreeMap::new(),
            children: Vec::new(),
        }
    }

    pub(crate) fn xattr(&mut self, name: &str, value: &[u8]) -> &mut Self {
        self.xattrs.insert(name.into(), value.to_vec());
        self
    }
}

impl Layer for MemoryLayer {
    fn root(&self) -> NodeId {
        NodeId(0)
    }

    fn lookup(&self, directory: NodeId, name: &OsStr) -> LayerResult<Option<NodeId>> {
        let children = &self.get(directory)?.children;
        Ok(children
            .iter()
            .find(|(child, _)| child == name)
            .map(|(_, id)| NodeId(*id)))
    }

    fn attributes(&self, node: NodeId) -> LayerResult<Attributes> {
        Ok(self.get(node)?.attributes)
    }

    fn entries(&self, directory: NodeId, after: u64, visit: &mut dyn FnMut(Entry<'_>) -> bool) -> LayerResult<()> {
        for (position, (name, id)) in self.get(directory)?.children.iter().enumerate().skip(after as usize) {
            let entry = Entry {
                name,
                node: NodeId(*id),
                kind: self.nodes[*id as usize].attributes.kind,
                cookie: position as u64 + 1,
            };
            if !visit(entry) {
                break;
            }
        }
        Ok(())
    }

    fn read_link(&self, node: NodeId) -> LayerResult<Vec<u8>> {
        Ok(self.get(node)?.content.clone())
    }

    fn xattr(&self, node: NodeId, name: &OsStr) -> LayerResult<Option<Vec<u8>>> {
        Ok(self.get(node)?.xattrs.get(name).cloned())
    }

    fn xattr_names(&self, node: NodeId) -> LayerResult<Vec<OsString>> {
        Ok(self.get(node)?.xattrs.keys().cloned().collect())
    }

    fn is_ready(&self, _node: NodeId, _offset: u64, _length: usize) -> bool {
        true
    }

    fn read_at(&self, node: NodeId, offset: u64, buffer: &mut [u8]) -> LayerResult<usize> {
        let content = &self.get(node)?.content;
        let rest = content.get(offset as usize..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }
}
