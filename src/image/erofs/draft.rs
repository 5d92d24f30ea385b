//! An inode for every node of a tree, without the places of its data.

use zerocopy::IntoBytes as _;
use zerocopy::little_endian::{U16, U32, U64};

use super::directory;
use super::disk::{BLOCK_BITS, BLOCK_BYTES, CompactInode, ExtendedInode, FORMAT_EXTENDED, Layout};
use super::xattr::{self, Shared};
use super::{FileSystemError, Spec, disk};
use crate::image::order::Order;
use crate::image::tree::{self, Content, Index, Node, Tree};
use crate::overlay::layer::{FileKind, Timestamp};

/// The power of two of the size of a chunk: holes of files begin and end at multiples of it.
pub(super) const CHUNK_BITS: u8 = 20;
const _: () = assert!(1 << CHUNK_BITS == tree::HOLE_UNIT_BYTES);
/// The largest number of blocks of a file.
const FILE_BLOCKS_MAX: u64 = u32::MAX as u64 - 1;

/// An inode, and what is known of its data without their place.
#[derive(Debug)]
pub(super) struct Draft {
    /// How its data are found.
    pub(super) layout: Layout,
    /// Length of its data in bytes.
    pub(super) size_bytes: u64,
    /// The order of its data, if it is a regular file with some.
    pub(super) order: Option<Order>,
    is_extended: bool,
    /// Bytes between the inode and its data or their map.
    attributes: Vec<u8>,
    modified: Timestamp,
}

impl Draft {
    /// Returns the length in bytes of the inode with its attributes.
    fn fixed_bytes(&self) -> usize {
        let inode = if self.is_extended {
            size_of::<ExtendedInode>()
        } else {
            size_of::<CompactInode>()
        };
        inode + self.attributes.len()
    }

    /// Returns the length in bytes of what is made in memory: inode, attributes, the map of its data.
    pub(super) fn head_bytes(&self) -> usize {
        let fixed = self.fixed_bytes();
        match self.layout {
            Layout::Plain | Layout::Inline => fixed,
            Layout::Chunks => fixed + self.chunks() * size_of::<u32>(),
            Layout::Packed | Layout::PackedCompact => disk::map_start(fixed) + disk::map_bytes(self.size_bytes),
        }
    }

    /// Says whether its data are compressed.
    pub(super) fn is_packed(&self) -> bool {
        self.layout == Layout::Packed
    }

    /// Returns the number of bytes of data behind the head.
    pub(super) fn tail_bytes(&self) -> usize {
        match self.layout {
            Layout::Inline => (self.size_bytes % BLOCK_BYTES as u64) as usize,
            _ => 0,
        }
    }

    /// Returns the number of blocks of its data, if they are not compressed and have no holes.
    pub(super) fn blocks(&self) -> u64 {
        match self.layout {
            Layout::Inline => self.size_bytes / BLOCK_BYTES as u64,
            _ => self.size_bytes.div_ceil(BLOCK_BYTES as u64),
        }
    }

    fn chunks(&self) -> usize {
        self.size_bytes.div_ceil(1 << CHUNK_BITS) as usize
    }

    /// Chooses the layout of data without compression: what does not fill a block lies behind the inode if both fit into
    /// `room` bytes.
    fn choose(&mut self, room: usize) {
        self.layout = Layout::Inline;
        let tail = self.tail_bytes();
        if tail == 0 || self.fixed_bytes() + tail > room {
            self.layout = Layout::Plain;
        }
    }

    /// Makes the bytes of the inode and its attributes. It has the `number` in listings, and `place` says where its data
    /// are.
    pub(super) fn encode(&self, node: &Node, number: u32, place: u32) -> Vec<u8> {
        let attributes = &node.attributes;
        let mode = attributes.kind.mode_bits() | attributes.permissions & 0o7777;
        let format = (self.layout as u16) << 1;
        let xattr_icount = U16::new(xattr::units(&self.attributes));
        let mut bytes = if self.is_extended {
            let inode = ExtendedInode {
                format: U16::new(format | FORMAT_EXTENDED),
                xattr_icount,
                mode: U16::new(mode as u16),
                unused: U16::ZERO,
                size: U64::new(self.size_bytes),
                place: U32::new(place),
                ino: U32::new(number),
                uid: U32::new(attributes.uid),
                gid: U32::new(attributes.gid),
                mtime: U64::new(self.modified.seconds as u64),
                mtime_nsec: U32::new(self.modified.nanoseconds),
                nlink: U32::new(attributes.links),
                unused2: [0; 16],
            };
            inode.as_bytes().to_owned()
        } else {
            let inode = CompactInode {
                format: U16::new(format),
                xattr_icount,
                mode: U16::new(mode as u16),
                nlink: U16::new(attributes.links as u16),
                size: U32::new(self.size_bytes as u32),
                unused: U32::ZERO,
                place: U32::new(place),
                ino: U32::new(number),
                uid: U16::new(attributes.uid as u16),
                gid: U16::new(attributes.gid as u16),
                unused2: U32::ZERO,
            };
            inode.as_bytes().to_owned()
        };
        bytes.extend_from_slice(&self.attributes);
        bytes
    }
}

/// Makes a draft for every node of `tree`. The root's lies, with the data behind it, within `root_room` bytes.
///
/// # Errors
/// [`FileSystemError::Unstorable`], naming the file.
pub(super) fn drafts(
    spec: &Spec,
    tree: &Tree,
    shared: &Shared<'_>,
    root_room: usize,
) -> Result<Vec<Draft>, FileSystemError> {
    let draft = |(index, node): (Index, &Node)| {
        let room = if index == 0 { root_room } else { BLOCK_BYTES };
        draft(spec, (index, node), shared, room).map_err(|reason| FileSystemError::Unstorable {
            path: tree.path_of(index),
            reason,
        })
    };
    let nodes = tree.nodes();
    (0..nodes.len()).zip(nodes).map(draft).collect()
}

fn draft(spec: &Spec, (index, node): (Index, &Node), shared: &Shared<'_>, room: usize) -> Result<Draft, String> {
    let attributes = &node.attributes;
    let size_bytes = match &node.content {
        Content::None => 0,
        Content::Link(target) => target.len() as u64,
        Content::Directory(names) => directory::size_bytes(with_dots(names).map(|(name, _)| name.len())),
        Content::File(_) => attributes.size_bytes,
    };
    if size_bytes.div_ceil(BLOCK_BYTES as u64) > FILE_BLOCKS_MAX {
        return Err("it is larger than 16 TiB".to_owned());
    }
    if attributes.kind == FileKind::Symlink && size_bytes >= BLOCK_BYTES as u64 {
        return Err("its target is longer than 4095 bytes".to_owned());
    }
    let modified = attributes.modified.min(spec.epoch());
    let is_small = |id: u32| u16::try_from(id).is_ok();
    let is_compact = is_small(attributes.uid) && is_small(attributes.gid) && is_small(attributes.links);
    let mut draft = Draft {
        layout: Layout::Plain,
        size_bytes,
        order: None,
        // A compact inode has the time of the file system.
        is_extended: !(is_compact && modified == spec.epoch() && u32::try_from(size_bytes).is_ok()),
        attributes: shared.behind_inode(node)?,
        modified,
    };
    draft.choose(room);
    if let Content::File(content) = &node.content
        && size_bytes > 0
    {
        if content.data.is_some() {
            draft.layout = Layout::Chunks;
        } else if spec.compression.is_some() && size_bytes > BLOCK_BYTES as u64 {
            draft.layout = Layout::Packed;
        }
        draft.order = Some(Order::of(content, draft.blocks(), index));
    }
    if index == 0 && draft.head_bytes() > room {
        return Err("its extended attributes are too large for a root directory".to_owned());
    }
    Ok(draft)
}

/// The name of a directory itself and of the one above it, with the names in it, in the order of their bytes; each with
/// its node, which is `None` for the first two.
pub(super) fn with_dots<'a>(
    names: &'a [(std::ffi::OsString, Index)],
) -> impl Iterator<Item = (&'a [u8], Option<Index>)> {
    let before = names.partition_point(|(name, _)| name.as_encoded_bytes() < b"..".as_slice());
    let between = names.partition_point(|(name, _)| name.as_encoded_bytes() < b".".as_slice());
    let named = |(name, index): &'a (std::ffi::OsString, Index)| (name.as_encoded_bytes(), Some(*index));
    let dots: [(&[u8], Option<Index>); 2] = [(b".", None), (b"..", None)];
    let [one, two] = dots;
    names[..between]
        .iter()
        .map(named)
        .chain([one])
        .chain(names[between..before].iter().map(named))
        .chain([two])
        .chain(names[before..].iter().map(named))
}

/// Returns the number of a device as an inode has it (`new_encode_dev` of the kernel).
pub(super) fn device((major, minor): (u32, u32)) -> u32 {
    minor & 0xff | major << 8 | (minor & !0xff) << 12
}

/// Returns the place of an inode with chunks: the power of two of their size, in blocks.
pub(super) fn chunk_format() -> u32 {
    u32::from(CHUNK_BITS - BLOCK_BITS)
}
