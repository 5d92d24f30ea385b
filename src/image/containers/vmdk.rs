//! VMDK, the format of VMware, as one sparse file (VMware, "Virtual Disk Format 5.0", "Hosted Sparse Extents"): what
//! Workstation and VirtualBox run from. vSphere and the clouds import [`super::vmdk_stream`] instead.

use zerocopy::IntoBytes as _;

use super::disk::{Disk, SECTOR_BYTES};
use super::layout::Layout;
pub use super::vmdk_records::MAX_BYTES;
use super::vmdk_records::{
    DESCRIPTOR_END, ENTRIES, GRAIN_BYTES, Header, Kind, TABLE_BYTES, TABLE_SECTORS, descriptor, table_count,
};

/// Makes a sparse VMDK file of `disk`, which is at most [`MAX_BYTES`] long. `name` is the file's name, which its
/// descriptor repeats.
pub fn sparse(disk: &Disk<'_>, name: &str) -> Layout {
    let tables = table_count(disk);
    let directory_sectors = (tables * 4).div_ceil(SECTOR_BYTES);
    let both_sectors = directory_sectors + tables * TABLE_SECTORS;
    // Directory and tables are there twice.
    let directories = [DESCRIPTOR_END, DESCRIPTOR_END + both_sectors];
    let data = ((DESCRIPTOR_END + 2 * both_sectors) * SECTOR_BYTES).next_multiple_of(GRAIN_BYTES);
    let mut header = Header::new(disk, Kind::Sparse);
    header.redundant_directory = directories[0].into();
    header.directory = directories[1].into();
    header.overhead = (data / SECTOR_BYTES).into();
    let mut layout = Layout::default();
    layout.bytes(header.as_bytes());
    layout.bytes(&descriptor(disk, name, Kind::Sparse));
    let grains = disk.blocks(GRAIN_BYTES);
    for directory in directories {
        append_tables(&mut layout, (directory, directory_sectors), tables, (data, &grains));
    }
    layout.zeros_to(data);
    for grain in grains {
        disk.append_block(&mut layout, GRAIN_BYTES, grain);
    }
    layout
}

/// Appends a grain directory (its first sector and length in sectors), and its tables of the grains that lie from the
/// byte `data` on.
fn append_tables(layout: &mut Layout, directory: (u64, u64), tables: u64, (data, grains): (u64, &[u64])) {
    let first = directory.0 + directory.1;
    let places = (0..tables).map(|table| (first + table * TABLE_SECTORS) as u32);
    layout.bytes(&places.flat_map(u32::to_le_bytes).collect::<Vec<_>>());
    layout.align(SECTOR_BYTES);
    let mut placed = (0..).zip(grains).peekable();
    for table in 0..tables {
        let mut bytes = vec![0; TABLE_BYTES as usize];
        let mut is_empty = true;
        while let Some((place, grain)) = placed.next_if(|(_, grain)| *grain / ENTRIES == table) {
            let sector = (data + place * GRAIN_BYTES) / SECTOR_BYTES;
            let at = (grain % ENTRIES) as usize * 4;
            bytes[at..at + 4].copy_from_slice(&(sector as u32).to_le_bytes());
            is_empty = false;
        }
        match is_empty {
            true => layout.zeros(TABLE_BYTES),
            false => layout.bytes(&bytes),
        }
    }
}
