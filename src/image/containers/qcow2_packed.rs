//! qcow2 with compressed clusters (QEMU, `docs/interop/qcow2.txt`, "Compressed Clusters Descriptor" and "compression_type").
//! The file is the header, the compressed clusters one after the other, and all tables behind them.

use std::io::{self, Write};

use zerocopy::IntoBytes as _;

use super::disk::{Disk, SECTOR_BYTES};
use super::packed::{Pack, Packer};
use super::qcow2::{CLUSTER_BITS, CLUSTER_BYTES, COPIED, ENTRIES, REFCOUNTS};
use super::qcow2_records::{Header, INCOMPATIBLE_COMPRESSION};

/// The level of the compression, as for other zstd files.
const LEVEL: i32 = 6;
/// The mark of a compressed cluster (bit 62), and the place of the number of sectors in its descriptor (bit `62 -
/// (cluster_bits - 8)`).
const COMPRESSED: u64 = 1 << 62;
const SECTORS_BIT: u32 = 62 - (CLUSTER_BITS - 8);

/// Compresses a cluster.
///
/// # Errors
/// If the library fails.
pub fn pack(block: &[u8]) -> io::Result<Vec<u8>> {
    let mut cluster = block.to_vec();
    cluster.resize(CLUSTER_BYTES as usize, 0);
    let packed = zstd::bulk::compress(&cluster, LEVEL)?;
    // A cluster that compression does not make shorter is kept as it is.
    Ok(if packed.len() < cluster.len() { packed } else { cluster })
}

/// A qcow2 file with compressed clusters that is being written.
#[derive(Debug)]
pub struct Packed {
    size_bytes: u64,
    /// The bytes that are written.
    end: u64,
    /// The clusters of the disk that are written, each with its entry in its L2 table.
    clusters: Vec<(u64, u64)>,
    /// The number of references to each cluster of the file.
    refcounts: Vec<u16>,
}

impl Packed {
    /// Makes the file of `disk`.
    pub fn new(disk: &Disk<'_>) -> Self {
        Self {
            size_bytes: disk.size_bytes,
            end: 0,
            clusters: Vec::new(),
            refcounts: Vec::new(),
        }
    }

    fn write(&mut self, output: &mut dyn Write, bytes: &[u8]) -> io::Result<()> {
        output.write_all(bytes)?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Writes zeros up to the end of the cluster.
    fn align(&mut self, output: &mut dyn Write) -> io::Result<()> {
        let rest = self.end.next_multiple_of(CLUSTER_BYTES) - self.end;
        self.write(output, &vec![0; rest as usize])
    }

    /// Counts a reference to each cluster of the file from the byte `start` to the byte `end`.
    fn refer(&mut self, start: u64, end: u64) {
        let (first, last) = ((start / CLUSTER_BYTES) as usize, end.div_ceil(CLUSTER_BYTES) as usize);
        self.refcounts.resize(self.refcounts.len().max(last), 0);
        for count in &mut self.refcounts[first..last] {
            *count += 1;
        }
    }

    /// Writes a table of 64-bit entries and returns its place in bytes.
    fn table(&mut self, output: &mut dyn Write, entries: &[u64]) -> io::Result<u64> {
        let place = self.end;
        let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.to_be_bytes()).collect();
        self.write(output, &bytes)?;
        self.align(output)?;
        self.refer(place, self.end);
        Ok(place)
    }

    /// Writes the header's cluster, still empty, unless that was done.
    fn begin(&mut self, output: &mut dyn Write) -> io::Result<()> {
        if self.end > 0 {
            return Ok(());
        }
        self.table(output, &[0; ENTRIES as usize]).map(drop)
    }

    /// Writes the L2 tables and the L1 table; returns the place of the latter in bytes, and its entries.
    fn mapping(&mut self, output: &mut dyn Write) -> io::Result<(u64, u64)> {
        let count = self.size_bytes.div_ceil(CLUSTER_BYTES * ENTRIES);
        let mut l1 = vec![0; count as usize];
        let clusters = std::mem::take(&mut self.clusters);
        for table in clusters.chunk_by(|a, b| a.0 / ENTRIES == b.0 / ENTRIES) {
            let mut entries = vec![0; ENTRIES as usize];
            for (cluster, entry) in table {
                entries[(cluster % ENTRIES) as usize] = *entry;
            }
            let place = self.table(output, &entries)?;
            if let Some((cluster, _)) = table.first() {
                l1[(cluster / ENTRIES) as usize] = COPIED | place;
            }
        }
        Ok((self.table(output, &l1)?, count))
    }

    /// Writes the refcount blocks and their table, which count themselves; returns the place of the table in bytes, and
    /// its clusters.
    fn counts(&mut self, output: &mut dyn Write) -> io::Result<(u64, u64)> {
        let used = self.end / CLUSTER_BYTES;
        let (mut blocks, mut tables) = (1, 1);
        while blocks * REFCOUNTS < used + blocks + tables {
            blocks += 1;
            tables = blocks.div_ceil(ENTRIES);
        }
        self.refer(self.end, self.end + (blocks + tables) * CLUSTER_BYTES);
        let places: Vec<u64> = (0..blocks).map(|block| (used + block) * CLUSTER_BYTES).collect();
        let counts = std::mem::take(&mut self.refcounts);
        let counts: Vec<u8> = counts.iter().flat_map(|count| count.to_be_bytes()).collect();
        self.write(output, &counts)?;
        let rest = (used + blocks) * CLUSTER_BYTES - self.end;
        self.write(output, &vec![0; rest as usize])?;
        let place = self.table(output, &places)?;
        Ok((place, tables))
    }
}

impl Packer for Packed {
    fn block_bytes(&self) -> u64 {
        CLUSTER_BYTES
    }

    fn pack(&self) -> Pack {
        pack
    }

    fn append(&mut self, index: u64, packed: &[u8], output: &mut dyn Write) -> io::Result<u64> {
        self.begin(output)?;
        if packed.len() as u64 == CLUSTER_BYTES {
            self.align(output)?;
            let place = self.end;
            self.write(output, packed)?;
            self.refer(place, self.end);
            self.clusters.push((index, COPIED | place));
            return Ok(place);
        }
        let place = self.end;
        self.write(output, packed)?;
        let first = place / SECTOR_BYTES;
        let more_sectors = (self.end - 1) / SECTOR_BYTES - first;
        self.refer(first * SECTOR_BYTES, (first + more_sectors + 1) * SECTOR_BYTES);
        self.clusters
            .push((index, COMPRESSED | (more_sectors << SECTORS_BIT) | place));
        Ok(place)
    }

    fn finish(&mut self, output: &mut dyn Write) -> io::Result<Vec<u8>> {
        self.begin(output)?;
        self.align(output)?;
        let (l1_offset, l1_entries) = self.mapping(output)?;
        let (refcount_table_offset, refcount_table_clusters) = self.counts(output)?;
        let header = Header {
            cluster_bits: CLUSTER_BITS.into(),
            size_bytes: self.size_bytes.into(),
            l1_entries: (l1_entries as u32).into(),
            l1_offset: l1_offset.into(),
            refcount_table_offset: refcount_table_offset.into(),
            refcount_table_clusters: (refcount_table_clusters as u32).into(),
            incompatible_features: INCOMPATIBLE_COMPRESSION.into(),
            compression: 1,
            ..Header::default()
        };
        Ok(header.as_bytes().to_vec())
    }
}
