//! Reads the index in place. Opening reads only the header; the first read from each block of the body verifies that
//! block. After many blocks all of them are given back, so that the memory for a large index is bounded; what is read
//! again is verified again.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use zerocopy::FromBytes as _;
use zerocopy::little_endian::U32;

use super::SnapshotError;
use super::disk;
use super::format::{BLOCK_BYTES, Dirent, Extent, HEADER_BYTES, Header, Member, NONE, Node, Record, Section};
use super::inflate::WINDOW_BYTES;
use super::map::Map;
use super::member_id::MemberId;
use crate::durable::PathError;
use crate::package::Sha256;

/// Largest depth of a tree; more is a loop, thus damage.
const DEPTH_MAX: usize = 4096;

/// Most blocks that are mapped at the same time: 32 MiB.
const MAPPED_BLOCKS_MAX: u32 = 2048;

/// An open index.
#[derive(Debug)]
pub(super) struct Index {
    path: PathBuf,
    map: Map,
    header: Header,
    body_offset: usize,
    /// One bit per body block: set after its checksum was verified, until the block is given back.
    verified: Vec<AtomicU64>,
    /// Number of these bits.
    mapped_blocks: AtomicU32,
}

impl Index {
    /// Opens the index at `path`.
    pub(super) fn open(path: &Path) -> Result<Self, SnapshotError> {
        let file = File::open(path).map_err(PathError::on("open", path))?;
        let fail = |problem: String| SnapshotError::Index {
            path: path.to_owned(),
            problem,
        };
        if file.metadata().map_err(PathError::on("read", path))?.len() < HEADER_BYTES as u64 {
            return Err(fail("it is shorter than a header".into()));
        }
        let map = Map::new(file).map_err(PathError::on("map", path))?;
        let fetch = |range| {
            let fetched = map.fetch(range);
            fetched.map_err(|error| fail(format!("it cannot be read: {error}")))
        };
        fetch(0..HEADER_BYTES)?;
        let header = Header::decode(&map).map_err(fail)?;
        let body_offset = header.body_offset();
        let expected = body_offset.and_then(|offset| offset.checked_add(header.body_bytes));
        if expected != Some(map.len() as u64) {
            return Err(fail(format!(
                "it is {} bytes long, which is not what its header says",
                map.len()
            )));
        }
        let body_offset = body_offset
            .and_then(|offset| usize::try_from(offset).ok())
            .unwrap_or(usize::MAX);
        fetch(HEADER_BYTES..body_offset.min(map.len()))?;
        let checksums = map.get(HEADER_BYTES..body_offset).unwrap_or_default();
        if crc32fast::hash(checksums) != header.blocks_crc {
            return Err(fail("its table of checksums is damaged".into()));
        }
        let words = header.blocks().div_ceil(64);
        Ok(Self {
            path: path.to_owned(),
            verified: (0..words).map(|_| AtomicU64::new(0)).collect(),
            mapped_blocks: AtomicU32::new(0),
            header,
            body_offset,
            map,
        })
    }

    /// Returns the header.
    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    /// Returns the number of nodes.
    pub(super) fn nodes(&self) -> u32 {
        count::<Node>(self.header.nodes)
    }

    /// Returns the number of members.
    pub(super) fn members(&self) -> u32 {
        count::<Member>(self.header.members)
    }

    /// Reads node number `id`.
    pub(super) fn node(&self, id: u32) -> Result<Node, SnapshotError> {
        self.record(self.header.nodes, id)
    }

    /// Reads dirent number `id`.
    pub(super) fn dirent(&self, id: u32) -> Result<Dirent, SnapshotError> {
        self.record(self.header.dirents, id)
    }

    /// Reads member number `id`.
    pub(super) fn member(&self, id: MemberId) -> Result<Member, SnapshotError> {
        self.record(self.header.members, id.0)
    }

    /// Reads digest number `id`.
    pub(super) fn digest(&self, id: u32) -> Result<Sha256, SnapshotError> {
        self.record(self.header.digests, id)
    }

    /// Reads a dirent's name.
    pub(super) fn name(&self, dirent: &Dirent) -> Result<&OsStr, SnapshotError> {
        self.heap(dirent.name.into(), dirent.name_bytes.into())
            .map(OsStr::from_bytes)
    }

    /// Reads `size_bytes` bytes of the heap.
    pub(super) fn heap(&self, offset: u64, size_bytes: u64) -> Result<&[u8], SnapshotError> {
        self.slice(self.header.heap, offset, size_bytes)
    }

    /// Inflates the window of a [`Packing::Deflate`](super::format::Packing::Deflate) member.
    pub(super) fn window(&self, window: Section) -> Result<Vec<u8>, SnapshotError> {
        let packed = self.heap(window.offset, window.size_bytes)?;
        let mut bytes = Vec::new();
        let read = flate2::read::ZlibDecoder::new(packed)
            .take(WINDOW_BYTES as u64 + 1)
            .read_to_end(&mut bytes);
        match read {
            Ok(count) if count <= WINDOW_BYTES => Ok(bytes),
            _ => Err(self.damage("a window of its deflate streams is malformed")),
        }
    }

    /// Returns the dirent numbers of the directory `node`.
    pub(super) fn entries(&self, node: &Node) -> Result<std::ops::Range<u32>, SnapshotError> {
        let first = u32::try_from(node.data).ok();
        let range = first.and_then(|first| Some(first..first.checked_add(node.entries)?));
        range.ok_or_else(|| self.damage("a directory lies outside the table of names"))
    }

    /// Finds the first stored part of the sparse file `node` that ends behind `offset`.
    pub(super) fn extent_at(&self, node: &Node, offset: u64) -> Result<Option<Extent>, SnapshotError> {
        let extent = |number: u32| self.extent(node, number);
        let mut range = 0..node.entries;
        while !range.is_empty() {
            let middle = range.start + (range.end - range.start) / 2;
            let found = extent(middle)?;
            if found.offset + found.length > offset {
                range.end = middle;
            } else {
                range.start = middle + 1;
            }
        }
        (range.start < node.entries).then(|| extent(range.start)).transpose()
    }

    /// Reads stored part number `number` of the sparse file `node`.
    pub(super) fn extent(&self, node: &Node, number: u32) -> Result<Extent, SnapshotError> {
        let damage = || self.damage("the parts of a sparse file are malformed");
        let offset = node.data.checked_add(u64::from(number) * Extent::BYTES as u64);
        let bytes = self.heap(offset.ok_or_else(damage)?, Extent::BYTES as u64)?;
        Extent::decode(bytes).ok_or_else(damage)
    }

    /// Finds the dirent `name` of `directory`.
    pub(super) fn find(&self, directory: &Node, name: &OsStr) -> Result<Option<Dirent>, SnapshotError> {
        let mut range = self.entries(directory)?;
        while !range.is_empty() {
            let middle = range.start + (range.end - range.start) / 2;
            let dirent = self.dirent(middle)?;
            match self.name(&dirent)?.cmp(name) {
                std::cmp::Ordering::Less => range.start = middle + 1,
                std::cmp::Ordering::Greater => range.end = middle,
                std::cmp::Ordering::Equal => return Ok(Some(dirent)),
            }
        }
        Ok(None)
    }

    /// Finds the member that holds byte `tar_offset` of the tar stream.
    pub(super) fn member_at(&self, tar_offset: u64) -> Result<(MemberId, Member), SnapshotError> {
        let mut range = 0..self.members();
        while !range.is_empty() {
            let id = MemberId(range.start + (range.end - range.start) / 2);
            let member = self.member(id)?;
            if tar_offset < member.tar_offset {
                range.end = id.0;
            } else if tar_offset - member.tar_offset >= member.tar_bytes.into() {
                range.start = id.0 + 1;
            } else {
                return Ok((id, member));
            }
        }
        Err(self.damage("a file lies outside the tar stream"))
    }

    /// Reads the attributes of `node`: names and values.
    pub(super) fn xattrs(&self, node: &Node) -> Result<Vec<(&OsStr, &[u8])>, SnapshotError> {
        if node.xattrs == 0 {
            return Ok(Vec::new());
        }
        let damage = || self.damage("a set of extended attributes is malformed");
        let size = U32::read_from_bytes(self.heap(node.xattrs, 4)?).map_err(|_| damage())?;
        let start = node.xattrs.checked_add(4).ok_or_else(damage)?;
        let mut rest = self.heap(start, size.get().into())?;
        let mut set = Vec::new();
        while !rest.is_empty() {
            let mut attribute = || {
                let (head, bytes) = disk::Attribute::read_from_prefix(rest).ok()?;
                let (name, bytes) = bytes.split_at_checked(head.name_bytes.get().into())?;
                let (value, bytes) = bytes.split_at_checked(head.value_bytes.get() as usize)?;
                rest = bytes;
                Some((OsStr::from_bytes(name), value))
            };
            set.push(attribute().ok_or_else(damage)?);
        }
        Ok(set)
    }

    /// Returns the path of `node` from the root (`/etc/passwd`), for messages.
    pub(super) fn path_of(&self, node: &Node) -> Result<PathBuf, SnapshotError> {
        let (mut names, mut dirent) = (Vec::new(), node.dirent);
        while dirent != NONE {
            if names.len() == DEPTH_MAX {
                return Err(self.damage("its directories form a loop"));
            }
            let entry = self.dirent(dirent)?;
            names.push(self.name(&entry)?);
            dirent = self.node(entry.parent)?.dirent;
        }
        Ok(std::iter::once(OsStr::new("/"))
            .chain(names.into_iter().rev())
            .collect())
    }

    /// Verifies the checksums of all blocks.
    ///
    /// # Errors
    /// Damage.
    pub(super) fn check(&self) -> Result<(), SnapshotError> {
        let body = self.map.get(self.body_offset..).unwrap_or_default();
        (0..body.len().div_ceil(BLOCK_BYTES)).try_for_each(|block| self.verify(body, block))
    }

    /// Makes an error that names this index.
    pub(super) fn damage(&self, problem: impl Into<String>) -> SnapshotError {
        SnapshotError::Index {
            path: self.path.clone(),
            problem: problem.into(),
        }
    }

    fn record<T: Record>(&self, section: Section, id: u32) -> Result<T, SnapshotError> {
        // Cannot overflow: 2^32 records of at most 80 bytes.
        let bytes = self.slice(section, u64::from(id) * T::BYTES as u64, T::BYTES as u64)?;
        T::decode(bytes).ok_or_else(|| self.damage("a record holds values out of bounds"))
    }

    /// Returns bytes of a section, after verifying their blocks.
    fn slice(&self, section: Section, offset: u64, size_bytes: u64) -> Result<&[u8], SnapshotError> {
        let outside = || self.damage("a record lies outside its table");
        let end = offset.checked_add(size_bytes).filter(|end| *end <= section.size_bytes);
        let end = end
            .and_then(|end| end.checked_add(section.offset))
            .ok_or_else(outside)?;
        // Both are within the body (see Header::decode), which is mapped, so they fit a usize.
        let (start, end) = ((end - size_bytes) as usize, end as usize);
        if start == end {
            return Ok(&[]);
        }
        let body = self.map.get(self.body_offset..).unwrap_or_default();
        for block in start / BLOCK_BYTES..=(end - 1) / BLOCK_BYTES {
            self.verify(body, block)?;
        }
        body.get(start..end).ok_or_else(outside)
    }

    fn verify(&self, body: &[u8], block: usize) -> Result<(), SnapshotError> {
        let (word, bit) = (self.verified.get(block / 64), 1 << (block % 64));
        if word.is_some_and(|word| word.load(Ordering::Relaxed) & bit != 0) {
            return Ok(());
        }
        let start = block * BLOCK_BYTES;
        let end = body.len().min(start.saturating_add(BLOCK_BYTES));
        let (from, to) = (self.body_offset + start, self.body_offset + end);
        let fetched = self.map.fetch(from..to);
        fetched.map_err(|error| self.damage(format!("bytes {from} to {to} cannot be read: {error}")))?;
        let checksums = self.map.get(HEADER_BYTES + block * 4..).unwrap_or_default();
        let expected = checksums.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
        if body.get(start..end).map(crc32fast::hash) != expected {
            return Err(self.damage(format!("it is damaged between bytes {from} and {to}")));
        }
        if word.is_some_and(|word| word.fetch_or(bit, Ordering::Relaxed) & bit == 0)
            && self.mapped_blocks.fetch_add(1, Ordering::Relaxed) >= MAPPED_BLOCKS_MAX
        {
            self.release();
        }
        Ok(())
    }

    /// Gives all blocks back. A reader that has a slice of one reads on: its pages are mapped again.
    fn release(&self) {
        self.mapped_blocks.store(0, Ordering::Relaxed);
        for word in &self.verified {
            word.store(0, Ordering::Relaxed);
        }
        self.map.release();
    }
}

fn count<T: Record>(section: Section) -> u32 {
    u32::try_from(section.size_bytes / T::BYTES as u64).unwrap_or(NONE)
}
