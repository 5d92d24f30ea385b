//! The records of a VMDK file as they lie on disk, each declared once, and its descriptor (VMware, "Virtual Disk Format
//! 5.0", sections "Hosted Sparse Extents" and "The Descriptor File"); little-endian.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, Unaligned};

use super::disk::{Disk, SECTOR_BYTES};

/// The length of a grain in sectors and in bytes: the default of all of VMware's programs.
const GRAIN_SECTORS: u64 = 128;
pub(super) const GRAIN_BYTES: u64 = GRAIN_SECTORS * SECTOR_BYTES;
/// The entries of a grain table, and its length in bytes and sectors.
pub(super) const ENTRIES: u64 = 512;
pub(super) const TABLE_BYTES: u64 = ENTRIES * 4;
pub(super) const TABLE_SECTORS: u64 = TABLE_BYTES / SECTOR_BYTES;
/// The largest size of a disk in bytes: entries are sectors of the file, in 32 bits.
pub const MAX_BYTES: u64 = 2040 << 30;
/// The place of the descriptor in sectors.
const DESCRIPTOR_SECTOR: u64 = 1;
const DESCRIPTOR_SECTORS: u64 = 20;
/// The first sector behind the descriptor.
pub(super) const DESCRIPTOR_END: u64 = DESCRIPTOR_SECTOR + DESCRIPTOR_SECTORS;
/// The grain directory's place is in the footer.
pub(crate) const AT_END: u64 = u64::MAX;

/// The kinds of file, in the words of the descriptor's `createType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `monolithicSparse`
    Sparse,
    /// `streamOptimized`
    Stream,
}

/// `SparseExtentHeader`.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Header {
    pub(crate) magic: [u8; 4],
    pub(crate) version: U32,
    pub(crate) flags: U32,
    pub(crate) capacity: U64,
    pub(crate) grain_sectors: U64,
    pub(crate) descriptor_offset: U64,
    pub(crate) descriptor_sectors: U64,
    pub(crate) table_entries: U32,
    pub(crate) redundant_directory: U64,
    pub(crate) directory: U64,
    pub(crate) overhead: U64,
    pub(crate) unclean_shutdown: u8,
    /// Bytes that a transfer as text would change.
    pub(crate) line_ends: [u8; 4],
    pub(crate) compression: U16,
    pub(crate) padding: [u8; 433],
}

impl Header {
    /// Makes the header of a file of `disk`; places in sectors are still zero.
    pub(super) fn new(disk: &Disk<'_>, kind: Kind) -> Self {
        // Bit 0: the line ends are valid; 1: there is a redundant directory; 16: grains are compressed; 17: markers.
        let (version, flags, compression) = match kind {
            Kind::Sparse => (1, 0x3, 0),
            Kind::Stream => (3, 0x3_0001, 1),
        };
        Self {
            magic: *b"KDMV",
            version: version.into(),
            flags: flags.into(),
            capacity: (disk.size_bytes / SECTOR_BYTES).into(),
            grain_sectors: GRAIN_SECTORS.into(),
            descriptor_offset: DESCRIPTOR_SECTOR.into(),
            descriptor_sectors: DESCRIPTOR_SECTORS.into(),
            table_entries: (ENTRIES as u32).into(),
            redundant_directory: 0.into(),
            directory: 0.into(),
            overhead: 0.into(),
            unclean_shutdown: 0,
            line_ends: *b"\n \r\n",
            compression: compression.into(),
            padding: [0; 433],
        }
    }
}

/// `Marker`: what follows in a stream-optimized file. With a `size_bytes` it is a compressed grain.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Marker {
    /// The grain's first sector on the disk, or the number of sectors that follow the marker.
    pub(crate) value: U64,
    pub(crate) size_bytes: U32,
}

/// `MARKER_GT`, `MARKER_GD` and `MARKER_FOOTER`; that of the end is zero.
#[derive(Debug, Clone, Copy)]
pub(super) enum MarkerKind {
    Table = 1,
    Directory = 2,
    Footer = 3,
}

/// A marker of metadata: a whole sector.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct MetadataMarker {
    marker: Marker,
    kind: U32,
    padding: [u8; 496],
}

impl MetadataMarker {
    /// Makes a marker of `kind` for the `sectors` that follow it.
    pub(super) fn new(kind: MarkerKind, sectors: u64) -> Self {
        Self {
            marker: Marker {
                value: sectors.into(),
                size_bytes: 0.into(),
            },
            kind: (kind as u32).into(),
            padding: [0; 496],
        }
    }
}

/// Returns the number of grain tables of `disk`.
pub(super) fn table_count(disk: &Disk<'_>) -> u64 {
    disk.block_count(GRAIN_BYTES * ENTRIES)
}

/// Returns the identifier of the content, `CID`: never that of "no parent", nor its neighbour.
fn content_id(disk: &Disk<'_>) -> u32 {
    let [a, b, c, d, ..] = *disk.uuid.as_bytes();
    // The highest bit is clear.
    u32::from_be_bytes([a, b, c, d]) >> 1
}

/// Makes the descriptor, with the zeros behind it. `name` is the name of the file.
pub(super) fn descriptor(disk: &Disk<'_>, name: &str, kind: Kind) -> Vec<u8> {
    // The geometry of an LSI Logic adapter.
    let (heads, sectors) = (255, 63);
    let disk_sectors = disk.size_bytes / SECTOR_BYTES;
    let cylinders = (disk_sectors / (heads * sectors)).clamp(1, 65535);
    let (cid, kind) = (
        content_id(disk),
        match kind {
            Kind::Sparse => "monolithicSparse",
            Kind::Stream => "streamOptimized",
        },
    );
    let text = format!(
        "# Disk DescriptorFile\nversion=1\nCID={cid:08x}\nparentCID=ffffffff\ncreateType=\"{kind}\"\n\n\
         # Extent description\nRW {disk_sectors} SPARSE \"{name}\"\n\n\
         # The Disk Data Base\n#DDB\n\n\
         ddb.virtualHWVersion = \"4\"\nddb.adapterType = \"lsilogic\"\n\
         ddb.geometry.cylinders = \"{cylinders}\"\nddb.geometry.heads = \"{heads}\"\nddb.geometry.sectors = \"{sectors}\"\n"
    );
    let mut bytes = text.into_bytes();
    bytes.resize((DESCRIPTOR_SECTORS * SECTOR_BYTES) as usize, 0);
    bytes
}
