//! The input of the planner: an inode for every node of a tree, and the blocks that are made in memory.

use std::ffi::OsString;

use super::checksum::Seed;
use super::directory::{Blocks, Directory, Name};
use super::disk::ROOT_BYTES;
use super::geometry::{BLOCK_BYTES, FIRST_INODE};
use super::inode::{FLAG_INDEX, Inode};
use super::xattr::{Attributes, Refusal};
use super::{FileSystemError, Spec, bytes};
use crate::image::file_type;
use crate::image::tree::{Content, FileContent, Index, Node, Tree};
use crate::overlay::layer::FileKind;

const ROOT_INODE: u32 = 2;
const LOST_FOUND: &[u8] = b"lost+found";
/// The blocks of `lost+found`, as many as mke2fs makes, so that e2fsck need not allocate.
const LOST_FOUND_BLOCKS: u64 = 4;
/// The number of links from which a directory's count is 1 instead (`dir_nlink`).
const LINKS_MAX: u32 = 65_000;
const LINKS_MAX_EXT3: u32 = 32_000;
/// The largest file that 32-bit block numbers can describe, in blocks.
const FILE_BLOCKS_MAX: u64 = u32::MAX as u64;
/// The largest file, in blocks, of ext2 and ext3, whose inodes count sectors in 32 bits.
const FILE_BLOCKS_MAX_EXT3: u64 = (u32::MAX / 8) as u64 - (1 << 20);
const FAST_LINK_BYTES: usize = ROOT_BYTES;

/// Returns the parts of a file of `size_bytes` that take space: start and end in bytes.
pub(super) fn parts(size_bytes: u64, content: &FileContent) -> Vec<(u64, u64)> {
    match &content.data {
        Some(parts) => parts.clone(),
        None if size_bytes == 0 => Vec::new(),
        None => vec![(0, size_bytes)],
    }
}

/// The inode numbers of a tree's nodes, and of `lost+found`.
pub(super) struct Numbers {
    lost_found: Option<Index>,
    /// The highest number.
    pub(super) last: u32,
}

impl Numbers {
    /// Numbers the nodes of `tree`.
    pub(super) fn of(tree: &Tree) -> Self {
        let root = tree.nodes().first().map(|node| &node.content);
        let names: &[_] = match root {
            Some(Content::Directory(names)) => names,
            _ => &[],
        };
        let found = names.iter().find(|(name, _)| name.as_encoded_bytes() == LOST_FOUND);
        let lost_found = found.map(|(_, index)| *index);
        let mut numbers = Self {
            lost_found,
            last: FIRST_INODE,
        };
        numbers.last = numbers.of_node(tree.nodes().len().saturating_sub(1)).max(FIRST_INODE);
        numbers
    }

    /// Returns the inode number of the node `index`: `lost+found` has the first, the others follow in the tree's order.
    fn of_node(&self, index: Index) -> u32 {
        let number = u32::try_from(index).unwrap_or(u32::MAX).saturating_add(FIRST_INODE);
        match self.lost_found {
            _ if index == 0 => ROOT_INODE,
            Some(own) if own == index => FIRST_INODE,
            Some(own) if own < index => number - 1,
            Some(_) | None => number,
        }
    }
}

/// An inode, and the blocks that need a place.
pub(super) struct Draft {
    /// The inode, without the places of its blocks.
    pub(super) inode: Inode,
    /// The contents of its blocks.
    pub(super) body: Body,
    /// Its extended attributes.
    pub(super) attributes: Attributes,
}

/// The contents of an inode's blocks.
pub(super) enum Body {
    /// No blocks.
    None,
    /// Blocks in memory: a directory, the target of a long link.
    Blocks(Vec<u8>),
    /// The content of this file; the inode has the number of blocks.
    File(Index),
}

impl Draft {
    /// Returns the number of blocks that it needs, without its map of blocks.
    pub(super) fn blocks(&self) -> u64 {
        let body = match &self.body {
            Body::None => 0,
            Body::Blocks(bytes) => bytes.len() as u64 / BLOCK_BYTES,
            Body::File(_) => self.inode.blocks,
        };
        body + u64::from(self.attributes.needs_block())
    }
}

/// Makes a draft for every node of `tree`, and for `lost+found` if the tree has none. `seed` is the file system's.
///
/// # Errors
/// [`FileSystemError::Unstorable`], naming the file.
pub(super) fn drafts(spec: &Spec, tree: &Tree, numbers: &Numbers, seed: Seed) -> Result<Vec<Draft>, FileSystemError> {
    let mut drafts = Vec::with_capacity(tree.nodes().len() + 1);
    let maker = Maker {
        spec,
        tree,
        numbers,
        seed,
    };
    let parents = maker.parents();
    for (index, node) in tree.nodes().iter().enumerate() {
        let draft = maker.draft(index, node, parents.get(index).copied().unwrap_or(ROOT_INODE));
        drafts.push(draft.map_err(|reason| FileSystemError::Unstorable {
            path: tree.path_of(index),
            reason,
        })?);
    }
    if numbers.lost_found.is_none() {
        drafts.push(maker.lost_found());
    }
    Ok(drafts)
}

/// Makes drafts of a tree's nodes.
struct Maker<'a> {
    spec: &'a Spec,
    tree: &'a Tree,
    numbers: &'a Numbers,
    seed: Seed,
}

impl Maker<'_> {
    /// Returns, for each node, the inode number of the directory above it.
    fn parents(&self) -> Vec<u32> {
        let nodes = self.tree.nodes();
        let mut parents = vec![ROOT_INODE; nodes.len()];
        for (index, node) in nodes.iter().enumerate() {
            if let Content::Directory(names) = &node.content {
                for (_, child) in names {
                    if let Some(parent) = parents.get_mut(*child) {
                        *parent = self.numbers.of_node(index);
                    }
                }
            }
        }
        parents
    }

    fn draft(&self, index: Index, node: &Node, parent: u32) -> Result<Draft, String> {
        let attributes = &node.attributes;
        let number = self.numbers.of_node(index);
        let list = node
            .xattrs
            .iter()
            .map(|(name, value)| (name.as_encoded_bytes(), value.as_slice()));
        let xattrs = Attributes::new(list).map_err(refusal)?;
        let mode = attributes.kind.mode_bits() | attributes.permissions & 0o7777;
        let mut inode = Inode {
            uid: attributes.uid,
            gid: attributes.gid,
            attributes: xattrs.in_inode.clone(),
            links: self.links(attributes.links, attributes.kind, index)?,
            ..Inode::internal(number, mode as u16, attributes.modified.min(self.spec.epoch()))
        };
        let body = match &node.content {
            Content::None => {
                inode.place = device_place(attributes.device);
                Body::None
            }
            Content::Link(target) => link(&mut inode, target)?,
            Content::Directory(names) => self.directory(&mut inode, index, names, parent)?,
            Content::File(content) => {
                inode.size_bytes = attributes.size_bytes;
                inode.blocks = self.file_blocks(attributes.size_bytes, content)?;
                Body::File(index)
            }
        };
        Ok(Draft {
            inode,
            body,
            attributes: xattrs,
        })
    }

    fn links(&self, links: u32, kind: FileKind, index: Index) -> Result<u16, String> {
        let is_directory = kind == FileKind::Directory;
        let has_extra = index == 0 && self.numbers.lost_found.is_none();
        let links = links.saturating_add(u32::from(has_extra));
        let most = if self.spec.kind.is_ext4() {
            LINKS_MAX
        } else {
            LINKS_MAX_EXT3
        };
        match u16::try_from(links) {
            Ok(links) if u32::from(links) < most => Ok(links),
            _ if is_directory && self.spec.kind.is_ext4() => Ok(1),
            _ => Err(format!("it has {links} links, and at most {} are possible", most - 1)),
        }
    }

    fn file_blocks(&self, size_bytes: u64, content: &FileContent) -> Result<u64, String> {
        let most = if self.spec.kind.is_ext4() {
            FILE_BLOCKS_MAX
        } else {
            FILE_BLOCKS_MAX_EXT3
        };
        if size_bytes.div_ceil(BLOCK_BYTES) > most {
            return Err(format!("a file of {size_bytes} bytes is too large"));
        }
        Ok(parts(size_bytes, content)
            .iter()
            .map(|(start, end)| (end - start).div_ceil(BLOCK_BYTES))
            .sum())
    }

    fn directory(
        &self,
        inode: &mut Inode,
        index: Index,
        names: &[(OsString, Index)],
        parent: u32,
    ) -> Result<Body, String> {
        let mut list = Vec::with_capacity(names.len() + 1);
        for (name, child) in names {
            let node = self.tree.nodes().get(*child).ok_or("its tree is damaged")?;
            let name = name.as_encoded_bytes();
            if name.len() > 255 {
                return Err("a name in it is longer than 255 bytes".to_owned());
            }
            list.push(Name {
                name,
                inode: self.numbers.of_node(*child),
                file_type: file_type::number(node.attributes.kind),
            });
        }
        if index == 0 && self.numbers.lost_found.is_none() {
            list.push(Name {
                name: LOST_FOUND,
                inode: FIRST_INODE,
                file_type: file_type::number(FileKind::Directory),
            });
        }
        let directory = self.named(inode.number, parent, &list);
        let Blocks { bytes, is_indexed } = directory.blocks().ok_or("it has too many names")?;
        inode.size_bytes = bytes.len() as u64;
        inode.flags |= if is_indexed { FLAG_INDEX } else { 0 };
        Ok(Body::Blocks(bytes))
    }

    fn named<'a>(&'a self, inode: u32, parent: u32, names: &'a [Name<'a>]) -> Directory<'a> {
        Directory {
            inode,
            parent,
            names,
            seed: self.seed.of_inode(inode, 0),
            hash_seed: self.spec.hash_seed.as_bytes(),
        }
    }

    fn lost_found(&self) -> Draft {
        let directory = self.named(FIRST_INODE, ROOT_INODE, &[]);
        // Two names always fit into one block.
        let mut bytes = directory.blocks().map(|blocks| blocks.bytes).unwrap_or_default();
        let empty = directory.empty_block();
        (1..LOST_FOUND_BLOCKS).for_each(|_| bytes.extend_from_slice(&empty));
        let mode = FileKind::Directory.mode_bits() | 0o700;
        Draft {
            inode: Inode {
                links: 2,
                size_bytes: bytes.len() as u64,
                ..Inode::internal(FIRST_INODE, mode as u16, self.spec.epoch())
            },
            body: Body::Blocks(bytes),
            attributes: Attributes::default(),
        }
    }
}

fn refusal(refusal: Refusal) -> String {
    let text = |name: Vec<u8>| String::from_utf8_lossy(&name).into_owned();
    match refusal {
        Refusal::Name(name) => format!("ext4 has no name space for its extended attribute {:?}", text(name)),
        Refusal::Acl(name) => format!("its attribute {:?} is not an ACL", text(name)),
        Refusal::TooLarge => "its extended attributes are larger than a block".to_owned(),
    }
}

fn link(inode: &mut Inode, target: &[u8]) -> Result<Body, String> {
    if target.len() >= BLOCK_BYTES as usize {
        return Err("its target is longer than 4095 bytes".to_owned());
    }
    inode.size_bytes = target.len() as u64;
    if target.len() < FAST_LINK_BYTES {
        bytes::put(&mut inode.place, 0, target);
        return Ok(Body::None);
    }
    let mut block = target.to_owned();
    block.resize(BLOCK_BYTES as usize, 0);
    Ok(Body::Blocks(block))
}

/// Encodes the number of a device for an inode: in the old form if it fits, else in the new one.
fn device_place((major, minor): (u32, u32)) -> [u8; ROOT_BYTES] {
    let mut place = [0; ROOT_BYTES];
    if major < 256 && minor < 256 {
        bytes::put_u32(&mut place, 0, major << 8 | minor);
    } else {
        bytes::put_u32(&mut place, 4, minor & 0xff | major << 8 | (minor & !0xff) << 12);
    }
    place
}
