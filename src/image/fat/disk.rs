//! The records of a FAT file system as they lie on disk, each declared once (Microsoft, "FAT: General Overview of
//! On-Disk Format" 1.03: boot sector and BPB, FSInfo, directory entries).
//!
//! Little-endian; no field is aligned, so that nothing lies between them. `unused` stands for fields that are zero here.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromZeros, Immutable, IntoBytes, Unaligned};

/// The signature at the end of a boot sector and of FSInfo.
pub(super) const SECTOR_END: [u8; 2] = [0x55, 0xaa];

/// The beginning of a boot sector: the jump, and the parameters that FAT16 and FAT32 share.
#[derive(Debug, FromZeros, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Parameters {
    pub(super) jump: [u8; 3],
    pub(super) oem_name: [u8; 8],
    pub(super) sector_bytes: U16,
    pub(super) cluster_sectors: u8,
    pub(super) reserved_sectors: U16,
    pub(super) tables: u8,
    pub(super) root_entries: U16,
    pub(super) total_sectors_16: U16,
    pub(super) media: u8,
    pub(super) table_sectors_16: U16,
    pub(super) track_sectors: U16,
    pub(super) heads: U16,
    pub(super) hidden_sectors: U32,
    pub(super) total_sectors_32: U32,
}

/// The extended boot record, which follows the parameters of FAT16 and the [`Fat32`] of FAT32.
#[derive(Debug, FromZeros, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Extended {
    pub(super) drive: u8,
    pub(super) unused: u8,
    pub(super) signature: u8,
    pub(super) volume_id: U32,
    pub(super) label: [u8; 11],
    pub(super) kind: [u8; 8],
}

/// The further parameters of FAT32.
#[derive(Debug, FromZeros, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Fat32 {
    pub(super) table_sectors: U32,
    pub(super) flags: U16,
    pub(super) version: U16,
    pub(super) root_cluster: U32,
    pub(super) info_sector: U16,
    pub(super) backup_sector: U16,
    pub(super) unused: [u8; 12],
}

/// The boot sector of FAT16.
#[derive(Debug, FromZeros, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct BootSector16 {
    pub(super) parameters: Parameters,
    pub(super) extended: Extended,
    pub(super) unused: [u8; 448],
    pub(super) end: [u8; 2],
}

/// The boot sector of FAT32.
#[derive(Debug, FromZeros, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct BootSector32 {
    pub(super) parameters: Parameters,
    pub(super) fat32: Fat32,
    pub(super) extended: Extended,
    pub(super) unused: [u8; 420],
    pub(super) end: [u8; 2],
}

/// The FSInfo sector of FAT32.
#[derive(Debug, FromZeros, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct InfoSector {
    pub(super) lead: [u8; 4],
    pub(super) unused: [u8; 480],
    pub(super) signature: [u8; 4],
    pub(super) free_clusters: U32,
    pub(super) last_used: U32,
    pub(super) unused_too: [u8; 14],
    pub(super) end: [u8; 2],
}

/// A directory entry with a short name.
#[derive(Debug, FromZeros, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct ShortEntry {
    pub(super) name: [u8; 11],
    pub(super) attributes: u8,
    pub(super) unused: [u8; 2],
    pub(super) created_time: U16,
    pub(super) created_date: U16,
    pub(super) accessed_date: U16,
    pub(super) first_cluster_high: U16,
    pub(super) modified_time: U16,
    pub(super) modified_date: U16,
    pub(super) first_cluster_low: U16,
    pub(super) size_bytes: U32,
}

/// A directory entry with a part of a long name.
#[derive(Debug, FromZeros, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct LongEntry {
    pub(super) order: u8,
    pub(super) first: [U16; 5],
    pub(super) attributes: u8,
    pub(super) kind: u8,
    pub(super) checksum: u8,
    pub(super) second: [U16; 6],
    pub(super) first_cluster: U16,
    pub(super) third: [U16; 2],
}

const _: () = assert!(size_of::<BootSector16>() == 512 && size_of::<BootSector32>() == 512);
const _: () = assert!(size_of::<InfoSector>() == 512);
const _: () = assert!(size_of::<ShortEntry>() == 32 && size_of::<LongEntry>() == 32);
