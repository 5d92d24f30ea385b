//! Decides the places of all parts of a file system.
//!
//! The order is that of a repeated build: what comes from the base stands first, in the base's order, and is followed by
//! what is the image's own. So: superblock and root; common attributes; inodes of files of the base, with the ends of
//! those; contents of the base; other contents, large files before small ones; directories; all other inodes. The last two
//! begin with some room before them, where there is room, so that they do not move if contents grow a little.

use super::directory::{self, Name};
use super::disk::{BLOCK_BYTES, HOLE, Layout, SLOT_BYTES, SUPERBLOCK_BYTES};
use super::draft::{CHUNK_BITS, Draft, drafts, with_dots};
use super::slots::Slots;
use super::xattr::Shared;
use super::{FileSystemError, Spec};
use crate::image::file_type;
use crate::image::stream::Piece;
use crate::image::tree::{Content, FileContent, Index, Tree};

/// The place of the root's inode in bytes: behind the superblock and the settings of compressors.
pub(super) const ROOT_BYTES: u64 = 1280;
/// Blocks by which contents may grow before what follows them moves.
const STEP_BLOCKS: u64 = 1024;
const BLOCK: u64 = BLOCK_BYTES as u64;

/// Where the data of a node are.
#[derive(Debug, Clone, Default)]
pub(super) enum Data {
    /// Nowhere, or behind the inode.
    #[default]
    None,
    /// In blocks from this one on.
    From(u32),
    /// In chunks, each from this block on, or [`HOLE`].
    Chunks(Vec<u32>),
    /// Compressed, in blocks from the first one on; a length in blocks for each unit of data.
    Packed(u32, Vec<u8>),
}

/// The inodes and their places.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) tree: &'a Tree,
    /// The attributes that several files have.
    pub(super) shared: Shared<'a>,
    /// By node.
    pub(super) drafts: Vec<Draft>,
    /// Files with contents, in the order of their places, by node.
    pub(super) files: Vec<Index>,
    /// How many of `files` are of the base.
    pub(super) base_files: usize,
    /// The first block behind the inodes of files of the base.
    pub(super) contents: u64,
    /// The place of each inode in bytes, by node; those that are not of the base count from their first block.
    inodes: Vec<u64>,
    /// Which inodes are of the base, by node.
    is_base: Vec<bool>,
    /// The number of blocks of the other inodes.
    own_blocks: u64,
    /// The number of blocks of directories and long links.
    memory_blocks: u64,
}

impl<'a> Plan<'a> {
    /// Makes inodes of `tree` and gives those of the base's files their places.
    pub(super) fn new(spec: &Spec, tree: &'a Tree) -> Result<Self, FileSystemError> {
        let shared = Shared::of(tree);
        let drafts = drafts(spec, tree, &shared, BLOCK_BYTES - ROOT_BYTES as usize)?;
        let mut files: Vec<Index> = (0..drafts.len())
            .filter(|index| drafts[*index].order.is_some())
            .collect();
        files.sort_by_key(|index| drafts[*index].order);
        let base_files = files.partition_point(|index| drafts[*index].order.is_some_and(|order| order.is_base()));
        let mut plan = Self {
            tree,
            contents: 1 + (shared.bytes.len() as u64).div_ceil(BLOCK),
            shared,
            inodes: vec![ROOT_BYTES; drafts.len()],
            is_base: vec![false; drafts.len()],
            drafts,
            files,
            base_files,
            own_blocks: 0,
            memory_blocks: 0,
        };
        plan.place_inodes();
        Ok(plan)
    }

    fn place_inodes(&mut self) {
        let length = |draft: &Draft| draft.head_bytes() + draft.tail_bytes();
        let mut slots = Slots::default();
        for index in &self.files[..self.base_files] {
            self.inodes[*index] = self.contents * BLOCK + slots.take(length(&self.drafts[*index]));
            self.is_base[*index] = true;
        }
        self.contents += slots.blocks();
        let mut slots = Slots::default();
        for (index, draft) in self.drafts.iter().enumerate() {
            if draft.order.is_none() {
                self.memory_blocks += draft.blocks();
            }
            if index != 0 && !self.is_base[index] {
                self.inodes[index] = slots.take(length(draft));
            }
        }
        self.own_blocks = slots.blocks();
    }

    /// Returns the number of blocks of `files` if nothing of them is compressed.
    fn content_blocks(&self) -> u64 {
        let blocks = |index: &Index| match (self.drafts[*index].layout, self.content(*index)) {
            (Layout::Chunks, Some(content)) => content.data.iter().flatten().map(|part| blocks_of(*part)).sum(),
            _ => self.drafts[*index].blocks(),
        };
        self.files.iter().map(blocks).sum()
    }

    /// Returns the number of blocks of the file system if nothing is compressed.
    pub(super) fn most_blocks(&self) -> u64 {
        self.contents + self.content_blocks() + self.memory_blocks + self.own_blocks
    }

    /// Returns the contents of a file.
    pub(super) fn content(&self, index: Index) -> Option<&'a FileContent> {
        match &self.tree.nodes().get(index)?.content {
            Content::File(content) => Some(content),
            _ => None,
        }
    }

    /// Places all parts behind contents, which end before block `end`, in a file system of at most `size_blocks`.
    ///
    /// # Errors
    /// The number of blocks that are needed, if there are too few.
    pub(super) fn finish(self, end: u64, size_blocks: u64) -> Result<Placed<'a>, u64> {
        let more = self.memory_blocks + self.own_blocks;
        let with_room = end.next_multiple_of(STEP_BLOCKS);
        let first = match with_room + more <= size_blocks {
            true => with_room,
            false => end,
        };
        let blocks = first + more;
        if blocks > size_blocks {
            return Err(blocks);
        }
        Ok(Placed {
            memory: first,
            own: first + self.memory_blocks,
            blocks,
            plan: self,
        })
    }
}

/// Returns the number of blocks of a part (start and end in bytes) of a file.
fn blocks_of((start, end): (u64, u64)) -> u64 {
    (end - start).div_ceil(BLOCK)
}

/// Gives contents that are not compressed their places.
#[derive(Debug)]
pub(super) struct Contents {
    /// The parts of files and their places.
    pub(super) pieces: Vec<Piece>,
    /// Where the data of each node are.
    pub(super) data: Vec<Data>,
    /// The first free block.
    pub(super) end: u64,
}

impl Contents {
    /// Makes one without contents.
    pub(super) fn new(plan: &Plan<'_>) -> Self {
        Self {
            pieces: Vec::new(),
            data: vec![Data::None; plan.drafts.len()],
            end: plan.contents,
        }
    }

    /// Places the file `index` of `plan` behind the others.
    pub(super) fn place(&mut self, plan: &Plan<'_>, index: Index) {
        let (Some(draft), Some(content)) = (plan.drafts.get(index), plan.content(index)) else {
            return;
        };
        let parts = match &content.data {
            Some(parts) if draft.layout == Layout::Chunks => parts.as_slice(),
            _ => &[(0, draft.size_bytes - draft.tail_bytes() as u64)],
        };
        let mut chunks = vec![HOLE; draft.size_bytes.div_ceil(1 << CHUNK_BITS) as usize];
        let first = self.end;
        for (start, end) in parts.iter().copied().filter(|(start, end)| start < end) {
            let numbers = (start >> CHUNK_BITS) as usize..end.div_ceil(1 << CHUNK_BITS) as usize;
            let step = 1 << (CHUNK_BITS as u32 - BLOCK.trailing_zeros());
            let places = (self.end..).step_by(step);
            if let Some(chunks) = chunks.get_mut(numbers) {
                chunks
                    .iter_mut()
                    .zip(places)
                    .for_each(|(chunk, place)| *chunk = place as u32);
            }
            self.piece(index, start, end - start, self.end * BLOCK);
            self.end += blocks_of((start, end));
        }
        if draft.tail_bytes() > 0 {
            let tail = draft.tail_bytes() as u64;
            let place = plan.inodes[index] + draft.head_bytes() as u64;
            self.piece(index, draft.size_bytes - tail, tail, place);
        }
        self.data[index] = match draft.layout {
            Layout::Chunks => Data::Chunks(chunks),
            _ if self.end == first => Data::None,
            _ => Data::From(first as u32),
        };
    }

    /// Notes that the next segment of the file `index` has `blocks` from block `place` on.
    pub(super) fn packed(&mut self, index: Index, place: u32, blocks: u8) {
        match self.data.get_mut(index) {
            Some(Data::Packed(_, lengths)) => lengths.push(blocks),
            Some(data) => *data = Data::Packed(place, vec![blocks]),
            None => {}
        }
    }

    fn piece(&mut self, file: Index, offset_bytes: u64, length_bytes: u64, place_bytes: u64) {
        self.pieces.push(Piece {
            file,
            offset_bytes,
            length_bytes,
            place_bytes,
        });
    }

    /// Moves the ends of files behind inodes that are not of the base, which were placed now.
    pub(super) fn settle(&mut self, placed: &Placed<'_>) {
        for piece in &mut self.pieces {
            let draft = &placed.plan.drafts[piece.file];
            let is_tail = piece.offset_bytes + draft.tail_bytes() as u64 == draft.size_bytes;
            if draft.tail_bytes() > 0 && is_tail {
                piece.place_bytes = placed.inode(piece.file) + draft.head_bytes() as u64;
            }
        }
    }
}

/// A plan in which all inodes have their places.
#[derive(Debug)]
pub(super) struct Placed<'a> {
    pub(super) plan: Plan<'a>,
    /// The first block of directories and long links.
    pub(super) memory: u64,
    /// The first block of inodes that are not of the base.
    own: u64,
    /// The number of blocks of the file system.
    pub(super) blocks: u64,
}

impl Placed<'_> {
    /// Returns the place of the inode of node `index` in bytes.
    pub(super) fn inode(&self, index: Index) -> u64 {
        let plan = &self.plan;
        match index == 0 || plan.is_base[index] {
            true => plan.inodes[index],
            false => self.own * BLOCK + plan.inodes[index],
        }
    }

    /// Returns the number that stands for the node `index` in directories.
    pub(super) fn nid(&self, index: Index) -> u64 {
        self.inode(index) / SLOT_BYTES as u64
    }

    /// Returns, for each node, the directory above it.
    pub(super) fn parents(&self) -> Vec<Index> {
        let nodes = self.plan.tree.nodes();
        let mut parents = vec![0; nodes.len()];
        for (index, node) in nodes.iter().enumerate() {
            if let Content::Directory(names) = &node.content {
                for (_, child) in names {
                    if let Some(parent) = parents.get_mut(*child) {
                        *parent = index;
                    }
                }
            }
        }
        parents
    }

    /// Makes the bytes of the directory `index` with `names`, which lies in the directory `parent`.
    pub(super) fn directory(&self, index: Index, parent: Index, names: &[(std::ffi::OsString, Index)]) -> Vec<u8> {
        let named = with_dots(names).map(|(bytes, child)| {
            let dots = if bytes == b"." { index } else { parent };
            let index = child.unwrap_or(dots);
            let kind = self.plan.tree.nodes()[index].attributes.kind;
            Name {
                bytes,
                nid: self.nid(index),
                file_type: file_type::number(kind),
            }
        });
        directory::encode(&named.collect::<Vec<_>>())
    }
}

/// Checks that the superblock and the root share a block.
const _: () = assert!(ROOT_BYTES as usize > SUPERBLOCK_BYTES && (ROOT_BYTES as usize).is_multiple_of(SLOT_BYTES));
