//! The records of an index and of a tarball's table of contents as they lie on disk, each declared once
//! (`docs/snapshot-format.md`). All numbers are little-endian, and no field is aligned, so that nothing lies between
//! them. `unused` stands for bytes that are zero.

use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The place of a table in the body.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Section {
    pub(super) offset: U64,
    pub(super) size_bytes: U64,
}

/// The first bytes of an index.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Header {
    pub(super) magic: [u8; 8],
    pub(super) version: U32,
    pub(super) block_bytes: U32,
    pub(super) base_key: [u8; 32],
    pub(super) snapshot_id: [u8; 32],
    pub(super) tarball_bytes: U64,
    pub(super) tar_bytes: U64,
    pub(super) content_bytes: U64,
    pub(super) body_bytes: U64,
    pub(super) nodes: Section,
    pub(super) dirents: Section,
    pub(super) members: Section,
    pub(super) digests: Section,
    pub(super) heap: Section,
    pub(super) files: U32,
    pub(super) blocks_crc: U32,
    pub(super) flags: U32,
    /// This field and the two behind it are zero unless the tarball is from elsewhere.
    pub(super) modified_seconds: I64,
    pub(super) modified_nanoseconds: U32,
    pub(super) tail: [u8; 32],
    pub(super) unused: [u8; 4],
    /// CRC-32 of all bytes before it.
    pub(super) crc: U32,
}

/// An inode.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Node {
    pub(super) mode: U32,
    pub(super) uid: U32,
    pub(super) gid: U32,
    pub(super) links: U32,
    pub(super) size_bytes: U64,
    pub(super) modified_seconds: I64,
    pub(super) modified_nanoseconds: U32,
    pub(super) major: U32,
    pub(super) minor: U32,
    pub(super) entries: U32,
    pub(super) data: U64,
    pub(super) xattrs: U64,
    pub(super) digest: U32,
    pub(super) dirent: U32,
    pub(super) unused: [u8; 8],
}

/// A name in a directory.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Dirent {
    pub(super) name: U32,
    pub(super) name_bytes: U16,
    pub(super) kind: U16,
    pub(super) node: U32,
    pub(super) parent: U32,
}

/// A stored part of a sparse file.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Extent {
    pub(super) offset: U64,
    pub(super) length: U64,
    pub(super) tar_offset: U64,
}

/// A run of the tar stream that is unpacked as a whole.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Member {
    pub(super) offset: U64,
    pub(super) tar_offset: U64,
    pub(super) compressed_bytes: U32,
    pub(super) tar_bytes: U32,
    pub(super) crc: U32,
    /// Kind of packing.
    pub(super) kind: u8,
    pub(super) bit: u8,
    pub(super) unused: [u8; 2],
    pub(super) digest: [u8; 32],
    /// Two numbers whose meaning depends on the kind of packing.
    pub(super) first: U64,
    pub(super) second: U64,
}

/// The head of an extended attribute; name and value follow it.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Attribute {
    pub(super) name_bytes: U16,
    pub(super) value_bytes: U32,
}

/// The head of a gzip member with one extra field, and that field's own head (RFC 1952, sections 2.3 and 2.3.1.1).
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Chunk {
    pub(super) gzip: [u8; 10],
    pub(super) extra_bytes: U16,
    pub(super) id: [u8; 2],
    pub(super) data_bytes: U16,
}

/// The content of a tarball's footer.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Footer {
    pub(super) magic: [u8; 8],
    pub(super) toc_offset: U64,
    pub(super) toc_bytes: U64,
    pub(super) index_bytes: U64,
    pub(super) payload_digest: [u8; 32],
    pub(super) snapshot_id: [u8; 32],
    /// CRC-32 of all bytes before it.
    pub(super) crc: U32,
}

/// Returns the bytes of `record`, which ends in a CRC-32, that the checksum covers.
pub(super) fn before_crc(record: &(impl IntoBytes + Immutable)) -> &[u8] {
    let bytes = record.as_bytes();
    bytes.split_last_chunk::<4>().map_or(bytes, |(covered, _)| covered)
}
