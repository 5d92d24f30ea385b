//! The records of a FAT file system as they lie on disk, each declared once (Microsoft, "FAT: General Overview of
//! On-Disk Format" 1.03: boot sector and BPB, FSInfo, directory entries).
//!
//! Little-endian; no field is aligned, so that nothing lies between them. `unused` stands for fields that are zero here.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, Unaligned};

/// The signature at the end of a boot sector and of FSInfo.
pub(crate) const SECTOR_END: [u8; 2] = [0x55, 0xaa];

/// The beginning of a boot sector: the jump, and the parameters that FAT16 and FAT32 share.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Parameters {
    pub(crate) jump: [u8; 3],
    pub(crate) oem_name: [u8; 8],
    pub(crate) sector_bytes: U16,
    pub(crate) cluster_sectors: u8,
    pub(crate) reserved_sectors: U16,
    pub(crate) tables: u8,
    pub(crate) root_entries: U16,
    pub(crate) total_sectors_16: U16,
    pub(crate) media: u8,
    pub(crate) table_sectors_16: U16,
    pub(crate) track_sectors: U16,
    pub(crate) heads: U16,
    pub(crate) hidden_sectors: U32,
    pub(crate) total_sectors_32: U32,
}

/// The extended boot record, which follows the parameters of FAT16 and the [`Fat32`] of FAT32.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Extended {
    pub(crate) drive: u8,
    pub(crate) unused: u8,
    pub(crate) signature: u8,
    pub(crate) volume_id: U32,
    pub(crate) label: [u8; 11],
    pub(crate) kind: [u8; 8],
}

/// The further parameters of FAT32.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Fat32 {
    pub(crate) table_sectors: U32,
    pub(crate) flags: U16,
    pub(crate) version: U16,
    pub(crate) root_cluster: U32,
    pub(crate) info_sector: U16,
    pub(crate) backup_sector: U16,
    pub(crate) unused: [u8; 12],
}

/// The boot sector of FAT16.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct BootSector16 {
    pub(crate) parameters: Parameters,
    pub(crate) extended: Extended,
    pub(crate) unused: [u8; 448],
    pub(crate) end: [u8; 2],
}

/// The boot sector of FAT32.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct BootSector32 {
    pub(crate) parameters: Parameters,
    pub(crate) fat32: Fat32,
    pub(crate) extended: Extended,
    pub(crate) unused: [u8; 420],
    pub(crate) end: [u8; 2],
}

/// The FSInfo sector of FAT32.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct InfoSector {
    pub(crate) lead: [u8; 4],
    pub(crate) unused: [u8; 480],
    pub(crate) signature: [u8; 4],
    pub(crate) free_clusters: U32,
    pub(crate) last_used: U32,
    pub(crate) unused_too: [u8; 14],
    pub(crate) end: [u8; 2],
}

/// A directory entry with a short name.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct ShortEntry {
    pub(crate) name: [u8; 11],
    pub(crate) attributes: u8,
    /// Bits 3 and 4: base and extension are shown in lower case.
    pub(crate) cases: u8,
    pub(crate) created_tenths: u8,
    pub(crate) created_time: U16,
    pub(crate) created_date: U16,
    pub(crate) accessed_date: U16,
    pub(crate) first_cluster_high: U16,
    pub(crate) modified_time: U16,
    pub(crate) modified_date: U16,
    pub(crate) first_cluster_low: U16,
    pub(crate) size_bytes: U32,
}

/// A directory entry with a part of a long name.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct LongEntry {
    pub(crate) order: u8,
    pub(crate) first: [U16; 5],
    pub(crate) attributes: u8,
    pub(crate) kind: u8,
    pub(crate) checksum: u8,
    pub(crate) second: [U16; 6],
    pub(crate) first_cluster: U16,
    pub(crate) third: [U16; 2],
}

const _: () = assert!(size_of::<BootSector16>() == 512 && size_of::<BootSector32>() == 512);
const _: () = assert!(size_of::<InfoSector>() == 512);
const _: () = assert!(size_of::<ShortEntry>() == 32 && size_of::<LongEntry>() == 32);
