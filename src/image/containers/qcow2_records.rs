//! The header of a qcow2 file as it lies on disk (QEMU, `docs/interop/qcow2.txt`, "Header"); big-endian.

use zerocopy::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, Unaligned};

/// The incompatible feature bit 3: the header names a compression that is not deflate.
pub(crate) const INCOMPATIBLE_COMPRESSION: u64 = 1 << 3;

/// The header of version 3, and the header extension that ends the list of extensions.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Header {
    pub(crate) magic: [u8; 4],
    pub(crate) version: U32,
    pub(crate) backing_file_offset: U64,
    pub(crate) backing_file_length: U32,
    pub(crate) cluster_bits: U32,
    pub(crate) size_bytes: U64,
    pub(crate) encryption: U32,
    pub(crate) l1_entries: U32,
    pub(crate) l1_offset: U64,
    pub(crate) refcount_table_offset: U64,
    pub(crate) refcount_table_clusters: U32,
    pub(crate) snapshots: U32,
    pub(crate) snapshots_offset: U64,
    pub(crate) incompatible_features: U64,
    pub(crate) compatible_features: U64,
    pub(crate) autoclear_features: U64,
    /// The width of a refcount is 2 to the power of this, in bits.
    pub(crate) refcount_order: U32,
    pub(crate) header_bytes: U32,
    /// 0 is deflate, 1 is zstd.
    pub(crate) compression: u8,
    pub(crate) unused: [u8; 7],
    pub(crate) end_of_extensions: U64,
}

impl Default for Header {
    fn default() -> Self {
        Self {
            magic: *b"QFI\xfb",
            version: 3.into(),
            backing_file_offset: 0.into(),
            backing_file_length: 0.into(),
            cluster_bits: 0.into(),
            size_bytes: 0.into(),
            encryption: 0.into(),
            l1_entries: 0.into(),
            l1_offset: 0.into(),
            refcount_table_offset: 0.into(),
            refcount_table_clusters: 0.into(),
            snapshots: 0.into(),
            snapshots_offset: 0.into(),
            incompatible_features: 0.into(),
            compatible_features: 0.into(),
            autoclear_features: 0.into(),
            refcount_order: 4.into(),
            header_bytes: 112.into(),
            compression: 0,
            unused: [0; 7],
            end_of_extensions: 0.into(),
        }
    }
}
