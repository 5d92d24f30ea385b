//! The blocks of a directory: in one block a list of names, in more an index by hash over such lists
//! (`Documentation/filesystems/ext4/directory.rst`).

use zerocopy::IntoBytes as _;
use zerocopy::little_endian::{U16, U32};

use super::bytes::{put, put_u16, put_u32};
use super::checksum::Seed;
use super::disk::DirectoryEntry;
use super::geometry::BLOCK_BYTES;
use super::hash::half_md4;
use crate::image::file_type;
use crate::overlay::layer::FileKind;

const BLOCK: usize = BLOCK_BYTES as usize;
const ENTRY_HEADER_BYTES: usize = 8;
/// The checksum of a list pretends to be an entry of this size.
const TAIL_BYTES: usize = 12;
const TAIL_TYPE: u8 = 0xde;
/// Bytes of the entries `.` and `..`.
const DOTS_BYTES: usize = 24;
const ROOT_INFO_BYTES: usize = 8;
const INDEX_ENTRY_BYTES: usize = 8;
const INDEX_TAIL_BYTES: usize = 8;
const HASH_HALF_MD4: u8 = 1;

/// A name in a directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name<'a> {
    /// At most 255 bytes.
    pub(super) name: &'a [u8],
    /// The inode that it names.
    pub(super) inode: u32,
    /// The `file_type` of the inode.
    pub(super) file_type: u8,
}

impl Name<'_> {
    fn bytes(&self) -> usize {
        ENTRY_HEADER_BYTES + self.name.len().next_multiple_of(4)
    }
}

/// A directory's blocks, one after the other.
#[derive(Debug)]
pub(super) struct Blocks {
    /// Their contents.
    pub(super) bytes: Vec<u8>,
    /// Whether there is an index.
    pub(super) is_indexed: bool,
}

/// A directory to be made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Directory<'a> {
    /// Its own inode.
    pub(super) inode: u32,
    /// The inode of the directory above.
    pub(super) parent: u32,
    /// Its names, without `.` and `..`.
    pub(super) names: &'a [Name<'a>],
    /// The checksum seed of the directory's inode.
    pub(super) seed: Seed,
    /// The file system's seed of name hashes.
    pub(super) hash_seed: &'a [u8; 16],
}

impl Directory<'_> {
    /// Makes the directory's blocks; `None` if it has too many names for an index.
    pub(super) fn blocks(&self) -> Option<Blocks> {
        let dots = self.dots();
        let total: usize = dots.iter().chain(self.names).map(Name::bytes).sum();
        if total <= self.list_bytes() {
            let names: Vec<_> = dots.iter().chain(self.names).copied().collect();
            return Some(Blocks {
                bytes: self.list(&names),
                is_indexed: false,
            });
        }
        self.indexed()
    }

    /// Makes a block without names.
    pub(super) fn empty_block(&self) -> Vec<u8> {
        self.list(&[])
    }

    fn dots(&self) -> [Name<'static>; 2] {
        [(&b"."[..], self.inode), (b"..", self.parent)].map(|(name, inode)| Name {
            name,
            inode,
            file_type: file_type::number(FileKind::Directory),
        })
    }

    /// Returns the bytes of a block that entries may take.
    fn list_bytes(&self) -> usize {
        BLOCK - if self.seed.is_active() { TAIL_BYTES } else { 0 }
    }

    /// Makes a block with `names`; the last entry takes the rest of the block.
    fn list(&self, names: &[Name<'_>]) -> Vec<u8> {
        let mut block = vec![0; BLOCK];
        let end = self.list_bytes();
        let mut at = 0;
        for (index, name) in names.iter().enumerate() {
            let next = if index + 1 == names.len() {
                end
            } else {
                at + name.bytes()
            };
            entry(&mut block, at, name, next - at);
            at = next;
        }
        if names.is_empty() {
            put_u16(&mut block, 4, end as u16);
        }
        if let Some(checksum) = self.seed.over(&[&block[..end]]) {
            put_u16(&mut block, end + 4, TAIL_BYTES as u16);
            put(&mut block, end + 7, &[TAIL_TYPE]);
            put_u32(&mut block, end + 8, checksum);
        }
        block
    }

    fn indexed(&self) -> Option<Blocks> {
        let leaves = self.leaves();
        let root_limit = self.index_limit(DOTS_BYTES + ROOT_INFO_BYTES);
        let node_limit = self.index_limit(ENTRY_HEADER_BYTES);
        // Blocks in the file: the root, the nodes if there are any, the leaves.
        let nodes = if leaves.len() <= root_limit {
            0
        } else {
            leaves.len().div_ceil(node_limit)
        };
        if nodes > root_limit {
            return None;
        }
        let numbered: Vec<(u32, u32)> = (1 + nodes as u32..)
            .zip(&leaves)
            .map(|(block, leaf)| (leaf.hash, block))
            .collect();
        let mut bytes = Vec::with_capacity((1 + nodes + leaves.len()) * BLOCK);
        if nodes == 0 {
            bytes.extend(self.index_root(&numbered, root_limit, 0));
        } else {
            let first_of = |chunk: &[(u32, u32)]| chunk.first().map_or(0, |(hash, _)| *hash);
            let tops: Vec<_> = numbered.chunks(node_limit).map(first_of).zip(1..).collect();
            bytes.extend(self.index_root(&tops, root_limit, 1));
            for chunk in numbered.chunks(node_limit) {
                bytes.extend(self.index_node(chunk, node_limit));
            }
        }
        for leaf in &leaves {
            bytes.extend(self.list(&leaf.names));
        }
        Some(Blocks {
            bytes,
            is_indexed: true,
        })
    }

    /// Sorts all names by hash and divides them into leaves, each as full as possible.
    fn leaves(&self) -> Vec<Leaf<'_>> {
        let mut hashed: Vec<_> = self
            .names
            .iter()
            .map(|name| (half_md4(name.name, self.hash_seed), *name))
            .collect();
        hashed.sort_by(|(a_hash, a), (b_hash, b)| (a_hash, a.name).cmp(&(b_hash, b.name)));
        let mut leaves: Vec<Leaf<'_>> = Vec::new();
        let (mut room, mut last) = (0, 0);
        for (hash, name) in hashed {
            match leaves.last_mut() {
                Some(leaf) if name.bytes() <= room => leaf.names.push(name),
                previous => {
                    // The lowest bit says that the leaf before ends with the same hash.
                    let hash = match previous {
                        None => 0,
                        Some(_) => hash | u32::from(hash == last),
                    };
                    leaves.push(Leaf {
                        hash,
                        names: vec![name],
                    });
                    room = self.list_bytes();
                }
            }
            room -= name.bytes();
            last = hash;
        }
        leaves
    }

    /// Returns the number of entries that an index block holds behind `header` bytes.
    fn index_limit(&self, header: usize) -> usize {
        let tail = if self.seed.is_active() { INDEX_TAIL_BYTES } else { 0 };
        (BLOCK - header - tail) / INDEX_ENTRY_BYTES
    }

    fn index_root(&self, entries: &[(u32, u32)], limit: usize, levels: u8) -> Vec<u8> {
        let mut block = vec![0; BLOCK];
        let [dot, dot_dot] = self.dots();
        entry(&mut block, 0, &dot, dot.bytes());
        // For readers without an index the block ends here.
        entry(&mut block, dot.bytes(), &dot_dot, BLOCK - dot.bytes());
        put(
            &mut block,
            DOTS_BYTES,
            &[0, 0, 0, 0, HASH_HALF_MD4, ROOT_INFO_BYTES as u8, levels, 0],
        );
        self.index(&mut block, DOTS_BYTES + ROOT_INFO_BYTES, entries, limit);
        block
    }

    fn index_node(&self, entries: &[(u32, u32)], limit: usize) -> Vec<u8> {
        let mut block = vec![0; BLOCK];
        put_u16(&mut block, 4, BLOCK as u16);
        self.index(&mut block, ENTRY_HEADER_BYTES, entries, limit);
        block
    }

    /// Puts the index `entries` (hash, block) into `block` at `start`. Limit and count take the place of the first
    /// hash.
    fn index(&self, block: &mut [u8], start: usize, entries: &[(u32, u32)], limit: usize) {
        for (at, (hash, number)) in (start..).step_by(INDEX_ENTRY_BYTES).zip(entries) {
            put_u32(block, at, *hash);
            put_u32(block, at + 4, *number);
        }
        put_u16(block, start, limit as u16);
        put_u16(block, start + 2, entries.len() as u16);
        let end = start + entries.len() * INDEX_ENTRY_BYTES;
        if let Some(checksum) = self.seed.over(&[&block[..end], &[0; INDEX_TAIL_BYTES]]) {
            put_u32(block, start + limit * INDEX_ENTRY_BYTES + 4, checksum);
        }
    }
}

struct Leaf<'a> {
    /// The lowest hash in it.
    hash: u32,
    names: Vec<Name<'a>>,
}

fn entry(block: &mut [u8], at: usize, name: &Name<'_>, record_bytes: usize) {
    let entry = DirectoryEntry {
        inode: U32::new(name.inode),
        rec_len: U16::new(record_bytes as u16),
        name_len: name.name.len() as u8,
        file_type: name.file_type,
    };
    put(block, at, entry.as_bytes());
    put(block, at + ENTRY_HEADER_BYTES, name.name);
}
