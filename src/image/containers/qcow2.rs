//! qcow2, the format of QEMU, version 3 (QEMU, `docs/interop/qcow2.txt`). The file is the header, the refcount table and
//! its blocks, the tables L1 and L2, and the clusters with data in the order of the disk.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use zerocopy::IntoBytes as _;

use super::disk::Disk;
use super::layout::Layout;
use super::qcow2_records::Header;

/// The length of a cluster in bits and in bytes: QEMU's default.
pub(super) const CLUSTER_BITS: u32 = 16;
pub(super) const CLUSTER_BYTES: u64 = 1 << CLUSTER_BITS;
/// The entries of 64 bits that fit into a cluster.
pub(super) const ENTRIES: u64 = CLUSTER_BYTES / 8;
/// The refcounts of 16 bits that fit into a cluster.
pub(super) const REFCOUNTS: u64 = CLUSTER_BYTES / 2;
/// The mark of a cluster whose refcount is exactly one ("L1 table entry", "L2 table entry": bit 63).
pub(super) const COPIED: u64 = 1 << 63;

/// The places of the metadata in a file, in clusters. They follow each other in this order behind the header.
#[derive(Debug, Clone, Copy)]
struct Places {
    /// Clusters of the refcount table, which begins at cluster 1.
    refcount_table: u64,
    /// Refcount blocks, one cluster each.
    refcount_blocks: u64,
    /// Clusters of the L1 table.
    l1: u64,
    /// L2 tables, one cluster each.
    l2: u64,
}

impl Places {
    /// Returns the places for a disk whose L1 table takes `l1` clusters, with `l2` L2 tables and `data` clusters behind
    /// them.
    fn new(l1: u64, l2: u64, data: u64) -> Self {
        let mut places = Self {
            refcount_table: 1,
            refcount_blocks: 1,
            l1,
            l2,
        };
        // The refcounts count themselves.
        while places.refcount_blocks * REFCOUNTS < places.data() + data {
            places.refcount_blocks += 1;
            places.refcount_table = places.refcount_blocks.div_ceil(ENTRIES);
        }
        places
    }

    fn refcount_blocks_at(&self) -> u64 {
        1 + self.refcount_table
    }

    fn l1_at(&self) -> u64 {
        self.refcount_blocks_at() + self.refcount_blocks
    }

    fn l2_at(&self) -> u64 {
        self.l1_at() + self.l1
    }

    /// Returns the first cluster of the data.
    fn data(&self) -> u64 {
        self.l2_at() + self.l2
    }

    /// Appends all before the L2 tables to `layout`, for a file of `clusters` clusters. `tables` are the L2 tables that
    /// exist, ascending.
    fn append(&self, layout: &mut Layout, disk: &Disk<'_>, tables: &[u64], clusters: u64) {
        let l1_entries = disk.block_count(CLUSTER_BYTES * ENTRIES);
        let header = Header {
            cluster_bits: CLUSTER_BITS.into(),
            size_bytes: disk.size_bytes.into(),
            l1_entries: (l1_entries as u32).into(),
            l1_offset: (self.l1_at() * CLUSTER_BYTES).into(),
            refcount_table_offset: CLUSTER_BYTES.into(),
            refcount_table_clusters: (self.refcount_table as u32).into(),
            ..Header::default()
        };
        layout.bytes(header.as_bytes());
        layout.align(CLUSTER_BYTES);
        let blocks = (0..self.refcount_blocks).map(|index| (self.refcount_blocks_at() + index) * CLUSTER_BYTES);
        append_entries(layout, &blocks.collect::<Vec<_>>());
        layout.bytes(&1_u16.to_be_bytes().repeat(clusters as usize));
        layout.zeros_to(self.l1_at() * CLUSTER_BYTES);
        let mut l1 = vec![0; l1_entries as usize];
        for (place, table) in (self.l2_at()..).zip(tables) {
            l1[*table as usize] = COPIED | (place * CLUSTER_BYTES);
        }
        append_entries(layout, &l1);
    }
}

/// Appends a table of 64-bit entries, up to the end of its last cluster.
fn append_entries(layout: &mut Layout, entries: &[u64]) {
    let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.to_be_bytes()).collect();
    layout.bytes(&bytes);
    layout.align(CLUSTER_BYTES);
}

/// Makes a qcow2 file of `disk`.
pub fn layout(disk: &Disk<'_>) -> Layout {
    let clusters = disk.blocks(CLUSTER_BYTES);
    let mut tables: Vec<u64> = clusters.iter().map(|cluster| cluster / ENTRIES).collect();
    tables.dedup();
    let l1 = disk.block_count(CLUSTER_BYTES * ENTRIES).div_ceil(ENTRIES);
    let places = Places::new(l1, tables.len() as u64, clusters.len() as u64);
    let mut layout = Layout::default();
    places.append(&mut layout, disk, &tables, places.data() + clusters.len() as u64);
    let mut placed = (places.data()..).zip(&clusters).peekable();
    for table in tables {
        let mut entries = vec![0; ENTRIES as usize];
        while let Some((place, cluster)) = placed.next_if(|(_, cluster)| *cluster / ENTRIES == table) {
            entries[(cluster % ENTRIES) as usize] = COPIED | (place * CLUSTER_BYTES);
        }
        append_entries(&mut layout, &entries);
    }
    for cluster in clusters {
        disk.append_block(&mut layout, CLUSTER_BYTES, cluster);
    }
    layout
}

/// The type of the header extension with the format of the file below ("Header extensions").
const BELOW_FORMAT: u32 = 0xe279_2aca;

/// Makes a qcow2 file of `size_bytes` without data: what is in the file at `below`, in `format` (a word of QEMU), shows
/// through it, and zeros behind that.
pub fn above(below: &Path, format: &str, size_bytes: u64) -> Vec<u8> {
    let l1_entries = size_bytes.div_ceil(CLUSTER_BYTES * ENTRIES);
    let l1 = l1_entries.div_ceil(ENTRIES);
    let places = Places::new(l1, 0, 0);
    // The extension stands where the header ends the list of extensions.
    let mut extension = Vec::new();
    extension.extend(BELOW_FORMAT.to_be_bytes());
    extension.extend((format.len() as u32).to_be_bytes());
    extension.extend(format.as_bytes());
    extension.resize(extension.len().next_multiple_of(8) + 8, 0);
    let header_bytes = Header::default().as_bytes().len() - 8;
    let name = below.as_os_str().as_bytes();
    let header = Header {
        backing_file_offset: ((header_bytes + extension.len()) as u64).into(),
        backing_file_length: (name.len() as u32).into(),
        cluster_bits: CLUSTER_BITS.into(),
        size_bytes: size_bytes.into(),
        l1_entries: (l1_entries as u32).into(),
        l1_offset: (places.l1_at() * CLUSTER_BYTES).into(),
        refcount_table_offset: CLUSTER_BYTES.into(),
        refcount_table_clusters: (places.refcount_table as u32).into(),
        ..Header::default()
    };
    let mut file = header.as_bytes()[..header_bytes].to_vec();
    file.extend(extension);
    file.extend(name);
    let to = |file: &mut Vec<u8>, cluster: u64| file.resize((cluster * CLUSTER_BYTES) as usize, 0);
    to(&mut file, 1);
    for index in 0..places.refcount_blocks {
        file.extend(((places.refcount_blocks_at() + index) * CLUSTER_BYTES).to_be_bytes());
    }
    to(&mut file, places.refcount_blocks_at());
    file.extend(1_u16.to_be_bytes().repeat(places.data() as usize));
    to(&mut file, places.data());
    file
}
