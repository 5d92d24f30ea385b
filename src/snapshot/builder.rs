//! Collects a tree in memory and lays it out as an index.

use std::collections::HashMap;

use zerocopy::IntoBytes as _;

use super::disk;
use super::format::{BLOCK_BYTES, Dirent, Extent, Header, Member, NONE, Node, Packing, Record, Section};
use crate::archive::stream::Xattrs;
use crate::package::Sha256;

/// The error for a tree with more items than the format can number.
#[derive(Debug)]
pub(super) struct TooLarge;

/// An index under construction.
#[derive(Debug)]
pub(super) struct Builder {
    nodes: Vec<Node>,
    dirents: Vec<Dirent>,
    digests: Vec<Sha256>,
    heap: Vec<u8>,
    xattr_sets: HashMap<Xattrs, u64>,
    content_bytes: u64,
    files: u32,
}

/// A name waiting until its directory is complete.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) name: Vec<u8>,
    pub(super) node: u32,
}

impl Builder {
    /// Starts an empty index.
    pub(super) fn new() -> Self {
        Self {
            nodes: Vec::new(),
            dirents: Vec::new(),
            digests: Vec::new(),
            // Offset 0 means "no attributes".
            heap: vec![0; 8],
            xattr_sets: HashMap::new(),
            content_bytes: 0,
            files: 0,
        }
    }

    /// Returns the number of nodes so far.
    pub(super) fn nodes(&self) -> u32 {
        self.nodes.len() as u32
    }

    /// Adds a node with its attributes; returns its number.
    pub(super) fn add(&mut self, mut node: Node, xattrs: Xattrs) -> Result<u32, TooLarge> {
        if !xattrs.is_empty() {
            node.xattrs = self.xattr_set(xattrs)?;
        }
        node.dirent = NONE;
        let id = u32::try_from(self.nodes.len())
            .ok()
            .filter(|id| *id != NONE)
            .ok_or(TooLarge)?;
        self.nodes.push(node);
        Ok(id)
    }

    /// Adds a symbolic link's node; returns its number.
    pub(super) fn add_symlink(&mut self, mut node: Node, target: &[u8], xattrs: Xattrs) -> Result<u32, TooLarge> {
        node.data = self.heap.len() as u64;
        self.heap.extend(target);
        self.add(node, xattrs)
    }

    /// Records the content of the regular file `id`: its offset in the tar stream and its digest.
    pub(super) fn content(&mut self, id: u32, tar_offset: u64, digest: Sha256) {
        if let Some(node) = self.nodes.get_mut(id as usize) {
            node.data = tar_offset;
            self.files += 1;
            self.content_bytes = self.content_bytes.saturating_add(node.size_bytes);
            node.digest = self.digests.len() as u32;
            self.digests.push(digest);
        }
    }

    /// Records the stored parts of the sparse file `id`. It gets no digest: its holes can be larger than any disk.
    pub(super) fn sparse(&mut self, id: u32, extents: &[Extent]) -> Result<(), TooLarge> {
        // An empty part distinguishes a file of holes only from a file in one piece.
        let none = [Extent {
            offset: 0,
            length: 0,
            tar_offset: 0,
        }];
        let extents = if extents.is_empty() { &none } else { extents };
        let (offset, count) = (self.heap.len() as u64, extents.len());
        for extent in extents {
            self.heap.extend(extent.to_raw().as_bytes());
        }
        if let Some(node) = self.nodes.get_mut(id as usize) {
            node.data = offset;
            node.entries = u32::try_from(count).map_err(|_| TooLarge)?;
            self.files += 1;
            self.content_bytes = self.content_bytes.saturating_add(node.size_bytes);
        }
        Ok(())
    }

    /// Counts one more name of `id`.
    pub(super) fn link(&mut self, id: u32) {
        if let Some(node) = self.nodes.get_mut(id as usize) {
            node.links += 1;
        }
    }

    /// Completes the directory `id` with `children`, which are sorted by name.
    pub(super) fn directory(&mut self, id: u32, children: Vec<Child>) -> Result<(), TooLarge> {
        let first = u32::try_from(self.dirents.len()).map_err(|_| TooLarge)?;
        let count = u32::try_from(children.len()).map_err(|_| TooLarge)?;
        first.checked_add(count).filter(|end| *end != NONE).ok_or(TooLarge)?;
        let mut subdirectories = 0;
        for child in children {
            let name = u32::try_from(self.heap.len()).map_err(|_| TooLarge)?;
            let dirent = self.dirents.len() as u32;
            let Some(node) = self.nodes.get_mut(child.node as usize) else {
                continue;
            };
            if node.dirent == NONE {
                node.dirent = dirent;
            }
            let kind = node.mode & libc::S_IFMT;
            subdirectories += u32::from(kind == libc::S_IFDIR);
            self.dirents.push(Dirent {
                name,
                name_bytes: u16::try_from(child.name.len()).map_err(|_| TooLarge)?,
                kind: kind as u16,
                node: child.node,
                parent: id,
            });
            self.heap.extend(child.name);
        }
        if let Some(node) = self.nodes.get_mut(id as usize) {
            (node.data, node.entries) = (first.into(), count);
            (node.links, node.size_bytes) = (2 + subdirectories, 0);
        }
        Ok(())
    }

    fn xattr_set(&mut self, xattrs: Xattrs) -> Result<u64, TooLarge> {
        if let Some(offset) = self.xattr_sets.get(&xattrs) {
            return Ok(*offset);
        }
        let mut set: Vec<u8> = Vec::new();
        for (name, value) in &xattrs {
            let head = disk::Attribute {
                name_bytes: u16::try_from(name.len()).map_err(|_| TooLarge)?.into(),
                value_bytes: u32::try_from(value.len()).map_err(|_| TooLarge)?.into(),
            };
            set.extend(head.as_bytes());
            set.extend(name);
            set.extend(value);
        }
        let offset = self.heap.len() as u64;
        self.heap
            .extend(u32::try_from(set.len()).map_err(|_| TooLarge)?.to_le_bytes());
        self.heap.extend(set);
        self.xattr_sets.insert(xattrs, offset);
        Ok(offset)
    }

    /// Adds the windows of [`Packing::Deflate`] members to the heap, and adjusts the members' window offsets.
    pub(super) fn windows(&mut self, windows: &[u8], members: &mut [Member]) {
        let start = self.heap.len() as u64;
        self.heap.extend(windows);
        for member in members {
            if let Packing::Deflate { window, .. } = &mut member.packing {
                window.offset += start;
            }
        }
    }

    /// Lays out the complete index; its header lacks the tarball's size.
    pub(super) fn finish(self, base_key: Sha256, members: &[Member]) -> Layout {
        let mut body = Vec::new();
        let nodes = table(&mut body, &self.nodes);
        let dirents = table(&mut body, &self.dirents);
        let members_section = table(&mut body, members);
        let digests = table(&mut body, &self.digests);
        let heap = Section {
            offset: body.len() as u64,
            size_bytes: self.heap.len() as u64,
        };
        body.extend(&self.heap);
        let checksums: Vec<u8> = body
            .chunks(BLOCK_BYTES)
            .flat_map(|block| crc32fast::hash(block).to_le_bytes())
            .collect();
        let header = Header {
            base_key,
            snapshot_id: Sha256::of([&base_key.0[..], &body].concat()),
            tarball_bytes: 0,
            foreign: None,
            tar_bytes: members
                .last()
                .map_or(0, |last| last.tar_offset + u64::from(last.tar_bytes)),
            content_bytes: self.content_bytes,
            files: self.files,
            has_xattrs: !self.xattr_sets.is_empty(),
            nodes,
            dirents,
            members: members_section,
            digests,
            heap,
            body_bytes: body.len() as u64,
            blocks_crc: crc32fast::hash(&checksums),
        };
        Layout {
            header,
            rest: [checksums, body].concat(),
        }
    }
}

/// A laid-out index: its header, and the bytes behind it.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) header: Header,
    pub(super) rest: Vec<u8>,
}

fn table<T: Record>(body: &mut Vec<u8>, records: &[T]) -> Section {
    let offset = body.len() as u64;
    for record in records {
        body.extend(record.to_raw().as_bytes());
    }
    Section {
        offset,
        size_bytes: body.len() as u64 - offset,
    }
}
