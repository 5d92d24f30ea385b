//! VHD, the older format of Microsoft ("Virtual Hard Disk Image Format Specification", version 1.0). A *fixed* one is the
//! disk and a footer; a *dynamic* one has a table of the blocks that hold data.

use uuid::Uuid;
use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, Unaligned};

use super::disk::{Disk, SECTOR_BYTES};
use super::layout::Layout;

/// The length of a block of a dynamic disk in bytes: the default of the specification.
const BLOCK_BYTES: u64 = 2 << 20;
/// The largest size of a dynamic disk in bytes, 2040 GiB ("Dynamic Disk Header Format").
pub const DYNAMIC_MAX_BYTES: u64 = 2040 << 30;
/// The size of a fixed disk is a multiple of this, in bytes, for Azure.
pub const FIXED_UNIT_BYTES: u64 = 1 << 20;
/// The entry of a block that is not in the file, and the offset of a structure that does not exist.
const ABSENT: u32 = u32::MAX;
const NOWHERE: u64 = u64::MAX;
/// The offset of the dynamic disk's header in bytes, behind the copy of the footer; the table follows it.
const HEADER_OFFSET: u64 = SECTOR_BYTES;
const TABLE_OFFSET: u64 = HEADER_OFFSET + size_of::<DynamicHeader>() as u64;
/// File systems share blocks that begin at a multiple of this, in bytes.
const SHARED_BYTES: u64 = 4096;

/// "Disk Type".
#[derive(Debug, Clone, Copy)]
enum Kind {
    Fixed = 2,
    Dynamic = 3,
}

/// "Hard Disk Footer Format".
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Footer {
    pub(crate) cookie: [u8; 8],
    pub(crate) features: U32,
    pub(crate) version: U32,
    pub(crate) data_offset: U64,
    /// Seconds since 2000.
    pub(crate) time_stamp: U32,
    pub(crate) creator: [u8; 4],
    pub(crate) creator_version: U32,
    pub(crate) creator_host: [u8; 4],
    pub(crate) original_size: U64,
    pub(crate) current_size: U64,
    pub(crate) cylinders: U16,
    pub(crate) heads: u8,
    pub(crate) sectors: u8,
    pub(crate) kind: U32,
    pub(crate) checksum: U32,
    pub(crate) uuid: [u8; 16],
    pub(crate) saved_state: u8,
    pub(crate) reserved: [u8; 427],
}

impl Footer {
    fn new(disk: &Disk<'_>, kind: Kind) -> Self {
        let mut footer = Self {
            cookie: *b"conectix",
            // The reserved bit, which is always set.
            features: 2.into(),
            version: 0x0001_0000.into(),
            data_offset: match kind {
                Kind::Fixed => NOWHERE,
                Kind::Dynamic => HEADER_OFFSET,
            }
            .into(),
            time_stamp: 0.into(),
            creator: *b"oic ",
            creator_version: 0x0001_0000.into(),
            creator_host: *b"Wi2k",
            original_size: disk.size_bytes.into(),
            current_size: disk.size_bytes.into(),
            // The largest geometry: readers then take the current size, where a smaller geometry would round the size of
            // the disk down to whole cylinders. Azure takes the current size in any case.
            cylinders: 65535.into(),
            heads: 16,
            sectors: 255,
            kind: (kind as u32).into(),
            checksum: 0.into(),
            uuid: *disk.uuid.as_bytes(),
            saved_state: 0,
            reserved: [0; 427],
        };
        footer.checksum = checksum(footer.as_bytes()).into();
        footer
    }
}

/// "Dynamic Disk Header Format".
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct DynamicHeader {
    pub(crate) cookie: [u8; 8],
    pub(crate) data_offset: U64,
    pub(crate) table_offset: U64,
    pub(crate) version: U32,
    pub(crate) entries: U32,
    pub(crate) block_bytes: U32,
    pub(crate) checksum: U32,
    pub(crate) parent: [u8; 16],
    pub(crate) parent_time_stamp: U32,
    pub(crate) reserved: U32,
    pub(crate) parent_name: [u8; 512],
    pub(crate) parent_locators: [u8; 8 * 24],
    pub(crate) reserved_too: [u8; 256],
}

impl DynamicHeader {
    fn new(entries: u64) -> Self {
        let mut header = Self {
            cookie: *b"cxsparse",
            data_offset: NOWHERE.into(),
            table_offset: TABLE_OFFSET.into(),
            version: 0x0001_0000.into(),
            entries: (entries as u32).into(),
            block_bytes: (BLOCK_BYTES as u32).into(),
            checksum: 0.into(),
            parent: *Uuid::nil().as_bytes(),
            parent_time_stamp: 0.into(),
            reserved: 0.into(),
            parent_name: [0; 512],
            parent_locators: [0; 8 * 24],
            reserved_too: [0; 256],
        };
        header.checksum = checksum(header.as_bytes()).into();
        header
    }
}

/// Returns the one's complement of the sum of `bytes`, whose checksum field is zero.
pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>()
}

/// Makes a fixed VHD file of `disk`. Azure takes it if the disk is a whole number of MiB, [`FIXED_UNIT_BYTES`] (Microsoft Learn, "Prepare a
/// Windows VHD or VHDX to upload to Azure" and "Information for non-endorsed distributions": "All VHDs on Azure must have a
/// virtual size aligned to 1 MB").
pub fn fixed(disk: &Disk<'_>) -> Layout {
    let mut layout = Layout::default();
    for range in disk.data_in(0..disk.size_bytes) {
        layout.zeros_to(range.start);
        layout.raw(range);
    }
    layout.zeros_to(disk.size_bytes);
    layout.bytes(Footer::new(disk, Kind::Fixed).as_bytes());
    layout
}

/// Makes a dynamic VHD file of `disk`, which is at most [`DYNAMIC_MAX_BYTES`] long.
pub fn dynamic(disk: &Disk<'_>) -> Layout {
    let blocks = disk.blocks(BLOCK_BYTES);
    let entries = disk.block_count(BLOCK_BYTES);
    let table_end = (TABLE_OFFSET + entries * 4).next_multiple_of(SECTOR_BYTES);
    // A block begins with a sector of bits, one for each sector of data. It ends where the data can be shared.
    let bitmap_at = |end: u64| (end + SECTOR_BYTES).next_multiple_of(SHARED_BYTES) - SECTOR_BYTES;
    let stride = BLOCK_BYTES + SHARED_BYTES;
    let first = bitmap_at(table_end);
    let mut table = vec![ABSENT; (table_end - TABLE_OFFSET) as usize / 4];
    for (place, block) in (0..).zip(&blocks) {
        table[*block as usize] = ((first + place * stride) / SECTOR_BYTES) as u32;
    }
    let footer = Footer::new(disk, Kind::Dynamic);
    let mut layout = Layout::default();
    layout.bytes(footer.as_bytes());
    layout.bytes(DynamicHeader::new(entries).as_bytes());
    let table: Vec<u8> = table.iter().flat_map(|entry| entry.to_be_bytes()).collect();
    layout.bytes(&table);
    for block in blocks {
        layout.zeros_to(bitmap_at(layout.size_bytes()));
        layout.bytes(&[0xff; SECTOR_BYTES as usize]);
        disk.append_block(&mut layout, BLOCK_BYTES, block);
    }
    layout.bytes(footer.as_bytes());
    layout
}
