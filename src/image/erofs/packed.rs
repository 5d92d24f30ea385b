//! Compressed contents. A file is cut into segments, which are compressed each on its own, so on all processors at once; one
//! that does not save a block stays as it is. In the file of an earlier image, segments that are there already are neither
//! read nor compressed.
//!
//! The map of a file has a record for each block of its data (`struct z_erofs_lcluster_index` of the kernel's
//! `fs/erofs/erofs_fs.h`). The compressed bytes of a segment end with a block, and zeros stand before them.

use std::collections::HashMap;

use zerocopy::IntoBytes as _;
use zerocopy::little_endian::{U16, U32};

use super::disk::{
    BLOCK_BYTES, CLUSTER_BLOCKS, CLUSTER_HEAD, CLUSTER_INNER, CLUSTER_PLAIN, ClusterIndex, MAP_BIG_PCLUSTER,
    MAP_UNUSED_BYTES, MapHeader,
};
use super::plan::{Contents, Plan};
use super::{FileSystemError, full, size_blocks};
use crate::image::canvas::Known;
use crate::image::region::Region;
use crate::image::stream::Reader;
use crate::image::tree::Index;
use crate::model::FileCompression;
use crate::overlay::layer::{Errno, LayerError};
use crate::package::Sha256;
use crate::parallel;
use crate::sync::{Mutex, lock};
use crate::work::Work;

/// Bytes of a file that are compressed together.
const SEGMENT_BYTES: usize = 128 << 10;
/// The most blocks of compressed data that are read together.
pub(super) const SEGMENT_BLOCKS: u16 = (SEGMENT_BYTES / BLOCK_BYTES) as u16;
/// The power of two of the farthest distance in a segment.
pub(super) const WINDOW_BITS: u8 = SEGMENT_BYTES.trailing_zeros() as u8;
/// Bytes of data that are placed together: their compressed form is in memory until then.
const BATCH_BYTES: u64 = 64 << 20;
/// Bytes of data that a thread takes at once.
const UNIT_BYTES: usize = 4 << 20;
/// The level of Zstandard.
const ZSTD_LEVEL: i32 = 6;
const BLOCK: u64 = BLOCK_BYTES as u64;

/// Returns the number of `algorithm` in the file system.
pub(super) fn number(algorithm: FileCompression) -> u8 {
    match algorithm {
        FileCompression::Lz4 => 0,
        FileCompression::Zstd => 3,
    }
}

/// Compresses `bytes` with `algorithm`.
fn compress(algorithm: FileCompression, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    match algorithm {
        FileCompression::Lz4 => Ok(lz4_flex::block::compress(bytes)),
        FileCompression::Zstd => zstd::bulk::compress(bytes, ZSTD_LEVEL),
    }
}

/// Makes the map of a file of `size_bytes` whose segments lie from block `first` on and have these `lengths` (blocks).
pub(super) fn map(algorithm: FileCompression, size_bytes: u64, first: u32, lengths: &[u8]) -> Vec<u8> {
    let header = MapHeader {
        fragmentoff: U32::ZERO,
        advise: U16::new(MAP_BIG_PCLUSTER),
        algorithmtype: number(algorithm),
        clusterbits: 0,
    };
    let mut bytes = [header.as_bytes(), &[0; MAP_UNUSED_BYTES]].concat();
    let (mut at, mut rest) = (first, size_bytes);
    for length in lengths {
        let segment = rest.min(SEGMENT_BYTES as u64);
        records(&mut bytes, segment as usize, at, u32::from(*length));
        at += u32::from(*length);
        rest -= segment;
    }
    bytes
}

/// Appends the records of a segment of `data_bytes` that lies in `length` blocks from block `first` on.
fn records(bytes: &mut Vec<u8>, data_bytes: usize, first: u32, length: u32) {
    let mut record = |kind: u16, offset: usize, place: u32| {
        let record = ClusterIndex {
            advise: U16::new(kind),
            clusterofs: U16::new(offset as u16),
            place: U32::new(place),
        };
        bytes.extend_from_slice(record.as_bytes());
    };
    let blocks = data_bytes.div_ceil(BLOCK_BYTES) as u32;
    if length == blocks {
        return (0..blocks).for_each(|at| record(CLUSTER_PLAIN, 0, first + at));
    }
    // What does not fill a block is marked as the beginning of what follows.
    let (whole, end) = (data_bytes / BLOCK_BYTES, data_bytes % BLOCK_BYTES);
    record(CLUSTER_HEAD, 0, first);
    for at in 1..whole as u32 {
        let back = if at == 1 { CLUSTER_BLOCKS | length } else { at };
        record(CLUSTER_INNER, 0, back | (whole as u32 - at) << 16);
    }
    if end > 0 {
        record(CLUSTER_PLAIN, end, 0);
    }
}

/// Writes the files of `plan` that are to be compressed, and places all; `contents` says where they are.
///
/// # Errors
/// [`FileSystemError`]; [`FileSystemError::Full`] names a size that suffices.
pub(super) fn write(
    region: Region<'_>,
    plan: &Plan<'_>,
    contents: &mut Contents,
    algorithm: FileCompression,
    work: Work<'_>,
) -> Result<(), FileSystemError> {
    let mut packer = Packer {
        region,
        plan,
        algorithm,
        work,
        earlier: region
            .known()
            .map(|known| ((known.digest, known.offset_bytes), known.length_bytes))
            .collect(),
    };
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for index in &plan.files {
        for item in packer.items(*index) {
            bytes += item.length as u64;
            batch.push(item);
            if bytes >= BATCH_BYTES {
                packer.batch(&std::mem::take(&mut batch), contents)?;
                bytes = 0;
            }
        }
    }
    packer.batch(&batch, contents)
}

/// A segment of a file that is to be compressed, or a whole file that is not.
#[derive(Debug, Clone, Copy)]
struct Item {
    file: Index,
    offset_bytes: u64,
    /// Length in bytes; 0 for a whole file.
    length: usize,
    /// The digest of the file and of what is done to it, if it is known.
    digest: Option<Sha256>,
}

impl Item {
    fn known(&self, blocks: u64) -> Option<Known> {
        self.digest.map(|digest| Known {
            digest,
            offset_bytes: self.offset_bytes,
            length_bytes: blocks * BLOCK,
        })
    }
}

/// A segment as it is written: whole blocks.
type Packed = Vec<u8>;

struct Packer<'a> {
    region: Region<'a>,
    plan: &'a Plan<'a>,
    algorithm: FileCompression,
    work: Work<'a>,
    /// Lengths in bytes of segments that the earlier image has, by digest and offset.
    earlier: HashMap<(Sha256, u64), u64>,
}

impl Packer<'_> {
    fn items(&self, file: Index) -> Vec<Item> {
        let whole = Item {
            file,
            offset_bytes: 0,
            length: 0,
            digest: None,
        };
        let (Some(draft), Some(content)) = (self.plan.drafts.get(file), self.plan.content(file)) else {
            return Vec::new();
        };
        if !draft.is_packed() {
            return vec![whole];
        }
        // The bytes depend on the version of the library too.
        let version = zstd::zstd_safe::version_number().to_le_bytes();
        let settings = [&[number(self.algorithm), WINDOW_BITS, ZSTD_LEVEL as u8][..], &version].concat();
        let digest = content
            .digest
            .map(|digest| Sha256::of([&digest.0[..], b"erofs", &settings].concat()));
        let starts = (0..draft.size_bytes).step_by(SEGMENT_BYTES);
        let items = starts.map(|offset_bytes| Item {
            offset_bytes,
            length: (draft.size_bytes - offset_bytes).min(SEGMENT_BYTES as u64) as usize,
            digest,
            ..whole
        });
        items.collect()
    }

    /// Returns the number of blocks of a segment that the earlier image has.
    fn length(&self, item: &Item) -> Option<u64> {
        let bytes = self.earlier.get(&(item.digest?, item.offset_bytes))?;
        Some(bytes / BLOCK)
    }

    /// Places and writes `batch`. What the earlier image has not is compressed to know its length; what it has at another
    /// place is compressed when that is known.
    fn batch(&mut self, batch: &[Item], contents: &mut Contents) -> Result<(), FileSystemError> {
        let is_new = |item: &&Item| item.length > 0 && self.length(item).is_none();
        let new: Vec<Item> = batch.iter().filter(is_new).copied().collect();
        let mut packed = self.each(&new, |item, bytes| Ok((*item, bytes)))?.into_iter();
        let (mut writes, mut moved) = (Vec::new(), Vec::new());
        for item in batch {
            if item.length == 0 {
                contents.place(self.plan, item.file);
                continue;
            }
            let known = self.length(item);
            let bytes = if known.is_none() {
                packed.next().map(|(_, bytes)| bytes)
            } else {
                None
            };
            let blocks = known
                .or_else(|| Some(bytes.as_ref()?.len() as u64 / BLOCK))
                .unwrap_or_default();
            let place = contents.end;
            if place + blocks > size_blocks(self.region) {
                return Err(self.full());
            }
            contents.end += blocks;
            contents.packed(item.file, place as u32, blocks as u8);
            let is_there = item
                .known(blocks)
                .is_some_and(|known| self.region.has(place * BLOCK, known));
            match bytes {
                _ if is_there => {}
                Some(bytes) => writes.push((place, bytes)),
                None => moved.push((*item, place)),
            }
        }
        for (place, bytes) in writes {
            self.region.put(place * BLOCK, &bytes)?;
        }
        let places: HashMap<(Index, u64), u64> = moved
            .iter()
            .map(|(item, place)| ((item.file, item.offset_bytes), *place))
            .collect();
        let moved: Vec<Item> = moved.into_iter().map(|(item, _)| item).collect();
        self.each(&moved, |item, bytes| {
            let place = places.get(&(item.file, item.offset_bytes)).copied().unwrap_or_default();
            Ok(self.region.put(place * BLOCK, &bytes)?)
        })?;
        Ok(())
    }

    /// Makes the error of a partition that is too small: what all needs without compression suffices.
    fn full(&self) -> FileSystemError {
        full(self.region, self.plan.most_blocks())
    }

    /// Compresses `items` and calls `then` for each, on all threads; returns the results in the order of `items`.
    fn each<T: Send>(
        &self,
        items: &[Item],
        then: impl Fn(&Item, Packed) -> Result<T, FileSystemError> + Sync,
    ) -> Result<Vec<T>, FileSystemError> {
        let units: Vec<&[Item]> = items.chunks(UNIT_BYTES / SEGMENT_BYTES).collect();
        let queue = Mutex::new(units.into_iter().enumerate());
        let work = || {
            let mut reader = Reader::new(self.plan.tree);
            let mut done = Vec::new();
            loop {
                self.work.cancel.check()?;
                let Some((number, unit)) = lock(&queue).next() else {
                    return Ok(done);
                };
                for (at, item) in unit.iter().enumerate() {
                    let packed = self.pack(&mut reader, item)?;
                    done.push(((number, at), then(item, packed)?));
                }
            }
        };
        let parts: Result<Vec<_>, FileSystemError> = parallel::run(self.work.threads.clamp(1, 64), work)
            .into_iter()
            .collect();
        let mut done: Vec<_> = parts?.into_iter().flatten().collect();
        done.sort_unstable_by_key(|(place, _)| *place);
        Ok(done.into_iter().map(|(_, result)| result).collect())
    }

    /// Reads and compresses a segment.
    fn pack(&self, reader: &mut Reader<'_>, item: &Item) -> Result<Packed, FileSystemError> {
        let mut data = vec![0; item.length];
        reader.read(item.file, item.offset_bytes, &mut data)?;
        let blocks = data.len().div_ceil(BLOCK_BYTES);
        if blocks > 1 {
            let packed = compress(self.algorithm, &data).map_err(|error| {
                let error = LayerError::new(Errno::IO, format!("it cannot be compressed: {error}"));
                reader.error(item.file, error)
            })?;
            if packed.len().div_ceil(BLOCK_BYTES) < blocks {
                let zeros = packed.len().next_multiple_of(BLOCK_BYTES) - packed.len();
                return Ok([vec![0; zeros], packed].concat());
            }
        }
        data.resize(blocks * BLOCK_BYTES, 0);
        Ok(data)
    }
}
