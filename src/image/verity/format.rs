//! The format of a hash tree on disk: superblock, places of the levels, and the digests that zeros have.
//!
//! Source: Linux, `Documentation/admin-guide/device-mapper/verity.rst`, "Hash tree", with hash type 1; cryptsetup,
//! `docs/on-disk-format-verity` ("DMVerity" in its wiki), for the superblock. SHA-256, blocks of 4096 bytes.

use sha2::Digest as _;

use super::Identity;
use crate::image::tree::is_zero;

/// Length in bytes of a block of data and of a block of digests.
pub(super) const BLOCK_BYTES: usize = 4096;
/// The number of digests in a block.
pub(super) const BRANCHES: u64 = 128;

/// A digest in the tree.
pub(super) type Hash = [u8; 32];
/// A block of digests.
pub(super) type Node = [u8; BLOCK_BYTES];

/// Computes the digests of blocks: SHA-256 over the salt and the block.
#[derive(Debug, Clone)]
pub(super) struct Hasher {
    /// The state after the salt.
    salted: sha2::Sha256,
    zeros: Hash,
}

impl Hasher {
    /// Makes a hasher with `salt`.
    pub(super) fn new(salt: &[u8]) -> Self {
        let salted = sha2::Sha256::new_with_prefix(salt);
        let zeros = salted.clone().chain_update([0_u8; BLOCK_BYTES]).finalize().into();
        Self { salted, zeros }
    }

    /// Returns the digest of the block `bytes`.
    pub(super) fn block(&self, bytes: &[u8]) -> Hash {
        match is_zero(bytes) {
            true => self.zeros,
            false => self.salted.clone().chain_update(bytes).finalize().into(),
        }
    }
}

/// A level of the tree.
#[derive(Debug, Clone, Copy)]
pub(super) struct Level {
    /// Its place in the hash partition, in bytes.
    pub(super) offset_bytes: u64,
    /// The number of its digests.
    pub(super) digests: u64,
    /// The digest of what lies below each of its digests but the last one, if all of that is zeros.
    of_zeros: Hash,
    /// The same for the last one, below which fewer blocks may lie.
    last_of_zeros: Hash,
}

impl Level {
    /// Returns the number of its blocks.
    pub(super) fn nodes(&self) -> u64 {
        self.digests.div_ceil(BRANCHES)
    }

    /// Returns block `number` of the level above zeros alone. Places behind the last digest are zero.
    pub(super) fn node_of_zeros(&self, number: u64) -> Node {
        let mut node = [0; BLOCK_BYTES];
        let first = number * BRANCHES;
        let count = self.digests.saturating_sub(first).min(BRANCHES) as usize;
        let places = &mut node.as_chunks_mut().0[..count];
        places.fill(self.of_zeros);
        if let Some(last) = places.last_mut().filter(|_| first + BRANCHES >= self.digests) {
            *last = self.last_of_zeros;
        }
        node
    }
}

/// The places of a tree.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    data_blocks: u64,
    /// The levels, the one above the data first. A single block of data has none.
    pub(super) levels: Vec<Level>,
    size_bytes: u64,
}

impl Layout {
    /// Lays out the tree of `data_bytes`; a rest that is no whole block has no digest.
    pub(super) fn new(data_bytes: u64, hasher: &Hasher) -> Self {
        let data_blocks = (data_bytes / BLOCK_BYTES as u64).max(1);
        let mut levels: Vec<Level> = Vec::new();
        let (mut digests, mut of_zeros, mut last_of_zeros) = (data_blocks, hasher.zeros, hasher.zeros);
        while digests > 1 {
            let level = Level {
                offset_bytes: 0,
                digests,
                of_zeros,
                last_of_zeros,
            };
            let nodes = level.nodes();
            of_zeros = hasher.block(&of_zeros.repeat(BRANCHES as usize));
            last_of_zeros = hasher.block(&level.node_of_zeros(nodes - 1));
            digests = nodes;
            levels.push(level);
        }
        // The top level comes first on disk, in the block behind the superblock's.
        let mut at = BLOCK_BYTES as u64;
        for level in levels.iter_mut().rev() {
            level.offset_bytes = at;
            at += level.nodes() * BLOCK_BYTES as u64;
        }
        Self {
            data_blocks,
            levels,
            size_bytes: at,
        }
    }

    /// Returns the number of data blocks.
    pub(super) fn data_blocks(&self) -> u64 {
        self.data_blocks
    }

    /// Returns the bytes that superblock and tree take.
    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Makes the block with the superblock, 512 bytes long, and zeros behind it.
    pub(super) fn superblock(&self, identity: &Identity) -> Node {
        let mut bytes = [0; BLOCK_BYTES];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        let block_bytes = (BLOCK_BYTES as u32).to_le_bytes();
        put(0, b"verity\0\0");
        put(8, &1_u32.to_le_bytes()); // version
        put(12, &1_u32.to_le_bytes()); // hash type: the salt comes first
        put(16, identity.uuid.as_bytes());
        put(32, b"sha256");
        put(64, &block_bytes); // of data
        put(68, &block_bytes); // of digests
        put(72, &self.data_blocks.to_le_bytes());
        put(80, &(identity.salt.len() as u16).to_le_bytes());
        put(88, &identity.salt);
        bytes
    }
}
