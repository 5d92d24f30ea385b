//! The records of erofs as they lie on disk, each declared once (`fs/erofs/erofs_fs.h` of the kernel).
//!
//! Little-endian; no field is aligned, so that nothing lies between them. Fields are named as the kernel names them,
//! without the prefix. `unused` stands for fields that are always zero here.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Length of a block in bytes: no more than a page of any kernel.
pub(crate) const BLOCK_BYTES: usize = 4096;
/// The power of two of [`BLOCK_BYTES`].
pub(crate) const BLOCK_BITS: u8 = 12;
/// The unit, in bytes, in which node ids count the places of inodes.
pub(crate) const SLOT_BYTES: usize = 32;
/// The place of the superblock in bytes.
pub(crate) const SUPERBLOCK_BYTES: usize = 1024;
/// `magic`.
pub(crate) const MAGIC: u32 = 0xe0f5_e1e2;
/// The address of a block that reads as zeros.
pub(crate) const HOLE: u32 = u32::MAX;

/// `feature_compat`: the superblock has a checksum.
pub(crate) const COMPAT_CHECKSUM: u32 = 0x1;
/// `feature_compat`: times are those of modification.
pub(crate) const COMPAT_MTIME: u32 = 0x2;
/// `feature_incompat`: compressed data lie at the end of their blocks, behind zeros.
pub(crate) const INCOMPAT_ZERO_PADDING: u32 = 0x1;
/// `feature_incompat`: compressed data of several blocks, and settings of compressors behind the superblock.
pub(crate) const INCOMPAT_BIG_PCLUSTER: u32 = 0x2;
/// `feature_incompat`: files with a table of chunks.
pub(crate) const INCOMPAT_CHUNKED: u32 = 0x4;
/// `feature_incompat`: other devices, or a second algorithm in a file.
pub(crate) const INCOMPAT_DEVICES: u32 = 0x8;
/// `feature_incompat`: the last compressed data of a file behind its inode.
pub(crate) const INCOMPAT_ZTAILPACKING: u32 = 0x10;
/// `feature_incompat`: ends of files in one common file, and data that several files share.
pub(crate) const INCOMPAT_FRAGMENTS: u32 = 0x20;
/// `feature_incompat`: long prefixes of the names of attributes.
pub(crate) const INCOMPAT_XATTR_PREFIXES: u32 = 0x40;

/// `struct erofs_super_block`.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct Superblock {
    pub(crate) magic: U32,
    pub(crate) checksum: U32,
    pub(crate) feature_compat: U32,
    pub(crate) blkszbits: u8,
    pub(crate) sb_extslots: u8,
    pub(crate) root_nid: U16,
    pub(crate) inos: U64,
    pub(crate) build_time: U64,
    pub(crate) build_time_nsec: U32,
    pub(crate) blocks: U32,
    pub(crate) meta_blkaddr: U32,
    pub(crate) xattr_blkaddr: U32,
    pub(crate) uuid: [u8; 16],
    pub(crate) volume_name: [u8; 16],
    pub(crate) feature_incompat: U32,
    /// The algorithms that are used, one bit each; the longest distance of LZ4 where there are no settings.
    pub(crate) available_compr_algs: U16,
    pub(crate) extra_devices: U16,
    pub(crate) devt_slotoff: U16,
    pub(crate) dirblkbits: u8,
    pub(crate) xattr_prefix_count: u8,
    pub(crate) xattr_prefix_start: U32,
    pub(crate) packed_nid: U64,
    pub(crate) unused: [u8; 24],
}

/// The bit of an inode's format that says that it is an [`ExtendedInode`].
pub(crate) const FORMAT_EXTENDED: u16 = 1;

/// How an inode's data are found, bits 1 to 3 of its format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// In blocks, one after the other.
    Plain = 0,
    /// Compressed; 8 bytes for each block of data.
    Packed = 1,
    /// In blocks, one after the other; what does not fill a block, behind the inode.
    Inline = 2,
    /// Compressed; 2 or 4 bytes for each block of data.
    PackedCompact = 3,
    /// In chunks, with a table of their places.
    Chunks = 4,
}

impl Layout {
    /// Says whether data are compressed.
    pub(crate) fn is_packed(self) -> bool {
        matches!(self, Self::Packed | Self::PackedCompact)
    }

    /// Returns the layout that an inode's `format` names; `None` if there is no such.
    pub(crate) fn of(format: u16) -> Option<Self> {
        Some(match format >> 1 & 7 {
            0 => Self::Plain,
            1 => Self::Packed,
            2 => Self::Inline,
            3 => Self::PackedCompact,
            4 => Self::Chunks,
            _ => return None,
        })
    }
}

/// `struct erofs_inode_compact`.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct CompactInode {
    pub(crate) format: U16,
    pub(crate) xattr_icount: U16,
    pub(crate) mode: U16,
    pub(crate) nlink: U16,
    pub(crate) size: U32,
    pub(crate) unused: U32,
    /// The address of its blocks, their number, the number of a device, or the size of its chunks.
    pub(crate) place: U32,
    pub(crate) ino: U32,
    pub(crate) uid: U16,
    pub(crate) gid: U16,
    pub(crate) unused2: U32,
}

/// `struct erofs_inode_extended`.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct ExtendedInode {
    pub(crate) format: U16,
    pub(crate) xattr_icount: U16,
    pub(crate) mode: U16,
    pub(crate) unused: U16,
    pub(crate) size: U64,
    /// As in [`CompactInode::place`].
    pub(crate) place: U32,
    pub(crate) ino: U32,
    pub(crate) uid: U32,
    pub(crate) gid: U32,
    pub(crate) mtime: U64,
    pub(crate) mtime_nsec: U32,
    pub(crate) nlink: U32,
    pub(crate) unused2: [u8; 16],
}

/// The bits of a chunked inode's place that say, with [`BLOCK_BITS`], the power of two of a chunk's size.
pub(crate) const CHUNK_BITS_MASK: u32 = 0x1f;
/// The bit of a chunked inode's place that says that its table has records of 8 bytes.
pub(crate) const CHUNK_INDEXES: u32 = 0x20;

/// `struct erofs_dirent`.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct DirectoryEntry {
    pub(crate) nid: U64,
    pub(crate) nameoff: U16,
    pub(crate) file_type: u8,
    pub(crate) unused: u8,
}

/// `struct erofs_xattr_ibody_header`.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct AttributesHeader {
    pub(crate) name_filter: U32,
    pub(crate) shared_count: u8,
    pub(crate) unused: [u8; 7],
}

/// `struct erofs_xattr_entry`.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct AttributeEntry {
    pub(crate) name_len: u8,
    pub(crate) name_index: u8,
    pub(crate) value_size: U16,
}

/// Name spaces of attributes by the number that stands for them. The first two are whole names.
pub(crate) const PREFIXES: [(&[u8], u8); 5] = [
    (b"system.posix_acl_access", 2),
    (b"system.posix_acl_default", 3),
    (b"user.", 1),
    (b"trusted.", 4),
    (b"security.", 6),
];

/// `struct z_erofs_map_header`.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct MapHeader {
    /// The offset in the common file of ends; in its upper half the length of compressed data behind the inode.
    pub(crate) fragmentoff: U32,
    pub(crate) advise: U16,
    pub(crate) algorithmtype: u8,
    pub(crate) clusterbits: u8,
}

/// `struct z_erofs_lcluster_index`.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct ClusterIndex {
    pub(crate) advise: U16,
    pub(crate) clusterofs: U16,
    /// The address of the compressed data, or two distances.
    pub(crate) place: U32,
}

/// `struct z_erofs_map_header`, `advise`: compressed data of several blocks.
pub(crate) const MAP_BIG_PCLUSTER: u16 = 0x2;
/// The kind of a [`ClusterIndex`], in the lowest bits of `advise`: data that are not compressed.
pub(crate) const CLUSTER_PLAIN: u16 = 0;
/// The beginning of compressed data.
pub(crate) const CLUSTER_HEAD: u16 = 1;
/// Within compressed data.
pub(crate) const CLUSTER_INNER: u16 = 2;
/// In the place of the first [`CLUSTER_INNER`] of compressed data: the rest of the place's lower half is their length in
/// blocks.
pub(crate) const CLUSTER_BLOCKS: u32 = 1 << 11;

/// The settings of LZ4 (`struct z_erofs_lz4_cfgs`), with their length before them.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct Lz4Settings {
    pub(crate) length: U16,
    pub(crate) max_distance: U16,
    pub(crate) max_pclusterblks: U16,
    pub(crate) unused: [u8; 10],
}

/// The settings of Zstandard (`struct z_erofs_zstd_cfgs`), with their length before them.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct ZstdSettings {
    pub(crate) length: U16,
    pub(crate) format: u8,
    /// The power of two of the window, less 10.
    pub(crate) windowlog: u8,
    pub(crate) unused: [u8; 4],
}

/// Bytes between the header of a map and its first record.
pub(crate) const MAP_UNUSED_BYTES: usize = 8;

/// Returns the offset of the map of an inode that has `fixed` bytes with its attributes.
pub(crate) fn map_start(fixed: usize) -> usize {
    fixed.next_multiple_of(8)
}

/// Returns the length in bytes of the map of a file of `size_bytes`.
pub(crate) fn map_bytes(size_bytes: u64) -> usize {
    let blocks = size_bytes.div_ceil(BLOCK_BYTES as u64) as usize;
    size_of::<MapHeader>() + MAP_UNUSED_BYTES + blocks * size_of::<ClusterIndex>()
}

/// Returns the checksum of the superblock, which is at the start of `block` with zeros for the checksum: CRC-32C as the
/// kernel computes it, without the last inversion.
pub(crate) fn checksum(block: &[u8]) -> u32 {
    !crc32c::crc32c(block)
}
