//! A layer in memory, made from a directory of the host, so that what a mount shows can be
//! compared with what real tools made.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use oic::overlay::layer::{
    Attributes, Entry, Errno, FileKind, Layer, LayerError, LayerResult, NodeId, Summary, Timestamp,
};

#[derive(Debug, Default)]
pub struct MemoryLayer {
    nodes: Vec<Node>,
    /// Files whose reads take a while and are announced as such.
    slow: HashSet<NodeId>,
    /// Files that cannot be read.
    broken: HashSet<NodeId>,
}

#[derive(Debug)]
struct Node {
    attributes: Attributes,
    xattrs: BTreeMap<OsString, Vec<u8>>,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Directory(Vec<(OsString, NodeId)>),
    Bytes(Vec<u8>),
    Other,
}

impl MemoryLayer {
    pub fn from_directory(path: &Path) -> Self {
        let mut layer = Self::default();
        layer.take(path, &mut HashMap::new());
        layer
    }

    /// A root with `count` empty files.
    pub fn with_files(count: usize) -> Self {
        let attributes = |kind, permissions, links| Attributes {
            kind,
            permissions,
            uid: 0,
            gid: 0,
            size_bytes: 0,
            modified: Timestamp::default(),
            links,
            device: (0, 0),
        };
        let mut layer = Self::default();
        let mut entries = Vec::new();
        layer.add(
            attributes(FileKind::Directory, 0o755, 2),
            BTreeMap::new(),
            Content::Other,
        );
        for number in 0..count {
            let node = layer.add(
                attributes(FileKind::Regular, 0o644, 1),
                BTreeMap::new(),
                Content::Bytes(Vec::new()),
            );
            entries.push((OsString::from(format!("file-{number}")), node));
        }
        entries.sort();
        layer.nodes[0].content = Content::Directory(entries);
        layer
    }

    fn add(&mut self, attributes: Attributes, xattrs: BTreeMap<OsString, Vec<u8>>, content: Content) -> NodeId {
        self.nodes.push(Node {
            attributes,
            xattrs,
            content,
        });
        NodeId(self.nodes.len() as u64 - 1)
    }

    fn take(&mut self, path: &Path, links: &mut HashMap<u64, NodeId>) -> NodeId {
        let metadata = fs::symlink_metadata(path).unwrap();
        let kind = FileKind::from_mode(metadata.mode()).unwrap();
        if let Some(&node) = links.get(&metadata.ino()).filter(|_| kind != FileKind::Directory) {
            return node;
        }
        let device = metadata.rdev();
        let attributes = Attributes {
            kind,
            permissions: metadata.mode() & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
            size_bytes: metadata.size(),
            modified: Timestamp {
                seconds: metadata.mtime(),
                nanoseconds: u32::try_from(metadata.mtime_nsec()).unwrap(),
            },
            links: u32::try_from(metadata.nlink()).unwrap(),
            device: (libc::major(device), libc::minor(device)),
        };
        let node = self.add(attributes, xattrs_of(path), Content::Other);
        links.insert(metadata.ino(), node);
        let content = match kind {
            FileKind::Directory => {
                let mut names: Vec<_> = fs::read_dir(path)
                    .unwrap()
                    .map(|entry| entry.unwrap().file_name())
                    .collect();
                names.sort();
                let taken = names.into_iter().map(|name| {
                    let node = self.take(&path.join(&name), links);
                    (name, node)
                });
                Content::Directory(taken.collect())
            }
            FileKind::Regular => Content::Bytes(fs::read(path).unwrap()),
            FileKind::Symlink => Content::Bytes(fs::read_link(path).unwrap().into_os_string().into_vec()),
            _ => Content::Other,
        };
        match path.file_name().map(OsStr::as_bytes) {
            Some(b"slow") => drop(self.slow.insert(node)),
            Some(b"broken") => drop(self.broken.insert(node)),
            _ => (),
        }
        self.nodes[node.0 as usize].content = content;
        node
    }

    fn node(&self, node: NodeId) -> LayerResult<&Node> {
        self.nodes.get(node.0 as usize).ok_or_else(|| Errno::STALE.into())
    }

    fn directory(&self, node: NodeId) -> LayerResult<&[(OsString, NodeId)]> {
        match &self.node(node)?.content {
            Content::Directory(entries) => Ok(entries),
            _ => Err(Errno::NOTDIR.into()),
        }
    }
}

fn xattrs_of(path: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let mut buffer = vec![0; 65536];
    let length = rustix::fs::llistxattr(path, &mut buffer).unwrap();
    let names = buffer[..length].to_vec();
    let mut xattrs = BTreeMap::new();
    for name in names.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let length = rustix::fs::lgetxattr(path, name, &mut buffer).unwrap();
        xattrs.insert(OsStr::from_bytes(name).to_owned(), buffer[..length].to_vec());
    }
    xattrs
}

impl Layer for MemoryLayer {
    fn root(&self) -> NodeId {
        NodeId(0)
    }

    fn summary(&self) -> Summary {
        Summary {
            has_xattrs: self.nodes.iter().any(|node| !node.xattrs.is_empty()),
            nodes: self.nodes.len() as u64,
            size_bytes: self.nodes.iter().map(|node| node.attributes.size_bytes).sum(),
        }
    }

    fn lookup(&self, directory: NodeId, name: &OsStr) -> LayerResult<Option<NodeId>> {
        let entries = self.directory(directory)?;
        let found = entries.binary_search_by(|(other, _)| other.as_os_str().cmp(name));
        Ok(found.ok().map(|index| entries[index].1))
    }

    fn attributes(&self, node: NodeId) -> LayerResult<Attributes> {
        Ok(self.node(node)?.attributes)
    }

    fn entries(&self, directory: NodeId, after: u64, visit: &mut dyn FnMut(Entry<'_>) -> bool) -> LayerResult<()> {
        for (index, (name, node)) in self.directory(directory)?.iter().enumerate().skip(after as usize) {
            let entry = Entry {
                name,
                node: *node,
                kind: self.node(*node)?.attributes.kind,
                cookie: index as u64 + 1,
            };
            if !visit(entry) {
                break;
            }
        }
        Ok(())
    }

    fn read_link(&self, node: NodeId) -> LayerResult<Vec<u8>> {
        let node = self.node(node)?;
        match (&node.content, node.attributes.kind) {
            (Content::Bytes(target), FileKind::Symlink) => Ok(target.clone()),
            _ => Err(Errno::INVAL.into()),
        }
    }

    fn xattr(&self, node: NodeId, name: &OsStr) -> LayerResult<Option<Vec<u8>>> {
        Ok(self.node(node)?.xattrs.get(name).cloned())
    }

    fn xattr_names(&self, node: NodeId) -> LayerResult<Vec<OsString>> {
        Ok(self.node(node)?.xattrs.keys().cloned().collect())
    }

    fn is_ready(&self, node: NodeId, _offset: u64, _length: usize) -> bool {
        !self.slow.contains(&node)
    }

    fn read_at(&self, node: NodeId, offset: u64, buffer: &mut [u8]) -> LayerResult<usize> {
        if self.slow.contains(&node) {
            thread::sleep(Duration::from_millis(700));
        }
        if self.broken.contains(&node) {
            return Err(LayerError::new(Errno::IO, "/broken is damaged: make it again"));
        }
        match &self.node(node)?.content {
            Content::Bytes(bytes) => {
                let rest = bytes.get(offset as usize..).unwrap_or_default();
                let length = rest.len().min(buffer.len());
                buffer[..length].copy_from_slice(&rest[..length]);
                Ok(length)
            }
            _ => Err(Errno::ISDIR.into()),
        }
    }
}
