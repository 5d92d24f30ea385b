//! VHDX, the newer format of Microsoft ([MS-VHDX], "Virtual Hard Disk v2 (VHDX) File Format"). The file is a header section
//! of 1 MiB, an empty log, the metadata region, the block allocation table (BAT), and the blocks with data. All begin at
//! multiples of 1 MiB.

use uuid::{Uuid, uuid};
use zerocopy::IntoBytes as _;

use super::disk::{Disk, SECTOR_BYTES};
use super::layout::Layout;
use super::vhdx_records::{FileHeader, FileParameters, MetadataEntry, MetadataTable, RegionEntry, RegionTable};

const MIB: u64 = 1 << 20;
const KIB: u64 = 1 << 10;
/// The length of a block in bytes: the smallest one (section 2.6.2.1), for the fewest zeros.
const BLOCK_BYTES: u64 = MIB;
/// The largest size of a disk in bytes, 64 TiB (section 2.6.2.4).
pub const MAX_BYTES: u64 = 64 << 40;
/// The number of blocks to a sector bitmap entry of the BAT (section 2.5).
const CHUNK_RATIO: u64 = (1 << 23) * SECTOR_BYTES / BLOCK_BYTES;
/// The state of a block that lies in the file (section 2.5.1.1).
const FULLY_PRESENT: u64 = 6;
/// The places of the log and of the regions in bytes.
const LOG_OFFSET: u64 = MIB;
const METADATA_OFFSET: u64 = 2 * MIB;
const BAT_OFFSET: u64 = 3 * MIB;
/// The offset of the metadata items in their region in bytes (section 2.6.1.2).
const ITEMS_OFFSET: u32 = 64 << 10;

/// The known regions (section 2.2.3.2) and items (section 2.6.2).
pub(crate) const BAT: Uuid = uuid!("2dc27766-f623-4200-9d64-115e9bfd4a08");
pub(crate) const METADATA: Uuid = uuid!("8b7ca206-4790-4b9a-b8fe-575f050f886e");
pub(crate) const FILE_PARAMETERS: Uuid = uuid!("caa16737-fa36-4d43-b3b6-33f0aa44e76b");
pub(crate) const VIRTUAL_DISK_SIZE: Uuid = uuid!("2fa54224-cd1b-4876-b211-5dbed83bf4b8");
const VIRTUAL_DISK_ID: Uuid = uuid!("beca12ab-b2e6-4523-93ef-c309e000c746");
pub(crate) const LOGICAL_SECTOR_SIZE: Uuid = uuid!("8141bf1d-a96f-4709-ba47-f233a8faab5f");
const PHYSICAL_SECTOR_SIZE: Uuid = uuid!("cda348c7-445d-4471-9cc9-e9885251c556");
/// The flags of a metadata entry: it describes the virtual disk; readers must know it (section 2.6.1.2).
const IS_VIRTUAL_DISK: u32 = 1 << 1;
const IS_REQUIRED: u32 = 1 << 2;

/// Makes a VHDX file of `disk`, which is at most [`MAX_BYTES`] long.
pub fn layout(disk: &Disk<'_>) -> Layout {
    let blocks = disk.blocks(BLOCK_BYTES);
    let count = disk.block_count(BLOCK_BYTES);
    let entries = count + count.saturating_sub(1) / CHUNK_RATIO;
    let bat_bytes = (entries * 8).next_multiple_of(MIB);
    let data_mib = (BAT_OFFSET + bat_bytes) / MIB;
    let mut bat = vec![0; entries as usize];
    for (place_mib, block) in (data_mib..).zip(&blocks) {
        bat[(block + block / CHUNK_RATIO) as usize] = (place_mib << 20) | FULLY_PRESENT;
    }
    let mut layout = Layout::default();
    append_headers(&mut layout, disk, bat_bytes);
    // A log without an identifier is empty (section 2.3).
    layout.zeros_to(METADATA_OFFSET);
    append_metadata(&mut layout, disk);
    layout.zeros_to(BAT_OFFSET);
    let bat: Vec<u8> = bat.iter().flat_map(|entry: &u64| entry.to_le_bytes()).collect();
    layout.bytes(&bat);
    layout.zeros_to(BAT_OFFSET + bat_bytes);
    for block in blocks {
        disk.append_block(&mut layout, BLOCK_BYTES, block);
    }
    layout
}

/// Appends the header section (section 2.2): the identifier, two headers and two region tables, each at a multiple of
/// 64 KiB.
fn append_headers(layout: &mut Layout, disk: &Disk<'_>, bat_bytes: u64) {
    layout.bytes(b"vhdxfile");
    let creator: Vec<u8> = "oic".encode_utf16().flat_map(u16::to_le_bytes).collect();
    layout.bytes(&creator);
    for sequence_number in [0, 1] {
        layout.align(64 * KIB);
        layout.bytes(FileHeader::new(sequence_number, disk.uuid, (LOG_OFFSET, MIB)).as_bytes());
    }
    let table = RegionTable::new([
        RegionEntry::new(BAT, BAT_OFFSET, bat_bytes),
        RegionEntry::new(METADATA, METADATA_OFFSET, MIB),
    ]);
    for _copy in 0..2 {
        layout.align(64 * KIB);
        layout.bytes(table.as_bytes());
    }
}

/// Appends the metadata region (section 2.6): a table, and the items behind it.
fn append_metadata(layout: &mut Layout, disk: &Disk<'_>) {
    let parameters = FileParameters {
        block_bytes: (BLOCK_BYTES as u32).into(),
        flags: 0.into(),
    };
    let items = [
        (FILE_PARAMETERS, IS_REQUIRED, parameters.as_bytes().to_vec()),
        (
            VIRTUAL_DISK_SIZE,
            IS_REQUIRED | IS_VIRTUAL_DISK,
            disk.size_bytes.to_le_bytes().to_vec(),
        ),
        (
            VIRTUAL_DISK_ID,
            IS_REQUIRED | IS_VIRTUAL_DISK,
            disk.uuid.to_bytes_le().to_vec(),
        ),
        (
            LOGICAL_SECTOR_SIZE,
            IS_REQUIRED | IS_VIRTUAL_DISK,
            (SECTOR_BYTES as u32).to_le_bytes().to_vec(),
        ),
        (
            PHYSICAL_SECTOR_SIZE,
            IS_REQUIRED | IS_VIRTUAL_DISK,
            4096_u32.to_le_bytes().to_vec(),
        ),
    ];
    layout.bytes(MetadataTable::new(items.len() as u16).as_bytes());
    let mut offset = ITEMS_OFFSET;
    for (id, flags, item) in &items {
        layout.bytes(MetadataEntry::new(*id, offset, item.len() as u32, *flags).as_bytes());
        offset += item.len() as u32;
    }
    layout.zeros_to(METADATA_OFFSET + u64::from(ITEMS_OFFSET));
    for (_, _, item) in &items {
        layout.bytes(item);
    }
}
