//! The maps of compressed files: a record for each logical cluster, which says where compressed data begin
//! (`fs/erofs/zmap.c` of the kernel).

use zerocopy::FromBytes as _;

use super::super::DiskError;
use super::Erofs;
use super::inode::Inode;
use crate::image::erofs::disk::{CLUSTER_BLOCKS, CLUSTER_HEAD, CLUSTER_INNER, CLUSTER_PLAIN, ClusterIndex, Layout};
use crate::image::erofs::disk::{MAP_BIG_PCLUSTER, MapHeader};

const MAP: &str = "the map of a compressed file";
/// The second algorithm's [`CLUSTER_HEAD`].
const CLUSTER_HEAD2: u16 = 3;
/// Bytes between the header of a map and its first record, where records have 8 bytes.
const UNUSED_BYTES: u64 = 8;
/// `advise`: some packs have records of 2 bytes.
const SMALL_RECORDS: u16 = 0x1;
/// `advise`: data of the second algorithm, or plain ones, of several blocks.
const BIG_PCLUSTER_2: u16 = 0x4;
/// `advise`: the last data lie behind the map.
const INLINE: u16 = 0x8;
/// `advise`: plain data are rotated to their place in a block.
const INTERLACED: u16 = 0x10;
/// `advise`: the end lies in the common file of ends.
const FRAGMENT: u16 = 0x20;
/// The bit of the header that says that the whole file lies there.
const WHOLE_FRAGMENT: u64 = 1 << 63;
/// The most data that one piece decompresses to, in bytes (`Z_EROFS_PCLUSTER_MAX_DSIZE`).
const PIECE_BYTES_MAX: u64 = 12 << 20;
/// The most blocks that are compressed together, in bytes (`Z_EROFS_PCLUSTER_MAX_SIZE`).
const PACKED_BYTES_MAX: u64 = 1 << 20;

/// The header of a map.
#[derive(Debug, Clone, Copy)]
pub(super) struct Map {
    advise: u16,
    algorithms: u8,
    /// The power of two of the size of a logical cluster.
    bits: u8,
    fragment: u32,
    /// Where the whole file begins in the common file of ends, if it lies there.
    pub(super) whole: Option<u64>,
    /// The place of the header in bytes.
    place: u64,
}

/// A logical cluster.
#[derive(Debug, Clone, Copy)]
struct Cluster {
    kind: u16,
    /// Where data begin in it, in bytes.
    offset: u64,
    /// The distance to the one before with the beginning.
    back: u64,
    /// The number of blocks of the compressed data, if this one says it.
    blocks: Option<u64>,
    /// The first block of the compressed data.
    place: u64,
    /// The place in bytes of what follows its pack.
    behind: u64,
}

/// How the bytes of a piece are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As they are; rotated if that is so.
    Plain {
        /// Whether they lie at the same place in their block as in the file's.
        is_rotated: bool,
    },
    /// Compressed by the algorithm of this number.
    Packed(u8),
    /// In the common file of ends.
    Fragment,
}

/// A part of a file that is compressed as a whole.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    /// Start and end of the data in the file, in bytes.
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) form: Form,
    /// The place of the compressed data in bytes, or the offset in the common file.
    pub(super) place: u64,
    /// The length of the compressed data in bytes.
    pub(super) length: u64,
}

impl Erofs {
    /// Reads the header of the map of `inode`.
    pub(super) fn map(&self, inode: &Inode) -> Result<Map, DiskError> {
        let place = inode.end.next_multiple_of(8);
        let bytes: [u8; size_of::<MapHeader>()] = self.area.record(MAP, place)?;
        let number = u64::from_le_bytes(bytes);
        let header = MapHeader::read_from_bytes(&bytes).map_err(|_| self.wrong(inode, "its map has no header"))?;
        let bits = self.block_bits + (header.clusterbits & 0xf);
        if bits > 14 {
            return Err(self.wrong(inode, "its logical clusters are too large"));
        }
        Ok(Map {
            advise: header.advise.get(),
            algorithms: header.algorithmtype,
            bits,
            fragment: header.fragmentoff.get(),
            whole: (number & WHOLE_FRAGMENT != 0).then_some(number & !WHOLE_FRAGMENT),
            place,
        })
    }

    /// Finds the piece of `inode` with the byte `at`, which is within its size.
    pub(super) fn piece(&self, inode: &Inode, map: &Map, at: u64) -> Result<Piece, DiskError> {
        let damaged = || self.wrong(inode, "its map contradicts itself");
        let bits = map.bits;
        let (mut number, within) = (at >> bits, at & ((1 << bits) - 1));
        let mut head = self.cluster(inode, map, number)?;
        if head.kind != CLUSTER_INNER && head.offset > within {
            number = number.checked_sub(1).ok_or_else(damaged)?;
            head = self.cluster(inode, map, number)?;
        }
        while head.kind == CLUSTER_INNER {
            number = number
                .checked_sub(head.back)
                .filter(|_| head.back > 0)
                .ok_or_else(damaged)?;
            head = self.cluster(inode, map, number)?;
        }
        let start = (number << bits) + head.offset;
        let (end, blocks) = self.extent(inode, map, (number, start))?;
        if !(start..end).contains(&at) {
            return Err(damaged());
        }
        self.located(inode, map, (head, blocks), (start, end))
    }

    /// Finds the end of the piece that starts at the byte `start` in the cluster `number`, and the number of its blocks if
    /// the map says it.
    fn extent(&self, inode: &Inode, map: &Map, (number, start): (u64, u64)) -> Result<(u64, Option<u64>), DiskError> {
        let (mut next, mut blocks) = (number + 1, None);
        loop {
            let begin = next << map.bits;
            if begin >= inode.size_bytes {
                return Ok((inode.size_bytes, blocks));
            }
            if begin - start > PIECE_BYTES_MAX {
                return Err(self.wrong(inode, "a piece of it is too large"));
            }
            let cluster = self.cluster(inode, map, next)?;
            if cluster.kind != CLUSTER_INNER {
                return Ok(((begin + cluster.offset).min(inode.size_bytes), blocks));
            }
            if next == number + 1 {
                blocks = cluster.blocks;
            }
            next += 1;
        }
    }

    fn located(
        &self,
        inode: &Inode,
        map: &Map,
        (head, blocks): (Cluster, Option<u64>),
        (start, end): (u64, u64),
    ) -> Result<Piece, DiskError> {
        let is_rotated = map.advise & INTERLACED != 0;
        let (form, is_big) = match head.kind {
            CLUSTER_PLAIN => (Form::Plain { is_rotated }, map.advise & BIG_PCLUSTER_2 != 0),
            CLUSTER_HEAD => (Form::Packed(map.algorithms & 0xf), map.advise & MAP_BIG_PCLUSTER != 0),
            _ => (Form::Packed(map.algorithms >> 4), map.advise & BIG_PCLUSTER_2 != 0),
        };
        let piece = Piece {
            start,
            end,
            form,
            place: self.offset(head.place),
            length: self.offset(blocks.filter(|_| is_big).unwrap_or(1)),
        };
        let is_last = end == inode.size_bytes;
        if is_last && map.advise & INLINE != 0 {
            let last = self.cluster(inode, map, (inode.size_bytes - 1) >> map.bits)?;
            return Ok(Piece {
                place: last.behind,
                length: u64::from(map.fragment >> 16),
                ..piece
            });
        }
        if is_last && map.advise & FRAGMENT != 0 {
            return Ok(Piece {
                form: Form::Fragment,
                place: head.place << 32 | u64::from(map.fragment),
                length: end - start,
                ..piece
            });
        }
        match piece.length > PACKED_BYTES_MAX {
            true => Err(self.wrong(inode, "a piece of it is too large")),
            false => Ok(piece),
        }
    }

    /// Reads the cluster `number`.
    fn cluster(&self, inode: &Inode, map: &Map, number: u64) -> Result<Cluster, DiskError> {
        match inode.layout {
            Layout::PackedCompact => self.small_cluster(inode, map, number),
            _ => self.full_cluster(map, number),
        }
    }

    fn full_cluster(&self, map: &Map, number: u64) -> Result<Cluster, DiskError> {
        let first = map.place + size_of::<MapHeader>() as u64 + UNUSED_BYTES;
        let place = first.saturating_add(number.saturating_mul(size_of::<ClusterIndex>() as u64));
        let record: ClusterIndex = self.area.record(MAP, place)?;
        let address = record.place.get();
        let distance = address & 0xffff;
        let blocks = (distance & CLUSTER_BLOCKS != 0).then_some(u64::from(distance & !CLUSTER_BLOCKS));
        Ok(Cluster {
            kind: record.advise.get() & 3,
            offset: record.clusterofs.get().into(),
            back: if blocks.is_some() { 1 } else { distance.into() },
            blocks,
            place: address.into(),
            behind: place + size_of::<ClusterIndex>() as u64,
        })
    }

    /// Reads a cluster of a map whose records have a few bits each, in packs that end with an address.
    fn small_cluster(&self, inode: &Inode, map: &Map, number: u64) -> Result<Cluster, DiskError> {
        let (place, record_bytes, count) = self.pack(inode, map, number)?;
        let pack_bytes = record_bytes * count;
        let start = place / pack_bytes * pack_bytes;
        let bytes = self.area.bytes(MAP, start, pack_bytes as usize)?;
        let pack = Pack {
            bytes: &bytes,
            record_bits: ((pack_bytes - 4) * 8 / count) as usize,
            low_bits: map.bits.max(12),
        };
        let own = ((place - start) / record_bytes) as usize;
        let damaged = || self.wrong(inode, "a pack of its map contradicts itself");
        let (kind, low) = pack.record(own).ok_or_else(damaged)?;
        let cluster = Cluster {
            kind,
            offset: low.into(),
            back: 0,
            blocks: None,
            place: 0,
            behind: start + pack_bytes,
        };
        if kind == CLUSTER_INNER {
            let blocks = (low & CLUSTER_BLOCKS != 0).then_some(u64::from(low & !CLUSTER_BLOCKS));
            let is_last = own as u64 + 1 == count;
            let back = match (blocks, is_last) {
                (Some(_), _) => 1,
                (None, false) => low.into(),
                // The last one says how far the next beginning is.
                (None, true) => pack.back(own).ok_or_else(damaged)?,
            };
            return Ok(Cluster {
                blocks,
                back,
                ..cluster
            });
        }
        let before = pack
            .blocks_before(own, map.advise & MAP_BIG_PCLUSTER != 0)
            .ok_or_else(damaged)?;
        let address = pack.address().ok_or_else(damaged)?;
        Ok(Cluster {
            place: u64::from(address) + before,
            ..cluster
        })
    }

    /// Returns the place of the record of cluster `number` in bytes, its share of the pack in bytes, and the number of
    /// records in the pack.
    fn pack(&self, inode: &Inode, map: &Map, number: u64) -> Result<(u64, u64, u64), DiskError> {
        let first = map.place + size_of::<MapHeader>() as u64;
        let total = inode.size_bytes.div_ceil(1 << map.bits);
        // The packs of small records are aligned to their length of 32 bytes.
        let before = ((32 - first % 32) / 4) % 8;
        let small = match map.advise & SMALL_RECORDS != 0 && before < total {
            true => (total - before) / 16 * 16,
            false => 0,
        };
        if small > 0 && map.bits > 12 {
            return Err(self.wrong(inode, "its map has records that are too small"));
        }
        Ok(match number.checked_sub(before) {
            None => (first + number * 4, 4, 2),
            Some(behind) if behind < small => (first + before * 4 + behind * 2, 2, 16),
            Some(behind) => {
                let place = first + before * 4 + small * 2;
                (place.saturating_add((behind - small).saturating_mul(4)), 4, 2)
            }
        })
    }
}

/// Records of a few bits each, and an address behind them.
struct Pack<'a> {
    bytes: &'a [u8],
    record_bits: usize,
    low_bits: u8,
}

impl Pack<'_> {
    /// Returns the kind and the other bits of a record.
    fn record(&self, number: usize) -> Option<(u16, u32)> {
        let bit = number * self.record_bits;
        let bytes = self.bytes.get(bit / 8..)?;
        let mut word = [0; 4];
        word.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
        let word = u32::from_le_bytes(word) >> (bit & 7);
        let kind = (word >> self.low_bits & 3) as u16;
        Some((kind, word & ((1 << self.low_bits) - 1)))
    }

    fn address(&self) -> Option<u32> {
        Some(u32::from_le_bytes(*self.bytes.last_chunk()?))
    }

    /// Returns the distance of the last record to its beginning, by the record before.
    fn back(&self, own: usize) -> Option<u64> {
        let (kind, low) = self.record(own.checked_sub(1)?)?;
        Some(match (kind, low & CLUSTER_BLOCKS) {
            (CLUSTER_INNER, 0) => u64::from(low) + 1,
            (CLUSTER_INNER, _) => 2,
            _ => 1,
        })
    }

    /// Counts the blocks of data that begin in the pack before the record `own`.
    fn blocks_before(&self, own: usize, is_big: bool) -> Option<u64> {
        let (mut at, mut blocks) = (own as i64, u64::from(!is_big));
        while at > 0 {
            at -= 1;
            let (kind, low) = self.record(at as usize)?;
            if kind != CLUSTER_INNER {
                blocks += 1;
            } else if !is_big {
                at -= i64::from(low);
                blocks += u64::from(at >= 0);
            } else if low & CLUSTER_BLOCKS != 0 {
                at -= 1;
                blocks += u64::from(low & !CLUSTER_BLOCKS);
            } else {
                at -= i64::from(low.checked_sub(2).filter(|_| low > 1)?);
            }
        }
        Some(blocks)
    }
}

/// All kinds of clusters are known.
const _: () = assert!(CLUSTER_HEAD2 == 3 && CLUSTER_PLAIN == 0);
