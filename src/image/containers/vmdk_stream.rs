//! VMDK as a stream of compressed grains (VMware, "Virtual Disk Format 5.0", "Stream-Optimized Compressed Sparse
//! Extents"): what vSphere imports, OVF packages carry, and AWS takes.
//!
//! The file is the header and the descriptor, then each table of grains behind the grains that it names, the grain
//! directory, and a footer that says where the directory is. So it can be written from its first byte to its last.

use std::io::{self, Write};

use zerocopy::IntoBytes as _;

use super::disk::{Disk, SECTOR_BYTES};
use super::packed::{Pack, Packer};
use super::vmdk_records::{
    AT_END, ENTRIES, GRAIN_BYTES, Header, Kind, Marker, MarkerKind, MetadataMarker, TABLE_SECTORS, descriptor,
    table_count,
};

/// The level of the compression: the one that zlib calls its default.
const LEVEL: u32 = 6;
/// The first sector of the grains.
const DATA_SECTOR: u64 = 128;

/// Compresses a grain (RFC 1950), whole also at the end of the disk.
///
/// # Errors
/// If the library fails.
pub fn pack(block: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(LEVEL));
    encoder.write_all(block)?;
    encoder.write_all(&[0; GRAIN_BYTES as usize][block.len()..])?;
    encoder.finish()
}

/// A stream-optimized VMDK file that is being written.
#[derive(Debug)]
pub struct Stream {
    header: Header,
    /// The text behind the header, until it is written.
    descriptor: Vec<u8>,
    /// The places (sectors) of the tables that are written; 0 for those without a grain.
    directory: Vec<u32>,
    /// The number of tables of the whole disk.
    tables: u64,
    /// The table of the grains that come now, if it has any.
    table: Option<Box<[u32; ENTRIES as usize]>>,
    /// The sector that is written next.
    sector: u64,
}

impl Stream {
    /// Makes the file of `disk`, whose size is at most [`super::vmdk::MAX_BYTES`]. `name` is its name, which its
    /// descriptor repeats.
    pub fn new(disk: &Disk<'_>, name: &str) -> Self {
        let mut header = Header::new(disk, Kind::Stream);
        header.directory = AT_END.into();
        header.overhead = DATA_SECTOR.into();
        Self {
            header,
            descriptor: descriptor(disk, name, Kind::Stream),
            directory: Vec::new(),
            tables: table_count(disk),
            table: None,
            sector: 0,
        }
    }

    /// Writes `parts` and the zeros behind them up to the end of the sector.
    fn write(&mut self, output: &mut dyn Write, parts: &[&[u8]]) -> io::Result<()> {
        let mut length = 0;
        for part in parts {
            output.write_all(part)?;
            length += part.len();
        }
        let whole = length.next_multiple_of(SECTOR_BYTES as usize);
        output.write_all(&[0; SECTOR_BYTES as usize][..whole - length])?;
        self.sector += whole as u64 / SECTOR_BYTES;
        Ok(())
    }

    /// Writes the tables up to the one before `table`.
    fn end_tables(&mut self, table: u64, output: &mut dyn Write) -> io::Result<()> {
        while (self.directory.len() as u64) < table {
            let place = match self.table.take() {
                None => 0,
                Some(entries) => {
                    let marker = MetadataMarker::new(MarkerKind::Table, TABLE_SECTORS);
                    self.write(output, &[marker.as_bytes()])?;
                    let place = self.sector;
                    self.write(output, &[&le_bytes(&entries[..])])?;
                    sector_number(place)?
                }
            };
            self.directory.push(place);
        }
        Ok(())
    }

    /// Writes the header and the descriptor, unless that was done.
    fn begin(&mut self, output: &mut dyn Write) -> io::Result<()> {
        if self.sector > 0 {
            return Ok(());
        }
        let (header, descriptor) = (self.header.clone(), std::mem::take(&mut self.descriptor));
        let padding = vec![0; (DATA_SECTOR * SECTOR_BYTES) as usize - header.as_bytes().len() - descriptor.len()];
        self.write(output, &[header.as_bytes(), &descriptor, &padding])
    }
}

impl Packer for Stream {
    fn block_bytes(&self) -> u64 {
        GRAIN_BYTES
    }

    fn pack(&self) -> Pack {
        pack
    }

    fn append(&mut self, index: u64, packed: &[u8], output: &mut dyn Write) -> io::Result<u64> {
        self.begin(output)?;
        self.end_tables(index / ENTRIES, output)?;
        let place = sector_number(self.sector)?;
        self.table.get_or_insert_with(|| Box::new([0; ENTRIES as usize]))[(index % ENTRIES) as usize] = place;
        let marker = Marker {
            value: (index * GRAIN_BYTES / SECTOR_BYTES).into(),
            size_bytes: (packed.len() as u32).into(),
        };
        self.write(output, &[marker.as_bytes(), packed])?;
        Ok(u64::from(place) * SECTOR_BYTES + marker.as_bytes().len() as u64)
    }

    fn finish(&mut self, output: &mut dyn Write) -> io::Result<Vec<u8>> {
        self.begin(output)?;
        self.end_tables(self.tables, output)?;
        let directory = le_bytes(&self.directory);
        let sectors = (directory.len() as u64).div_ceil(SECTOR_BYTES);
        let marker = MetadataMarker::new(MarkerKind::Directory, sectors);
        self.write(output, &[marker.as_bytes()])?;
        let place = self.sector;
        self.write(output, &[&directory])?;
        self.write(output, &[MetadataMarker::new(MarkerKind::Footer, 1).as_bytes()])?;
        let mut footer = self.header.clone();
        footer.directory = place.into();
        self.write(output, &[footer.as_bytes()])?;
        // The marker of the end of the stream.
        self.write(output, &[&[0; SECTOR_BYTES as usize]])?;
        Ok(Vec::new())
    }
}

fn le_bytes(entries: &[u32]) -> Vec<u8> {
    entries.iter().flat_map(|entry| entry.to_le_bytes()).collect()
}

/// Returns the number of a sector as a table holds it.
fn sector_number(sector: u64) -> io::Result<u32> {
    u32::try_from(sector).map_err(|_| io::Error::other("a VMDK file cannot be larger than 2 TiB"))
}
