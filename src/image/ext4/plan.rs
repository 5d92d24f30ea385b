//! Decides the places of all parts of a file system.
//!
//! The order is chosen so that a small change of the tree moves little, and nothing near the start: the unchanged
//! beginning need not be hashed again. At the start lie superblocks, descriptors, the journal and the contents that
//! come from the base, in the base's order; at the end, behind all free blocks, lie the image's own parts: other
//! contents, large files before small ones, so that a new file moves only those of its size and smaller ones;
//! directories; inodes. Each has some room to grow.

use super::checksum::Seed;
use super::draft::{Body, Draft, Numbers, drafts, parts};
use super::extents::Extent;
use super::geometry::{BLOCK_BYTES, Geometry};
use super::inode::{FLAG_EXTENTS, Inode};
use super::space::{Run, Space};
use super::superblock::JOURNAL_INODE;
use super::{FileSystemError, Kind, Spec, block_map, bytes, extents};
use crate::image::order::Order;
use crate::image::stream::Piece;
use crate::image::tree::{Content, FileContent, Index, Tree};
use crate::overlay::layer::FileKind;

const RESIZE_INODE: u32 = 7;
/// Blocks by which directories may grow before other parts move.
const DIRECTORIES_STEP_BLOCKS: u64 = 1024;
/// Blocks by which contents that are not the base's may grow before other parts move.
const CONTENTS_STEP_BLOCKS: u64 = 4096;

/// A file system with all its places.
#[derive(Debug)]
pub(super) struct Plan {
    /// The division into block groups.
    pub(super) geometry: Geometry,
    /// The blocks in use.
    pub(super) space: Space,
    /// The seed of the file system's checksums.
    pub(super) seed: Seed,
    /// All inodes in use, by number.
    pub(super) inodes: Vec<Inode>,
    /// Blocks that are not the content of files, by place.
    pub(super) blocks: Vec<(u64, Vec<u8>)>,
    /// The contents of files.
    pub(super) pieces: Vec<Piece>,
    /// The first block of the journal, if the file system has one.
    pub(super) journal: Option<u64>,
}

impl Plan {
    /// Places `tree` in a file system as `spec` describes it.
    pub(super) fn new(spec: &Spec, tree: &Tree) -> Result<Self, FileSystemError> {
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
        planner.place(drafts).ok_or_else(|| FileSystemError::Full {
            size_bytes: spec.size_bytes,
            needed_bytes: Some(needed_bytes(spec, needed, inodes)),
        })
    }
}

/// The state of the planner. Its methods return `None` where there is not enough space.
struct Planner<'a> {
    spec: &'a Spec,
    tree: &'a Tree,
    cursor: u64,
    plan: Plan,
}

impl<'a> Planner<'a> {
    fn place(mut self, mut drafts: Vec<Draft>) -> Option<Plan> {
        self.journal()?;
        self.resize_inode()?;
        let files = self.files(&drafts);
        let at_end = self.regions(&drafts, &files);
        let from_start = self.cursor;
        if let Some(regions) = at_end {
            self.cursor = regions.directories;
        }
        self.blocks_in_memory(&mut drafts)?;
        if at_end.is_some() {
            self.cursor = from_start;
        }
        let base = files.partition_point(|file| file.order.is_base());
        let (base, others) = files.split_at(base);
        self.contents(&mut drafts, base)?;
        if let Some(regions) = at_end {
            self.cursor = regions.contents;
        }
        self.contents(&mut drafts, others)?;
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

    /// Makes the inode whose blocks are those kept free behind the descriptors, for growing while mounted: a block of
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

    /// Places directories, long links and blocks of attributes.
    fn blocks_in_memory(&mut self, drafts: &mut [Draft]) -> Option<()> {
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
        Some(())
    }

    /// Returns where the image's own parts begin; `None` in a partition so full that there is no choice.
    fn regions(&self, drafts: &[Draft], files: &[File<'_>]) -> Option<Regions> {
        let (mut directories, mut base, mut others) = (0_u64, 0_u64, 0_u64);
        for draft in drafts {
            directories += draft.blocks();
        }
        for file in files {
            let blocks = drafts.get(file.draft)?.inode.blocks;
            directories -= blocks;
            match file.order {
                Order::Base(_) => base += blocks,
                Order::Other(..) => others += blocks,
            }
        }
        let space = &self.plan.space;
        let geometry = &self.plan.geometry;
        let groups = geometry.groups.iter();
        let end = match self.spec.kind {
            Kind::Ext4 => groups.map(|group| group.block_bitmap).min()?,
            Kind::Ext2 | Kind::Ext3 => geometry.blocks,
        };
        let room = (directories + directories / 4).next_multiple_of(DIRECTORIES_STEP_BLOCKS);
        let directories = space.start_of_last_free(end, room)?;
        let room = with_maps(others).next_multiple_of(CONTENTS_STEP_BLOCKS);
        let contents = space.start_of_last_free(directories, room)?;
        let between = Run {
            start: self.cursor,
            count: contents.checked_sub(self.cursor)?,
        };
        (between.count - space.used_in(between) >= with_maps(base)).then_some(Regions { contents, directories })
    }

    /// Returns all files with contents, in the order of their places.
    fn files(&self, drafts: &[Draft]) -> Vec<File<'a>> {
        let drafts = drafts.iter().enumerate();
        let mut files: Vec<File<'_>> = drafts
            .filter_map(|(draft, drafted)| {
                let Body::File(index) = drafted.body else { return None };
                let Content::File(content) = &self.tree.nodes().get(index)?.content else {
                    return None;
                };
                let order = Order::of(content, drafted.inode.blocks, index);
                Some(File {
                    order,
                    draft,
                    index,
                    content,
                })
            })
            .collect();
        files.sort_by_key(|file| file.order);
        files
    }

    fn contents(&mut self, drafts: &mut [Draft], files: &[File<'_>]) -> Option<()> {
        for File {
            draft, index, content, ..
        } in files
        {
            let draft = drafts.get_mut(*draft)?;
            let mut extents = Vec::new();
            draft.inode.blocks = u64::from(draft.inode.attribute_block != 0);
            for (start, end) in parts(draft.inode.size_bytes, content) {
                let runs = self.allocate((end - start).div_ceil(BLOCK_BYTES))?;
                let mut offset_bytes = start;
                for run in runs {
                    let length_bytes = (run.count * BLOCK_BYTES).min(end - offset_bytes);
                    self.plan.pieces.push(Piece {
                        file: *index,
                        offset_bytes,
                        length_bytes,
                        place_bytes: run.start * BLOCK_BYTES,
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

    /// Writes the map of `extents` into `inode`, and places the blocks that the map needs.
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
            extents::build(extents, &places, self.plan.seed.of_inode(inode.number, 0))
        } else {
            block_map::build(extents, &places)
        };
        inode.place = place;
        inode.blocks += more + extents.iter().map(|extent| extent.run.count).sum::<u64>();
        self.plan.blocks.extend(blocks);
        Some(())
    }
}

/// The first blocks of the parts at the end.
#[derive(Clone, Copy)]
struct Regions {
    contents: u64,
    directories: u64,
}

/// A file with contents.
struct File<'a> {
    order: Order,
    /// Its index among the drafts.
    draft: usize,
    index: Index,
    content: &'a FileContent,
}

/// Returns `blocks` of contents plus the most blocks that their maps can need.
fn with_maps(blocks: u64) -> u64 {
    blocks + blocks / 8 + 16
}

/// Returns the extents of a file without holes that lies in `runs`, one after the other.
fn in_order(runs: &[Run]) -> Vec<Extent> {
    let mut first = 0;
    let extents = runs.iter().map(|run| {
        let extent = Extent { first, run: *run };
        first += run.count as u32;
        extent
    });
    extents.collect()
}

/// Returns the smallest size in bytes (in MiB steps) that holds `blocks` blocks of contents beside the file system's
/// own.
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
