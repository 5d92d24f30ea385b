//! The superblock, inodes, directories: everything that is made in memory.

use std::ops::Range;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromZeros as _, IntoBytes as _};

use super::disk::{
    BLOCK_BITS, BLOCK_BYTES, COMPAT_CHECKSUM, COMPAT_MTIME, HOLE, INCOMPAT_BIG_PCLUSTER, INCOMPAT_CHUNKED,
    INCOMPAT_ZERO_PADDING, Layout, Lz4Settings, MAGIC, SLOT_BYTES, SUPERBLOCK_BYTES, Superblock, ZstdSettings,
    checksum,
};
use super::draft::{chunk_format, device};
use super::plan::{Data, Placed, ROOT_BYTES};
use super::{FileSystemError, Spec, disk, packed};
use crate::image::region::Region;
use crate::image::tree::Content;
use crate::model::FileCompression;

/// Bytes of inodes that are written at once.
const RUN_BYTES: usize = 1 << 20;
const BLOCK: u64 = BLOCK_BYTES as u64;

/// Bytes that are made in memory, and how many bytes of a file follow them.
struct Record {
    offset: u64,
    bytes: Vec<u8>,
    tail: u64,
}

impl Record {
    fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64 + self.tail
    }
}

/// Writes everything but contents; `data` says where those of each node are.
pub(super) fn metadata(
    region: Region<'_>,
    spec: &Spec,
    placed: &Placed<'_>,
    data: &[Data],
) -> Result<(), FileSystemError> {
    let mut writer = Writer {
        region,
        placed,
        compression: spec.compression,
        memory: placed.memory,
    };
    let mut records = writer.records(data)?;
    let root = records.remove(0);
    let mut shared = placed.plan.shared.bytes.clone();
    shared.resize(shared.len().next_multiple_of(BLOCK_BYTES), 0);
    region.put(BLOCK, &shared)?;
    records.sort_unstable_by_key(|record| record.offset);
    let behind = records.partition_point(|record| record.offset < placed.plan.contents * BLOCK);
    let (base, own) = records.split_at(behind);
    let base_start = BLOCK + shared.len() as u64;
    writer.zone(base, base_start..placed.plan.contents * BLOCK)?;
    writer.zone(own, writer.memory * BLOCK..placed.blocks * BLOCK)?;
    Ok(region.put(0, &first_block(spec, placed, &root))?)
}

struct Writer<'a> {
    region: Region<'a>,
    placed: &'a Placed<'a>,
    compression: Option<FileCompression>,
    /// The next free block for directories and long links.
    memory: u64,
}

impl Writer<'_> {
    /// Makes the inodes, in the order of the nodes; writes directories and links that do not lie behind them.
    fn records(&mut self, data: &[Data]) -> Result<Vec<Record>, FileSystemError> {
        let plan = &self.placed.plan;
        let parents = self.placed.parents();
        let mut records = Vec::with_capacity(plan.drafts.len());
        for (index, draft) in plan.drafts.iter().enumerate() {
            let node = &plan.tree.nodes()[index];
            let content = match &node.content {
                Content::Directory(names) => self.placed.directory(index, parents[index], names),
                Content::Link(target) => target.clone(),
                Content::None | Content::File(_) => Vec::new(),
            };
            let tail = draft.tail_bytes();
            let (blocks, behind) = content.split_at(content.len().saturating_sub(tail));
            let own = self.blocks(blocks)?;
            let data = data.get(index).unwrap_or(&Data::None);
            let place = match data {
                _ if node.attributes.kind.is_device() => device(node.attributes.device),
                Data::None => own.unwrap_or(HOLE),
                Data::From(first) => *first,
                Data::Chunks(_) => chunk_format(),
                Data::Packed(_, lengths) => lengths.iter().map(|length| u32::from(*length)).sum(),
            };
            let mut bytes = draft.encode(node, index as u32 + 1, place);
            match data {
                Data::Chunks(chunks) => chunks
                    .iter()
                    .for_each(|chunk| bytes.extend_from_slice(&chunk.to_le_bytes())),
                Data::Packed(first, lengths) => {
                    bytes.resize(disk::map_start(bytes.len()), 0);
                    let algorithm = self.compression.unwrap_or(FileCompression::Zstd);
                    bytes.extend(packed::map(algorithm, draft.size_bytes, *first, lengths));
                }
                Data::None | Data::From(_) => {}
            }
            bytes.extend_from_slice(behind);
            records.push(Record {
                offset: self.placed.inode(index),
                bytes,
                tail: (tail - behind.len()) as u64,
            });
        }
        Ok(records)
    }

    /// Writes `bytes` in blocks of their own; returns the first one.
    fn blocks(&mut self, bytes: &[u8]) -> Result<Option<u32>, FileSystemError> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let first = self.memory;
        let mut blocks = bytes.to_owned();
        blocks.resize(bytes.len().next_multiple_of(BLOCK_BYTES), 0);
        self.region.put(first * BLOCK, &blocks)?;
        self.memory += blocks.len() as u64 / BLOCK;
        Ok(Some(first as u32))
    }

    /// Writes `records`, in the order of their places, and zeros where none is, in the range `zone` (bytes). The ends of
    /// files are left out.
    fn zone(&self, records: &[Record], zone: Range<u64>) -> Result<(), FileSystemError> {
        let mut run = Run {
            region: self.region,
            start: zone.start,
            bytes: Vec::new(),
        };
        for record in records {
            run.fill(record.offset);
            run.bytes.extend_from_slice(&record.bytes);
            if record.tail > 0 || run.bytes.len() >= RUN_BYTES {
                run.flush()?;
                run.start = record.end();
            }
        }
        run.fill(zone.end);
        run.flush()
    }
}

/// Bytes that are written together.
struct Run<'a> {
    region: Region<'a>,
    start: u64,
    bytes: Vec<u8>,
}

impl Run<'_> {
    /// Adds zeros up to `end`.
    fn fill(&mut self, end: u64) {
        let length = end.saturating_sub(self.start) as usize;
        self.bytes.resize(length.max(self.bytes.len()), 0);
    }

    fn flush(&mut self) -> Result<(), FileSystemError> {
        if !self.bytes.is_empty() {
            self.region.put(self.start, &self.bytes)?;
        }
        self.start += self.bytes.len() as u64;
        self.bytes.clear();
        Ok(())
    }
}

/// Makes the first block: the superblock, and the `root`.
fn first_block(spec: &Spec, placed: &Placed<'_>, root: &Record) -> Vec<u8> {
    let plan = &placed.plan;
    let mut superblock = Superblock {
        magic: U32::new(MAGIC),
        feature_compat: U32::new(COMPAT_CHECKSUM | COMPAT_MTIME),
        blkszbits: BLOCK_BITS,
        root_nid: U16::new((ROOT_BYTES / SLOT_BYTES as u64) as u16),
        inos: U64::new(plan.drafts.len() as u64),
        build_time: U64::new(spec.epoch_seconds),
        blocks: U32::new(placed.blocks as u32),
        xattr_blkaddr: U32::new(1),
        uuid: *spec.uuid.as_bytes(),
        feature_incompat: U32::new(features(spec, placed)),
        available_compr_algs: U16::new(spec.compression.map_or(0, |algorithm| 1 << packed::number(algorithm))),
        ..Superblock::new_zeroed()
    };
    let label = spec.label.as_deref().unwrap_or_default();
    let places = superblock.volume_name.iter_mut();
    places.zip(label.as_bytes()).for_each(|(place, byte)| *place = *byte);
    let mut block = vec![0; BLOCK_BYTES];
    put(&mut block, root.offset as usize, &root.bytes);
    put(&mut block, SUPERBLOCK_BYTES, superblock.as_bytes());
    let behind = SUPERBLOCK_BYTES + size_of::<Superblock>();
    put(&mut block, behind, &spec.compression.map(settings).unwrap_or_default());
    superblock.checksum = U32::new(checksum(&block[SUPERBLOCK_BYTES..]));
    put(&mut block, SUPERBLOCK_BYTES, superblock.as_bytes());
    block
}

/// Returns the features that a reader must know.
fn features(spec: &Spec, placed: &Placed<'_>) -> u32 {
    let is_chunked = placed.plan.drafts.iter().any(|draft| draft.layout == Layout::Chunks);
    let chunks = if is_chunked { INCOMPAT_CHUNKED } else { 0 };
    let packed = spec.compression.map(|_| INCOMPAT_ZERO_PADDING | INCOMPAT_BIG_PCLUSTER);
    chunks | packed.unwrap_or(0)
}

/// Makes the settings of `algorithm`, which stand behind the superblock.
fn settings(algorithm: FileCompression) -> Vec<u8> {
    let length = |bytes: usize| U16::new((bytes - size_of::<U16>()) as u16);
    match algorithm {
        FileCompression::Lz4 => Lz4Settings {
            length: length(size_of::<Lz4Settings>()),
            max_distance: U16::new(u16::MAX),
            max_pclusterblks: U16::new(packed::SEGMENT_BLOCKS),
            unused: [0; 10],
        }
        .as_bytes()
        .to_owned(),
        FileCompression::Zstd => ZstdSettings {
            length: length(size_of::<ZstdSettings>()),
            format: 0,
            windowlog: packed::WINDOW_BITS - 10,
            unused: [0; 4],
        }
        .as_bytes()
        .to_owned(),
    }
}

/// Copies `bytes` into `block` at `offset`, as far as they fit.
fn put(block: &mut [u8], offset: usize, bytes: &[u8]) {
    let places = block.iter_mut().skip(offset);
    places.zip(bytes).for_each(|(place, byte)| *place = *byte);
}
