//! Decides where everything goes.
//!
//! The order is chosen so that a small change of the tree moves little: first what depends on the size alone, then
//! directories with some room behind them, then the contents that come from the base in the base's order, then all
//! other contents, large files before small ones. So a new file moves only those of its size and smaller ones.

use std::cmp::Reverse;

use super::checksum::Seed;
use super::directory::{Blocks, DIRECTORY_TYPE, Directory, Name};
use super::extents::{Extent, ROOT_BYTES};
use super::geometry::{BLOCK_BYTES, FIRST_INODE, Geometry};
use super::inode::{FLAG_EXTENTS, FLAG_INDEX, Inode};
use super::space::{Run, Space};
use super::superblock::JOURNAL_INODE;
use super::xattr::{Attributes, Refusal};
use super::{ExtError, Kind, Spec, block_map, bytes, extents};
use crate::image::stream::Piece;
use crate::image::tree::{Content, FileContent, Index, Node, Tree};
use crate::overlay::layer::{FileKind, NodeId};

const ROOT_INODE: u32 = 2;
const RESIZE_INODE: u32 = 7;
const LOST_FOUND: &[u8] = b"lost+found";
/// As mke2fs has it, so that e2fsck need not allocate.
const LOST_FOUND_BLOCKS: u64 = 4;
/// Directories may grow by this much before contents move.
const ROOM_STEP_BLOCKS: u64 = 1024;
/// A directory with more links than this says 1 (`dir_nlink`).
const LINKS_MAX: u32 = 65_000;
const LINKS_MAX_EXT3: u32 = 32_000;
/// The largest file that 32-bit block numbers can describe, in blocks.
const FILE_BLOCKS_MAX: u64 = u32::MAX as u64;
/// The largest of ext2 and ext3, whose inodes count sectors in 32 bits.
const FILE_BLOCKS_MAX_EXT3: u64 = (u32::MAX / 8) as u64 - (1 << 20);
const FAST_LINK_BYTES: usize = ROOT_BYTES;

/// A file system, all in its place.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) geometry: Geometry,
    pub(super) space: Space,
    /// Of the file system's checksums.
    pub(super) seed: Seed,
    /// All inodes in use, by number.
    pub(super) inodes: Vec<Inode>,
    /// Blocks that are no file's content.
    pub(super) blocks: Vec<(u64, Vec<u8>)>,
    /// The contents of files.
    pub(super) pieces: Vec<Piece>,
    /// Where the journal begins, if there is one.
    pub(super) journal: Option<u64>,
}

impl Plan {
    /// Places `tree`.
    pub(super) fn new(spec: &Spec, tree: &Tree) -> Result<Self, ExtError> {
        let seed = Seed::new(spec.uuid.as_bytes(), spec.kind.is_ext4());
        let numbers = Numbers::of(tree);
        let drafts = drafts(spec, tree, &numbers, seed)?;
        let inodes = u64::from(numbers.last) + 1;
        let (geometry, space) = Geometry::new(spec.kind, spec.size_bytes, inodes)?;
        let planner = Planner {
            spec,
            tree,
            cursor: 0,
            plan: Self {
                geometry,
                space,
                seed,
                inodes: Vec::with_capacity(drafts.len() + 4),
                blocks: Vec::new(),
                pieces: Vec::new(),
                journal: None,
            },
        };
        let needed = drafts
            .iter()
            .fold(0_u64, |sum, draft| sum.saturating_add(draft.blocks()));
        planner.place(drafts).ok_or_else(|| ExtError::Full {
            size_bytes: spec.size_bytes,
            needed_bytes: needed_bytes(spec, needed, inodes),
        })
    }
}

/// The inode numbers of a tree's nodes, and of `lost+found`.
struct Numbers {
    lost_found: Option<Index>,
    last: u32,
}

impl Numbers {
    fn of(tree: &Tree) -> Self {
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

    /// `lost+found` has the first number, the others follow in the tree's order.
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

/// An inode, and what needs a place.
struct Draft {
    inode: Inode,
    body: Body,
    attributes: Attributes,
}

enum Body {
    None,
    /// Blocks in memory: a directory, the target of a long link.
    Blocks(Vec<u8>),
    File(Index),
}

impl Draft {
    /// How many blocks it needs, maps of blocks not counted.
    fn blocks(&self) -> u64 {
        let body = match &self.body {
            Body::None => 0,
            Body::Blocks(bytes) => bytes.len() as u64 / BLOCK_BYTES,
            Body::File(_) => self.inode.blocks,
        };
        body + u64::from(self.attributes.needs_block())
    }
}

fn drafts(spec: &Spec, tree: &Tree, numbers: &Numbers, seed: Seed) -> Result<Vec<Draft>, ExtError> {
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
        drafts.push(draft.map_err(|reason| ExtError::Unstorable {
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
    /// The inode of the directory above each directory.
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
        names: &[(std::ffi::OsString, Index)],
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
                file_type: file_type(node.attributes.kind),
            });
        }
        if index == 0 && self.numbers.lost_found.is_none() {
            list.push(Name {
                name: LOST_FOUND,
                inode: FIRST_INODE,
                file_type: DIRECTORY_TYPE,
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
            seed: self.seed.of_inode(inode),
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

/// The number of a device as an inode has it: in the old form if it fits, else in the new one.
fn device_place((major, minor): (u32, u32)) -> [u8; ROOT_BYTES] {
    let mut place = [0; ROOT_BYTES];
    if major < 256 && minor < 256 {
        bytes::put_u32(&mut place, 0, major << 8 | minor);
    } else {
        bytes::put_u32(&mut place, 4, minor & 0xff | major << 8 | (minor & !0xff) << 12);
    }
    place
}

fn file_type(kind: FileKind) -> u8 {
    match kind {
        FileKind::Regular => 1,
        FileKind::Directory => DIRECTORY_TYPE,
        FileKind::CharDevice => 3,
        FileKind::BlockDevice => 4,
        FileKind::Fifo => 5,
        FileKind::Socket => 6,
        FileKind::Symlink => 7,
    }
}

/// The parts of a file that take space, in bytes.
fn parts(size_bytes: u64, content: &FileContent) -> Vec<(u64, u64)> {
    match &content.data {
        Some(parts) => parts.clone(),
        None if size_bytes == 0 => Vec::new(),
        None => vec![(0, size_bytes)],
    }
}

/// Allocates; `None` wherever there is not enough space.
struct Planner<'a> {
    spec: &'a Spec,
    tree: &'a Tree,
    cursor: u64,
    plan: Plan,
}

impl Planner<'_> {
    fn place(mut self, mut drafts: Vec<Draft>) -> Option<Plan> {
        self.journal()?;
        self.resize_inode()?;
        self.blocks_in_memory(&mut drafts)?;
        self.contents(&mut drafts)?;
        self.plan.inodes.extend(drafts.into_iter().map(|draft| draft.inode));
        self.plan.inodes.sort_unstable_by_key(|inode| inode.number);
        Some(self.plan)
    }

    fn allocate(&mut self, count: u64) -> Option<Vec<Run>> {
        self.plan.space.allocate(&mut self.cursor, count)
    }

    fn journal(&mut self) -> Option<()> {
        let count = self.plan.geometry.journal_blocks;
        if count == 0 {
            return Some(());
        }
        let runs = self.allocate(count)?;
        self.plan.journal = runs.first().map(|run| run.start);
        let mut inode = self.internal(JOURNAL_INODE);
        inode.size_bytes = count * BLOCK_BYTES;
        self.map(&mut inode, &in_order(&runs))?;
        self.plan.inodes.push(inode);
        Some(())
    }

    fn internal(&self, number: u32) -> Inode {
        let mode = FileKind::Regular.mode_bits() | 0o600;
        Inode::internal(number, mode as u16, self.spec.epoch())
    }

    /// A file whose blocks are those kept free behind the descriptors, for growing while mounted: a block of
    /// numbers names those at the start, and each of these names its copies in the other groups.
    fn resize_inode(&mut self) -> Option<()> {
        let geometry = &self.plan.geometry;
        let (first, count) = (geometry.descriptor_blocks, geometry.reserved_descriptor_blocks);
        let per_block = BLOCK_BYTES / 4;
        let mut table = vec![0; BLOCK_BYTES as usize];
        let mut blocks = Vec::new();
        for at in first..first + count {
            let block = 1 + at;
            bytes::put_u32(&mut table, (at % per_block) as usize * 4, block as u32);
            let mut copies = vec![0; BLOCK_BYTES as usize];
            for (slot, group) in geometry.backups().enumerate() {
                bytes::put_u32(&mut copies, slot * 4, (geometry.range(group).start + block) as u32);
            }
            blocks.push((block, copies));
        }
        let copies = geometry.backups().count() as u64;
        let place = self.allocate(1)?.first()?.start;
        blocks.push((place, table));
        self.plan.blocks.extend(blocks);
        let mut inode = self.internal(RESIZE_INODE);
        bytes::put_u32(&mut inode.place, 13 * 4, place as u32);
        inode.size_bytes = (per_block * per_block + per_block + 12) * BLOCK_BYTES;
        inode.blocks = 1 + count * (1 + copies);
        self.plan.inodes.push(inode);
        Some(())
    }

    /// Directories, long links and blocks of attributes, and some room behind them.
    fn blocks_in_memory(&mut self, drafts: &mut [Draft]) -> Option<()> {
        let start = self.cursor;
        for draft in drafts.iter_mut() {
            if draft.attributes.needs_block() {
                let place = self.allocate(1)?.first()?.start;
                draft.inode.attribute_block = place;
                draft.inode.blocks += 1;
                self.plan
                    .blocks
                    .push((place, draft.attributes.block(place, self.plan.seed)));
            }
            if let Body::Blocks(bytes) = &mut draft.body {
                let bytes = std::mem::take(bytes);
                let runs = self.allocate(bytes.len() as u64 / BLOCK_BYTES)?;
                let mut rest = bytes.as_slice();
                for run in &runs {
                    let (bytes, behind) = rest.split_at_checked((run.count * BLOCK_BYTES) as usize)?;
                    self.plan.blocks.push((run.start, bytes.to_owned()));
                    rest = behind;
                }
                self.map(&mut draft.inode, &in_order(&runs))?;
            }
        }
        let used = self.cursor - start;
        let room = (used + used / 4).next_multiple_of(ROOM_STEP_BLOCKS);
        let contents: u64 = drafts.iter().map(Draft::blocks).sum();
        let whole = Run {
            start: 0,
            count: self.plan.geometry.blocks,
        };
        let free = self.plan.geometry.blocks - self.plan.space.used_in(whole);
        // In a full partition there is none.
        if contents + contents / 64 + room - used < free {
            self.cursor = start + room;
        }
        Some(())
    }

    fn contents(&mut self, drafts: &mut [Draft]) -> Option<()> {
        let tree = self.tree;
        let mut files: Vec<(Order, &mut Draft, &FileContent, Index)> = drafts
            .iter_mut()
            .filter_map(|draft| {
                let Body::File(index) = draft.body else { return None };
                let Content::File(content) = &tree.nodes().get(index)?.content else {
                    return None;
                };
                Some((Order::of(content, draft.inode.blocks, index), draft, content, index))
            })
            .collect();
        files.sort_by(|(a, ..), (b, ..)| a.cmp(b));
        for (_, draft, content, index) in files {
            let mut extents = Vec::new();
            draft.inode.blocks = u64::from(draft.inode.attribute_block != 0);
            for (start, end) in parts(draft.inode.size_bytes, content) {
                let runs = self.allocate((end - start).div_ceil(BLOCK_BYTES))?;
                let mut offset_bytes = start;
                for run in runs {
                    let length_bytes = (run.count * BLOCK_BYTES).min(end - offset_bytes);
                    self.plan.pieces.push(Piece {
                        file: index,
                        offset_bytes,
                        length_bytes,
                        place_bytes: self.spec.offset_bytes + run.start * BLOCK_BYTES,
                    });
                    extents.push(Extent {
                        first: (offset_bytes / BLOCK_BYTES) as u32,
                        run,
                    });
                    offset_bytes += run.count * BLOCK_BYTES;
                }
            }
            self.map(&mut draft.inode, &extents)?;
        }
        Some(())
    }

    /// Says in `inode` where its blocks lie.
    fn map(&mut self, inode: &mut Inode, extents: &[Extent]) -> Option<()> {
        let is_ext4 = self.spec.kind == Kind::Ext4;
        let more = if is_ext4 {
            extents::tree_blocks(extents)
        } else {
            block_map::table_blocks(extents)
        };
        let runs = self.allocate(more)?;
        let places: Vec<u64> = runs.iter().flat_map(|run| run.start..run.end()).collect();
        let (place, blocks) = if is_ext4 {
            inode.flags |= FLAG_EXTENTS;
            extents::build(extents, &places, self.plan.seed.of_inode(inode.number))
        } else {
            block_map::build(extents, &places)
        };
        inode.place = place;
        inode.blocks += more + extents.iter().map(|extent| extent.run.count).sum::<u64>();
        self.plan.blocks.extend(blocks);
        Some(())
    }
}

/// The order of contents.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    /// Of the base, in its order.
    Base(NodeId),
    /// Others, by the power of two in their size, the largest first.
    Other(Reverse<u32>, Index),
}

impl Order {
    fn of(content: &FileContent, blocks: u64, index: Index) -> Self {
        match content.digest {
            Some(_) => Self::Base(content.node),
            None => Self::Other(Reverse(blocks.checked_ilog2().map_or(0, |power| power + 1)), index),
        }
    }
}

/// Runs of a file without holes, one after the other.
fn in_order(runs: &[Run]) -> Vec<Extent> {
    let mut first = 0;
    let extents = runs.iter().map(|run| {
        let extent = Extent { first, run: *run };
        first += run.count as u32;
        extent
    });
    extents.collect()
}

/// The smallest size (in MiB steps) in which `blocks` blocks of contents find place beside what a file system needs itself.
fn needed_bytes(spec: &Spec, blocks: u64, inodes: u64) -> u64 {
    let wanted = blocks + blocks / 128 + 16;
    let fits = |mebibytes: u64| {
        Geometry::new(spec.kind, mebibytes << 20, inodes).is_ok_and(|(geometry, space)| {
            let whole = Run {
                start: 0,
                count: geometry.blocks,
            };
            let used = space.used_in(whole) + geometry.journal_blocks + 1;
            geometry.blocks.saturating_sub(used) >= wanted
        })
    };
    let mut low = (spec.size_bytes >> 20).max((blocks * BLOCK_BYTES) >> 20);
    let mut high = low + 1;
    while !fits(high) && high < 1 << 34 {
        (low, high) = (high, high + (high - low) * 2);
    }
    while low + 1 < high {
        let middle = low.midpoint(high);
        if fits(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    high << 20
}
