//! VDI, the format of VirtualBox (VirtualBox, `src/VBox/Storage/VDICore.h`, header version 1.1). The file is the header, a
//! map of the blocks, and the blocks with data.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, Unaligned};

use super::disk::{Disk, SECTOR_BYTES};
use super::layout::Layout;

/// The length of a block in bytes: VirtualBox's default, and the only one that QEMU knows.
const BLOCK_BYTES: u64 = 1 << 20;
/// The largest size of a disk in bytes: block numbers have 32 bits, and the last two are marks.
pub const MAX_BYTES: u64 = (u32::MAX as u64 - 2) * BLOCK_BYTES;
/// The offset of the map in bytes.
const MAP_OFFSET: u64 = SECTOR_BYTES;
/// The map's entry of a block that is not in the file; it reads as zeros.
const ABSENT: u32 = u32::MAX;

/// The pre-header and the header (`VDIPREHEADER`, `VDIHEADER1PLUS`), up to the end of the sector.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Header {
    pub(crate) info: [u8; 64],
    pub(crate) signature: U32,
    pub(crate) version: U32,
    pub(crate) header_bytes: U32,
    /// 1 is a disk that grows.
    pub(crate) kind: U32,
    pub(crate) flags: U32,
    pub(crate) comment: [u8; 256],
    pub(crate) map_offset: U32,
    pub(crate) data_offset: U32,
    pub(crate) cylinders: U32,
    pub(crate) heads: U32,
    pub(crate) sectors: U32,
    pub(crate) sector_bytes: U32,
    pub(crate) unused: U32,
    pub(crate) size_bytes: U64,
    pub(crate) block_bytes: U32,
    pub(crate) block_extra_bytes: U32,
    pub(crate) blocks: U32,
    pub(crate) blocks_allocated: U32,
    pub(crate) uuid: [u8; 16],
    pub(crate) uuid_of_modification: [u8; 16],
    pub(crate) uuid_of_parent: [u8; 16],
    pub(crate) uuid_of_parent_modification: [u8; 16],
    /// Cylinders, heads, sectors and sector size as the firmware sees them; VirtualBox computes them if they are zero.
    pub(crate) logical_geometry: [U32; 4],
    pub(crate) padding: [u8; 40],
}

/// Makes a VDI file of `disk`, which is at most [`MAX_BYTES`] long.
pub fn layout(disk: &Disk<'_>) -> Layout {
    let blocks = disk.blocks(BLOCK_BYTES);
    let count = disk.block_count(BLOCK_BYTES);
    let data_offset = (MAP_OFFSET + count * 4).next_multiple_of(BLOCK_BYTES);
    let mut info = [0; 64];
    let text = b"<<< Oracle VM VirtualBox Disk Image >>>\n";
    info[..text.len()].copy_from_slice(text);
    let header = Header {
        info,
        signature: 0xbeda_107f.into(),
        version: 0x0001_0001.into(),
        header_bytes: 400.into(),
        kind: 1.into(),
        flags: 0.into(),
        comment: [0; 256],
        map_offset: (MAP_OFFSET as u32).into(),
        data_offset: (data_offset as u32).into(),
        cylinders: 0.into(),
        heads: 0.into(),
        sectors: 0.into(),
        sector_bytes: (SECTOR_BYTES as u32).into(),
        unused: 0.into(),
        size_bytes: disk.size_bytes.into(),
        block_bytes: (BLOCK_BYTES as u32).into(),
        block_extra_bytes: 0.into(),
        blocks: (count as u32).into(),
        blocks_allocated: (blocks.len() as u32).into(),
        uuid: disk.uuid.to_bytes_le(),
        uuid_of_modification: disk.uuid.to_bytes_le(),
        uuid_of_parent: [0; 16],
        uuid_of_parent_modification: [0; 16],
        logical_geometry: [0.into(); 4],
        padding: [0; 40],
    };
    let mut map = vec![ABSENT; count as usize];
    for (place, block) in (0..).zip(&blocks) {
        map[*block as usize] = place;
    }
    let map: Vec<u8> = map.iter().flat_map(|entry| entry.to_le_bytes()).collect();
    let mut layout = Layout::default();
    layout.bytes(header.as_bytes());
    layout.bytes(&map);
    layout.zeros_to(data_offset);
    for block in blocks {
        disk.append_block(&mut layout, BLOCK_BYTES, block);
    }
    layout
}
