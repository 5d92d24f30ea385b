//! The records of a VHDX file as they lie on disk, each declared once ([MS-VHDX]); little-endian. Checksums are CRC-32C over
//! the whole record, whose checksum field is zero meanwhile.

use uuid::Uuid;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, Unaligned};

/// The length in bytes that the checksum of a header covers (section 2.2.2) and that of a region table (section 2.2.3).
const HEADER_BYTES: usize = 4 << 10;
const REGION_TABLE_BYTES: usize = 64 << 10;

/// "VHDX Header" (section 2.2.2.1).
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct FileHeader {
    pub(crate) signature: [u8; 4],
    pub(crate) checksum: U32,
    pub(crate) sequence_number: U64,
    pub(crate) file_write: [u8; 16],
    pub(crate) data_write: [u8; 16],
    /// Zero: the log is empty.
    pub(crate) log: [u8; 16],
    pub(crate) log_version: U16,
    pub(crate) version: U16,
    pub(crate) log_bytes: U32,
    pub(crate) log_offset: U64,
    pub(crate) reserved: [u8; HEADER_BYTES - 80],
}

impl FileHeader {
    /// Makes a header of a file with the log `log` (offset and length in bytes).
    pub(super) fn new(sequence_number: u64, uuid: Uuid, log: (u64, u64)) -> Self {
        let mut header = Self {
            signature: *b"head",
            checksum: 0.into(),
            sequence_number: sequence_number.into(),
            file_write: uuid.to_bytes_le(),
            data_write: uuid.to_bytes_le(),
            log: [0; 16],
            log_version: 0.into(),
            version: 1.into(),
            log_bytes: (log.1 as u32).into(),
            log_offset: log.0.into(),
            reserved: [0; HEADER_BYTES - 80],
        };
        header.checksum = crc32c::crc32c(header.as_bytes()).into();
        header
    }
}

/// "Region Table Entry" (section 2.2.3.2).
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct RegionEntry {
    pub(crate) id: [u8; 16],
    pub(crate) offset: U64,
    pub(crate) length: U32,
    pub(crate) required: U32,
}

impl RegionEntry {
    /// Makes the entry of a region that readers must know; offset and length in bytes.
    pub(super) fn new(id: Uuid, offset: u64, length: u64) -> Self {
        Self {
            id: id.to_bytes_le(),
            offset: offset.into(),
            length: (length as u32).into(),
            required: 1.into(),
        }
    }
}

/// "Region Table Header" (section 2.2.3.1), with two entries.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct RegionTable {
    pub(crate) signature: [u8; 4],
    pub(crate) checksum: U32,
    pub(crate) count: U32,
    pub(crate) reserved: U32,
    pub(crate) entries: [RegionEntry; 2],
    pub(crate) unused: [u8; REGION_TABLE_BYTES - 80],
}

impl RegionTable {
    pub(super) fn new(entries: [RegionEntry; 2]) -> Self {
        let mut table = Self {
            signature: *b"regi",
            checksum: 0.into(),
            count: 2.into(),
            reserved: 0.into(),
            entries,
            unused: [0; REGION_TABLE_BYTES - 80],
        };
        table.checksum = crc32c::crc32c(table.as_bytes()).into();
        table
    }
}

/// "Metadata Table Header" (section 2.6.1.1).
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct MetadataTable {
    pub(crate) signature: [u8; 8],
    pub(crate) reserved: U16,
    pub(crate) count: U16,
    pub(crate) reserved_too: [u8; 20],
}

impl MetadataTable {
    pub(super) fn new(count: u16) -> Self {
        Self {
            signature: *b"metadata",
            reserved: 0.into(),
            count: count.into(),
            reserved_too: [0; 20],
        }
    }
}

/// "Metadata Table Entry" (section 2.6.1.2).
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct MetadataEntry {
    pub(crate) id: [u8; 16],
    /// From the start of the region, in bytes.
    pub(crate) offset: U32,
    pub(crate) length: U32,
    pub(crate) flags: U32,
    pub(crate) reserved: U32,
}

impl MetadataEntry {
    pub(super) fn new(id: Uuid, offset: u32, length: u32, flags: u32) -> Self {
        Self {
            id: id.to_bytes_le(),
            offset: offset.into(),
            length: length.into(),
            flags: flags.into(),
            reserved: 0.into(),
        }
    }
}

/// "File Parameters" (section 2.6.2.1).
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct FileParameters {
    pub(crate) block_bytes: U32,
    pub(crate) flags: U32,
}
