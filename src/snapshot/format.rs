//! The index's records, and their forms on disk. Decoding accepts any bytes and never panics.

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::disk::{self, before_crc};
use crate::overlay::layer::{Attributes, FileKind, Timestamp};
use crate::package::Sha256;

/// First bytes of an index file.
pub(super) const MAGIC: [u8; 8] = *b"OICSNAP\0";
/// The format version that this code writes, and the only one it reads.
pub const VERSION: u32 = 3;
/// Size of the header in bytes.
pub(super) const HEADER_BYTES: usize = size_of::<disk::Header>();
/// Size in bytes of a body block, which has its own checksum.
pub(super) const BLOCK_BYTES: usize = 16 << 10;
/// The number that means "no record".
pub(super) const NONE: u32 = u32::MAX;
/// Largest size of a member in bytes, compressed or not; more is damage.
pub(super) const MEMBER_BYTES_MAX: u32 = 256 << 20;

/// A record of fixed size.
pub(super) trait Record: Sized {
    /// The record as it lies on disk.
    type Raw: FromBytes + IntoBytes + Immutable;

    /// Size in bytes.
    const BYTES: usize = size_of::<Self::Raw>();

    /// Returns the record as it lies on disk.
    fn to_raw(&self) -> Self::Raw;

    /// Takes a record as it lies on disk; `None` if it is invalid.
    fn from_raw(raw: &Self::Raw) -> Option<Self>;

    /// Parses the bytes of a record; `None` if they are too few, too many or invalid.
    fn decode(bytes: &[u8]) -> Option<Self> {
        Self::from_raw(&Self::Raw::read_from_bytes(bytes).ok()?)
    }
}

/// The place of a table in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Section {
    /// Offset of its first byte.
    pub(super) offset: u64,
    /// Length in bytes.
    pub(super) size_bytes: u64,
}

impl Section {
    fn to_raw(self) -> disk::Section {
        disk::Section {
            offset: self.offset.into(),
            size_bytes: self.size_bytes.into(),
        }
    }

    /// Takes a section as it lies on disk; `None` if it ends behind a body of `body_bytes`.
    fn from_raw(raw: &disk::Section, body_bytes: u64) -> Option<Self> {
        let (offset, size_bytes) = (raw.offset.get(), raw.size_bytes.get());
        let is_inside = offset.checked_add(size_bytes).is_some_and(|end| end <= body_bytes);
        is_inside.then_some(Self { offset, size_bytes })
    }
}

/// Flag of the header: a node has extended attributes.
const HAS_XATTRS: u32 = 1;
/// Flag of the header: the tarball is from elsewhere.
const FOREIGN: u32 = 2;

/// The properties by which a tarball from elsewhere is recognized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    /// Size in bytes.
    pub(super) size_bytes: u64,
    /// Time of last modification.
    pub(super) modified: Timestamp,
    /// SHA-256 of its last bytes, where gzip and zstd have checksums of the content.
    pub(super) tail: Sha256,
}

/// The first bytes of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) base_key: Sha256,
    /// SHA-256 over the base key and the body; it connects index, tarball and backing store.
    pub(super) snapshot_id: Sha256,
    /// Size of the tarball in bytes; 0 in the copy inside the tarball.
    pub(super) tarball_bytes: u64,
    /// The tarball from elsewhere that the index belongs to; `None` for one of oic's own.
    pub(super) foreign: Option<Identity>,
    /// Size of the uncompressed tar stream in bytes.
    pub(super) tar_bytes: u64,
    /// Sum of the sizes of all regular files in bytes.
    pub(super) content_bytes: u64,
    /// Number of regular files.
    pub(super) files: u32,
    /// Whether a node has extended attributes.
    pub(super) has_xattrs: bool,
    pub(super) nodes: Section,
    pub(super) dirents: Section,
    pub(super) members: Section,
    pub(super) digests: Section,
    pub(super) heap: Section,
    pub(super) body_bytes: u64,
    /// CRC-32 of the table of block checksums between header and body.
    pub(super) blocks_crc: u32,
}

impl Header {
    /// Encodes the header, checksum included.
    pub(super) fn encode(&self) -> Vec<u8> {
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        let flags = flag(self.has_xattrs, HAS_XATTRS) | flag(self.foreign.is_some(), FOREIGN);
        let modified = self.foreign.map(|identity| identity.modified).unwrap_or_default();
        let mut raw = disk::Header {
            magic: MAGIC,
            version: VERSION.into(),
            block_bytes: (BLOCK_BYTES as u32).into(),
            base_key: self.base_key.0,
            snapshot_id: self.snapshot_id.0,
            tarball_bytes: self.tarball_bytes.into(),
            tar_bytes: self.tar_bytes.into(),
            content_bytes: self.content_bytes.into(),
            body_bytes: self.body_bytes.into(),
            nodes: self.nodes.to_raw(),
            dirents: self.dirents.to_raw(),
            members: self.members.to_raw(),
            digests: self.digests.to_raw(),
            heap: self.heap.to_raw(),
            files: self.files.into(),
            blocks_crc: self.blocks_crc.into(),
            flags: flags.into(),
            modified_seconds: modified.seconds.into(),
            modified_nanoseconds: modified.nanoseconds.into(),
            tail: self.foreign.map_or([0; 32], |identity| identity.tail.0),
            unused: [0; 4],
            crc: 0.into(),
        };
        raw.crc = crc32fast::hash(before_crc(&raw)).into();
        raw.as_bytes().to_vec()
    }

    /// Decodes a header; the error completes a sentence.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let (raw, _) = disk::Header::read_from_prefix(bytes).map_err(|_| "it is shorter than a header")?;
        if raw.magic != MAGIC {
            return Err("it is not a snapshot index".into());
        }
        if raw.crc.get() != crc32fast::hash(before_crc(&raw)) {
            return Err("its header is damaged".into());
        }
        if raw.version.get() != VERSION {
            return Err(format!("its format version is {}, not {VERSION}", raw.version));
        }
        Self::from_raw(&raw).ok_or_else(|| "its header is damaged".into())
    }

    fn from_raw(raw: &disk::Header) -> Option<Self> {
        if raw.block_bytes.get() as usize != BLOCK_BYTES {
            return None;
        }
        let (tarball_bytes, body_bytes, flags) = (raw.tarball_bytes.get(), raw.body_bytes.get(), raw.flags.get());
        Some(Self {
            base_key: Sha256(raw.base_key),
            snapshot_id: Sha256(raw.snapshot_id),
            tarball_bytes,
            foreign: (flags & FOREIGN != 0).then_some(Identity {
                size_bytes: tarball_bytes,
                modified: Timestamp {
                    seconds: raw.modified_seconds.get(),
                    nanoseconds: raw.modified_nanoseconds.get(),
                },
                tail: Sha256(raw.tail),
            }),
            tar_bytes: raw.tar_bytes.get(),
            content_bytes: raw.content_bytes.get(),
            body_bytes,
            nodes: Section::from_raw(&raw.nodes, body_bytes)?,
            dirents: Section::from_raw(&raw.dirents, body_bytes)?,
            members: Section::from_raw(&raw.members, body_bytes)?,
            digests: Section::from_raw(&raw.digests, body_bytes)?,
            heap: Section::from_raw(&raw.heap, body_bytes)?,
            files: raw.files.get(),
            blocks_crc: raw.blocks_crc.get(),
            has_xattrs: flags & HAS_XATTRS != 0,
        })
    }

    /// Returns the number of body blocks.
    pub(super) fn blocks(&self) -> u64 {
        self.body_bytes.div_ceil(BLOCK_BYTES as u64)
    }

    /// Returns the offset of the body in the file; `None` if it overflows.
    pub(super) fn body_offset(&self) -> Option<u64> {
        self.blocks().checked_mul(4)?.checked_add(HEADER_BYTES as u64)
    }
}

/// An inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Node {
    /// `st_mode`.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) links: u32,
    pub(super) size_bytes: u64,
    pub(super) modified: Timestamp,
    pub(super) device: (u32, u32),
    /// Depends on the kind. Regular file: offset of the content in the tar stream. Directory: its first dirent.
    /// Symbolic link: offset of the target in the heap. Sparse file: offset of its extents in the heap.
    pub(super) data: u64,
    /// Directory: number of dirents. Sparse file: number of extents, at least 1. Other kinds: 0.
    pub(super) entries: u32,
    /// The file's index in the digest table, or [`NONE`].
    pub(super) digest: u32,
    /// Offset of the attribute set in the heap; 0 without attributes.
    pub(super) xattrs: u64,
    /// The dirent that names it first; [`NONE`] for the root.
    pub(super) dirent: u32,
}

impl Node {
    /// Returns the node's kind; `None` is damage.
    pub(super) fn kind(&self) -> Option<FileKind> {
        FileKind::from_mode(self.mode)
    }

    /// Returns the node's attributes; `None` is damage.
    pub(super) fn attributes(&self) -> Option<Attributes> {
        Some(Attributes {
            kind: self.kind()?,
            permissions: self.mode & 0o7777,
            uid: self.uid,
            gid: self.gid,
            size_bytes: self.size_bytes,
            modified: self.modified,
            links: self.links,
            device: self.device,
        })
    }
}

impl Record for Node {
    type Raw = disk::Node;

    fn to_raw(&self) -> disk::Node {
        disk::Node {
            mode: self.mode.into(),
            uid: self.uid.into(),
            gid: self.gid.into(),
            links: self.links.into(),
            size_bytes: self.size_bytes.into(),
            modified_seconds: self.modified.seconds.into(),
            modified_nanoseconds: self.modified.nanoseconds.into(),
            major: self.device.0.into(),
            minor: self.device.1.into(),
            entries: self.entries.into(),
            data: self.data.into(),
            xattrs: self.xattrs.into(),
            digest: self.digest.into(),
            dirent: self.dirent.into(),
            unused: [0; 8],
        }
    }

    fn from_raw(raw: &disk::Node) -> Option<Self> {
        Some(Self {
            mode: raw.mode.get(),
            uid: raw.uid.get(),
            gid: raw.gid.get(),
            links: raw.links.get(),
            size_bytes: raw.size_bytes.get(),
            modified: Timestamp {
                seconds: raw.modified_seconds.get(),
                nanoseconds: raw.modified_nanoseconds.get(),
            },
            device: (raw.major.get(), raw.minor.get()),
            data: raw.data.get(),
            entries: raw.entries.get(),
            digest: raw.digest.get(),
            xattrs: raw.xattrs.get(),
            dirent: raw.dirent.get(),
        })
    }
}

/// A name in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dirent {
    /// Offset of the name in the heap.
    pub(super) name: u32,
    pub(super) name_bytes: u16,
    /// The `S_IFMT` bits of the node, so that listing needs no node.
    pub(super) kind: u16,
    pub(super) node: u32,
    /// Number of the directory's node.
    pub(super) parent: u32,
}

impl Record for Dirent {
    type Raw = disk::Dirent;

    fn to_raw(&self) -> disk::Dirent {
        disk::Dirent {
            name: self.name.into(),
            name_bytes: self.name_bytes.into(),
            kind: self.kind.into(),
            node: self.node.into(),
            parent: self.parent.into(),
        }
    }

    fn from_raw(raw: &disk::Dirent) -> Option<Self> {
        Some(Self {
            name: raw.name.get(),
            name_bytes: raw.name_bytes.get(),
            kind: raw.kind.get(),
            node: raw.node.get(),
            parent: raw.parent.get(),
        })
    }
}

/// A stored part of a sparse file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// Offset of its first byte in the file.
    pub(super) offset: u64,
    pub(super) length: u64,
    /// Offset of its first byte in the tar stream.
    pub(super) tar_offset: u64,
}

impl Record for Extent {
    type Raw = disk::Extent;

    fn to_raw(&self) -> disk::Extent {
        disk::Extent {
            offset: self.offset.into(),
            length: self.length.into(),
            tar_offset: self.tar_offset.into(),
        }
    }

    fn from_raw(raw: &disk::Extent) -> Option<Self> {
        let extent = Self {
            offset: raw.offset.get(),
            length: raw.length.get(),
            tar_offset: raw.tar_offset.get(),
        };
        let sane = extent.offset.checked_add(extent.length).is_some()
            && extent.tar_offset.checked_add(extent.length).is_some();
        sane.then_some(extent)
    }
}

/// The way in which a member lies in the tarball.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    /// Starts with a gzip header: a whole gzip member, or several, the last of which may be cut short.
    Gzip,
    /// Starts at bit `bit` of its first byte, with a block of a deflate stream.
    Deflate {
        bit: u8,
        /// The 32 KiB before it, in the heap, as a zlib stream.
        window: Section,
    },
    /// Uncompressed.
    Stored,
    /// Whole zstd frames.
    Zstd,
    /// A part of a zstd frame that is too long to be unpacked for one part of it. The frame starts at the member's
    /// offset, and at byte `start` of the tar stream.
    ZstdRun { start: u64 },
    /// Continues the member before it, within a block of a deflate stream. Decoding starts with member number `first`,
    /// which has the same offset.
    Continued { first: u32 },
}

impl Packing {
    /// Returns whether it can only be unpacked together with the bytes before it.
    pub(super) fn is_part(self) -> bool {
        matches!(self, Self::ZstdRun { .. } | Self::Continued { .. })
    }

    /// Encodes as kind, bit, and two numbers.
    fn encode(self) -> (u8, u8, u64, u64) {
        match self {
            Self::Gzip => (0, 0, 0, 0),
            Self::Deflate { bit, window } => (1, bit, window.offset, window.size_bytes),
            Self::Stored => (2, 0, 0, 0),
            Self::Zstd => (3, 0, 0, 0),
            Self::ZstdRun { start } => (4, 0, start, 0),
            Self::Continued { first } => (5, 0, first.into(), 0),
        }
    }

    fn decode(kind: u8, bit: u8, first: u64, second: u64) -> Option<Self> {
        Some(match kind {
            0 => Self::Gzip,
            1 if bit < 8 => Self::Deflate {
                bit,
                window: Section {
                    offset: first,
                    size_bytes: second,
                },
            },
            2 => Self::Stored,
            3 => Self::Zstd,
            4 => Self::ZstdRun { start: first },
            5 => Self::Continued {
                first: u32::try_from(first).ok()?,
            },
            _ => return None,
        })
    }
}

/// A run of the tar stream that is unpacked as a whole: in oic's own tarballs a gzip member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member {
    /// Offset of its first byte in the tarball.
    pub(super) offset: u64,
    /// Offset of its first byte in the tar stream.
    pub(super) tar_offset: u64,
    /// Its size in the tarball in bytes; 0 if it is unknown ([`Packing::is_part`]).
    pub(super) compressed_bytes: u32,
    pub(super) tar_bytes: u32,
    /// CRC-32 of the uncompressed bytes.
    pub(super) crc: u32,
    pub(super) packing: Packing,
    /// SHA-256 of its bytes in the tarball, or of the uncompressed bytes if it [is a part](Packing::is_part).
    pub(super) digest: Sha256,
}

impl Record for Member {
    type Raw = disk::Member;

    fn to_raw(&self) -> disk::Member {
        let (kind, bit, first, second) = self.packing.encode();
        disk::Member {
            offset: self.offset.into(),
            tar_offset: self.tar_offset.into(),
            compressed_bytes: self.compressed_bytes.into(),
            tar_bytes: self.tar_bytes.into(),
            crc: self.crc.into(),
            kind,
            bit,
            unused: [0; 2],
            digest: self.digest.0,
            first: first.into(),
            second: second.into(),
        }
    }

    fn from_raw(raw: &disk::Member) -> Option<Self> {
        let member = Self {
            offset: raw.offset.get(),
            tar_offset: raw.tar_offset.get(),
            compressed_bytes: raw.compressed_bytes.get(),
            tar_bytes: raw.tar_bytes.get(),
            crc: raw.crc.get(),
            packing: Packing::decode(raw.kind, raw.bit, raw.first.get(), raw.second.get())?,
            digest: Sha256(raw.digest),
        };
        let sane = member.compressed_bytes <= MEMBER_BYTES_MAX
            && member.tar_bytes <= MEMBER_BYTES_MAX
            && member.tar_offset.checked_add(member.tar_bytes.into()).is_some()
            && member.offset.checked_add(member.compressed_bytes.into()).is_some();
        sane.then_some(member)
    }
}

impl Record for Sha256 {
    type Raw = [u8; 32];

    fn to_raw(&self) -> [u8; 32] {
        self.0
    }

    fn from_raw(raw: &[u8; 32]) -> Option<Self> {
        Some(Self(*raw))
    }
}
