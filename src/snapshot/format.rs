//! The index's records, as little-endian bytes. Decoding takes any bytes and never panics.

use crate::overlay::layer::{Attributes, FileKind, Timestamp};
use crate::package::Sha256;

/// Identifies an index file.
pub(super) const MAGIC: [u8; 8] = *b"OICSNAP\0";
/// The format version that this code writes, and the only one it reads.
pub const VERSION: u32 = 3;
/// Size of the header.
pub(super) const HEADER_BYTES: usize = 256;
/// Unit of the body that has a checksum of its own.
pub(super) const BLOCK_BYTES: usize = 16 << 10;
/// "None" where a record names another one.
pub(super) const NONE: u32 = u32::MAX;
/// No member is longer than this, compressed or not; more is damage.
pub(super) const MEMBER_BYTES_MAX: u32 = 256 << 20;

/// A member of the tarball's gzip: its place in the member table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberId(pub u32);

/// Takes little-endian fields off the front of a record.
#[derive(Debug)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }
    pub(super) fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }
    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }
    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }
    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}

/// A record of fixed size.
pub(super) trait Record: Sized {
    /// Its size in bytes.
    const BYTES: usize;
    fn encode(&self, out: &mut Vec<u8>);
    fn decode(fields: &mut Fields<'_>) -> Option<Self>;
}

/// Where a table lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Section {
    /// Offset of its first byte in the body.
    pub(super) offset: u64,
    /// Its length in bytes.
    pub(super) size_bytes: u64,
}

/// Flag of the header: some node has extended attributes.
const HAS_XATTRS: u32 = 1;
/// Flag of the header: the tarball came from elsewhere.
const FOREIGN: u32 = 2;

/// What tells a tarball that came from elsewhere from any other that may take its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    /// Size in bytes.
    pub(super) size_bytes: u64,
    /// Time of last modification.
    pub(super) modified: Timestamp,
    /// SHA-256 of its last bytes, in which gzip and zstd keep checksums of the content.
    pub(super) tail: Sha256,
}

/// The first bytes of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) base_key: Sha256,
    /// SHA-256 over the base key and the body: what ties index, tarball and backing store together.
    pub(super) snapshot_id: Sha256,
    /// Size of the tarball; 0 in the copy inside the tarball.
    pub(super) tarball_bytes: u64,
    /// Of a tarball that came from elsewhere: what it looks like, besides its size.
    pub(super) foreign: Option<(Timestamp, Sha256)>,
    /// Size of the tar stream, uncompressed.
    pub(super) tar_bytes: u64,
    /// Bytes of all regular files together.
    pub(super) content_bytes: u64,
    /// Number of regular files.
    pub(super) files: u32,
    /// Some node has extended attributes.
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
    /// The header's bytes, checksum included.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        out.extend((BLOCK_BYTES as u32).to_le_bytes());
        out.extend(self.base_key.0);
        out.extend(self.snapshot_id.0);
        for number in [self.tarball_bytes, self.tar_bytes, self.content_bytes, self.body_bytes] {
            out.extend(number.to_le_bytes());
        }
        for section in [self.nodes, self.dirents, self.members, self.digests, self.heap] {
            out.extend(section.offset.to_le_bytes());
            out.extend(section.size_bytes.to_le_bytes());
        }
        out.extend(self.files.to_le_bytes());
        out.extend(self.blocks_crc.to_le_bytes());
        let flag = |set, flag| if set { flag } else { 0 };
        let flags = flag(self.has_xattrs, HAS_XATTRS) | flag(self.foreign.is_some(), FOREIGN);
        out.extend(flags.to_le_bytes());
        if let Some((modified, tail)) = self.foreign {
            out.extend(modified.seconds.to_le_bytes());
            out.extend(modified.nanoseconds.to_le_bytes());
            out.extend(tail.0);
        }
        out.resize(HEADER_BYTES - 4, 0);
        out.extend(crc32fast::hash(&out).to_le_bytes());
        out
    }

    /// Reads a header; the error is a sentence's end.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let bytes = bytes.get(..HEADER_BYTES).ok_or("it is shorter than a header")?;
        if !bytes.starts_with(&MAGIC) {
            return Err("it is not a snapshot index".into());
        }
        let (covered, crc) = bytes.split_at(HEADER_BYTES - 4);
        if crc != crc32fast::hash(covered).to_le_bytes() {
            return Err("its header is damaged".into());
        }
        let mut fields = Fields(covered.get(MAGIC.len()..).unwrap_or_default());
        match fields.u32() {
            Some(VERSION) => {}
            found => return Err(format!("its format version is {}, not {VERSION}", found.unwrap_or(0))),
        }
        Self::fields(&mut fields).ok_or_else(|| "its header is damaged".into())
    }

    fn fields(fields: &mut Fields<'_>) -> Option<Self> {
        let block_bytes = fields.u32()?;
        if block_bytes as usize != BLOCK_BYTES {
            return None;
        }
        let base_key = Sha256(fields.array()?);
        let snapshot_id = Sha256(fields.array()?);
        let [tarball_bytes, tar_bytes, content_bytes, body_bytes] =
            [fields.u64()?, fields.u64()?, fields.u64()?, fields.u64()?];
        let mut section = || {
            let (offset, size_bytes) = (fields.u64()?, fields.u64()?);
            let inside = offset.checked_add(size_bytes).is_some_and(|end| end <= body_bytes);
            inside.then_some(Section { offset, size_bytes })
        };
        let [nodes, dirents, members, digests, heap] = [section()?, section()?, section()?, section()?, section()?];
        let [files, blocks_crc, flags] = [fields.u32()?, fields.u32()?, fields.u32()?];
        let (seconds, nanoseconds) = (i64::from_le_bytes(fields.array()?), fields.u32()?);
        let tail = Sha256(fields.array()?);
        Some(Self {
            base_key,
            snapshot_id,
            tarball_bytes,
            foreign: (flags & FOREIGN != 0).then_some((Timestamp { seconds, nanoseconds }, tail)),
            tar_bytes,
            content_bytes,
            body_bytes,
            nodes,
            dirents,
            members,
            digests,
            heap,
            files,
            blocks_crc,
            has_xattrs: flags & HAS_XATTRS != 0,
        })
    }

    /// The tarball from elsewhere that this belongs to; `None` if it belongs to one of oic's own.
    pub(super) fn identity(&self) -> Option<Identity> {
        self.foreign.map(|(modified, tail)| Identity {
            size_bytes: self.tarball_bytes,
            modified,
            tail,
        })
    }

    /// Number of body blocks.
    pub(super) fn blocks(&self) -> u64 {
        self.body_bytes.div_ceil(BLOCK_BYTES as u64)
    }

    /// Offset of the body in the file, if it can be told.
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
    /// Regular: offset of the content in the tar stream. Directory: its first dirent.
    /// Symbolic link: offset of the target in the heap. Sparse file: offset of its extents in the heap.
    pub(super) data: u64,
    /// Directory: number of dirents. Sparse file: number of extents, at least 1; of other files 0.
    pub(super) entries: u32,
    /// The file's place in the digest table, or [`NONE`].
    pub(super) digest: u32,
    /// Offset of the attribute set in the heap; 0 for none.
    pub(super) xattrs: u64,
    /// The dirent that names it first; [`NONE`] for the root.
    pub(super) dirent: u32,
}

impl Node {
    /// The node's kind; `None` is damage.
    pub(super) fn kind(&self) -> Option<FileKind> {
        FileKind::from_mode(self.mode)
    }

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
    const BYTES: usize = 80;

    fn encode(&self, out: &mut Vec<u8>) {
        for field in [self.mode, self.uid, self.gid, self.links] {
            out.extend(field.to_le_bytes());
        }
        out.extend(self.size_bytes.to_le_bytes());
        out.extend(self.modified.seconds.to_le_bytes());
        for field in [self.modified.nanoseconds, self.device.0, self.device.1, self.entries] {
            out.extend(field.to_le_bytes());
        }
        out.extend(self.data.to_le_bytes());
        out.extend(self.xattrs.to_le_bytes());
        for field in [self.digest, self.dirent, 0, 0] {
            out.extend(field.to_le_bytes());
        }
    }

    fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        let [mode, uid, gid, links] = [fields.u32()?, fields.u32()?, fields.u32()?, fields.u32()?];
        let (size_bytes, seconds) = (fields.u64()?, i64::from_le_bytes(fields.array()?));
        let [nanoseconds, major, minor, entries] = [fields.u32()?, fields.u32()?, fields.u32()?, fields.u32()?];
        let (data, xattrs) = (fields.u64()?, fields.u64()?);
        let [digest, dirent, _, _] = [fields.u32()?, fields.u32()?, fields.u32()?, fields.u32()?];
        Some(Self {
            mode,
            uid,
            gid,
            links,
            size_bytes,
            modified: Timestamp { seconds, nanoseconds },
            device: (major, minor),
            data,
            entries,
            digest,
            xattrs,
            dirent,
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
    /// The directory's node.
    pub(super) parent: u32,
}

impl Record for Dirent {
    const BYTES: usize = 16;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.name.to_le_bytes());
        out.extend(self.name_bytes.to_le_bytes());
        out.extend(self.kind.to_le_bytes());
        out.extend(self.node.to_le_bytes());
        out.extend(self.parent.to_le_bytes());
    }

    fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            name: fields.u32()?,
            name_bytes: fields.u16()?,
            kind: fields.u16()?,
            node: fields.u32()?,
            parent: fields.u32()?,
        })
    }
}

/// A stored part of a sparse file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// Where it starts in the file.
    pub(super) offset: u64,
    pub(super) length: u64,
    /// Where it starts in the tar stream.
    pub(super) tar_offset: u64,
}

impl Record for Extent {
    const BYTES: usize = 24;

    fn encode(&self, out: &mut Vec<u8>) {
        for field in [self.offset, self.length, self.tar_offset] {
            out.extend(field.to_le_bytes());
        }
    }

    fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        let extent = Self {
            offset: fields.u64()?,
            length: fields.u64()?,
            tar_offset: fields.u64()?,
        };
        let sane = extent.offset.checked_add(extent.length).is_some()
            && extent.tar_offset.checked_add(extent.length).is_some();
        sane.then_some(extent)
    }
}

/// How a member lies in the tarball.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    /// It starts with a gzip header; it is a whole gzip member, or several, the last of which may be cut short.
    Gzip,
    /// It starts at bit `bit` of its first byte, with a block of a deflate stream.
    Deflate {
        bit: u8,
        /// Where the 32 KiB before it lie in the heap, as a zlib stream.
        window: Section,
    },
    /// As it is.
    Stored,
    /// Whole zstd frames.
    Zstd,
    /// Part of a zstd frame that is too long to be unpacked for one part of it. The frame starts at the member's
    /// offset, and there byte `start` of the tar stream.
    ZstdRun { start: u64 },
    /// It goes on where the member before it ends, within a block of a deflate stream. Decoding starts with member
    /// number `first`, whose offset it has.
    Continued { first: u32 },
}

impl Packing {
    /// Whether it cannot be unpacked without what stands before it.
    pub(super) fn is_part(self) -> bool {
        matches!(self, Self::ZstdRun { .. } | Self::Continued { .. })
    }

    /// Kind, bit, and two numbers.
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

/// A run of the tar stream that is unpacked at once: in oic's own tarballs a gzip member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member {
    /// Offset of its first byte in the tarball.
    pub(super) offset: u64,
    /// Offset of its first byte in the tar stream.
    pub(super) tar_offset: u64,
    /// Bytes that it takes in the tarball; 0 if that cannot be said ([`Packing::is_part`]).
    pub(super) compressed_bytes: u32,
    pub(super) tar_bytes: u32,
    /// CRC-32 of the uncompressed bytes.
    pub(super) crc: u32,
    pub(super) packing: Packing,
    /// SHA-256 of its bytes in the tarball; of the uncompressed ones if it [is a part](Packing::is_part).
    pub(super) digest: Sha256,
}

impl Record for Member {
    const BYTES: usize = 80;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.offset.to_le_bytes());
        out.extend(self.tar_offset.to_le_bytes());
        for field in [self.compressed_bytes, self.tar_bytes, self.crc] {
            out.extend(field.to_le_bytes());
        }
        let (kind, bit, first, second) = self.packing.encode();
        out.extend([kind, bit, 0, 0]);
        out.extend(self.digest.0);
        out.extend(first.to_le_bytes());
        out.extend(second.to_le_bytes());
    }

    fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        let (offset, tar_offset) = (fields.u64()?, fields.u64()?);
        let [compressed_bytes, tar_bytes, crc] = [fields.u32()?, fields.u32()?, fields.u32()?];
        let [kind, bit, _, _] = fields.array()?;
        let digest = Sha256(fields.array()?);
        let sane = compressed_bytes <= MEMBER_BYTES_MAX
            && tar_bytes <= MEMBER_BYTES_MAX
            && tar_offset.checked_add(tar_bytes.into()).is_some()
            && offset.checked_add(compressed_bytes.into()).is_some();
        let packing = Packing::decode(kind, bit, fields.u64()?, fields.u64()?);
        sane.then_some(Self {
            offset,
            tar_offset,
            compressed_bytes,
            tar_bytes,
            crc,
            packing: packing?,
            digest,
        })
    }
}

impl Record for Sha256 {
    const BYTES: usize = 32;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.0);
    }

    fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        fields.array().map(Self)
    }
}
