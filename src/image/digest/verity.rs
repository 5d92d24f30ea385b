//! The tree of digests of fs-verity: pure functions of bytes.
//!
//! Source: Linux, `Documentation/filesystems/fsverity.rst`, "Merkle tree" and "fs-verity descriptor", with SHA-256,
//! blocks of 4096 bytes and no salt. `docs/image-digest.md` says the same byte by byte.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use sha2::Digest as _;

use crate::image::tree::is_zero;

/// Length in bytes of a block of data and of a block of digests.
pub(super) const BLOCK_BYTES: usize = 4096;
/// The number of digests in a block.
const BRANCHES: u64 = 128;
/// Length in bytes of a unit: the data below one block of the lowest level of digests.
pub(super) const UNIT_BYTES: u64 = BRANCHES * BLOCK_BYTES as u64;

/// A digest in the tree.
pub(super) type Hash = [u8; 32];

/// The digest of a block of zeros.
static ZERO_BLOCK: LazyLock<Hash> = LazyLock::new(|| hash(&[0; BLOCK_BYTES]));
/// The digest of a whole unit of zeros.
static ZERO_UNIT: LazyLock<Hash> = LazyLock::new(|| repeated(&ZERO_BLOCK));

fn hash(bytes: &[u8]) -> Hash {
    sha2::Sha256::digest(bytes).into()
}

/// Returns the digest of a block of digests that are all `child`.
fn repeated(child: &Hash) -> Hash {
    hash(&child.repeat(BRANCHES as usize))
}

/// Returns the digest of a block of data, which zeros fill up if it is the last one of its file and shorter.
fn data_block(bytes: &[u8]) -> Hash {
    if is_zero(bytes) {
        return *ZERO_BLOCK;
    }
    if bytes.len() == BLOCK_BYTES {
        return hash(bytes);
    }
    let mut block = [0; BLOCK_BYTES];
    let length = bytes.len().min(BLOCK_BYTES);
    block[..length].copy_from_slice(&bytes[..length]);
    hash(&block)
}

/// Returns the digest of a unit: that of the block with the digests of its blocks. `bytes` are the data of the unit, at
/// most [`UNIT_BYTES`], fewer only at the end of a file.
pub(super) fn unit(bytes: &[u8]) -> Hash {
    let mut digests = [0; BLOCK_BYTES];
    for (block, place) in bytes.chunks(BLOCK_BYTES).zip(digests.as_chunks_mut().0) {
        *place = data_block(block);
    }
    hash(&digests)
}

/// Returns the digest of a file of at most one block, `bytes`: its tree has no level of digests.
pub(super) fn single_block(bytes: &[u8]) -> Hash {
    data_block(bytes)
}

/// Says whether `digest` is that of a whole unit of zeros.
pub(super) fn is_zero_unit(digest: &Hash) -> bool {
    *digest == *ZERO_UNIT
}

/// Returns the number of units of a file of `size_bytes`.
pub(super) fn units_of(size_bytes: u64) -> u64 {
    size_bytes.div_ceil(UNIT_BYTES)
}

/// Returns the digest of a file of `size_bytes` whose units have the digests `units`, by their numbers. A unit that is
/// not there is a whole one of zeros, so the last unit must be there.
///
/// The time depends on the number of `units` alone: a part of a level where none lies has one known digest.
pub(super) fn digest(size_bytes: u64, units: &BTreeMap<u64, Hash>) -> Hash {
    let mut nodes: Vec<(u64, Hash)> = units.iter().map(|(number, digest)| (*number, *digest)).collect();
    let mut zero = *ZERO_UNIT;
    let mut count = units_of(size_bytes);
    while count > 1 {
        nodes = parents(&nodes, count, &zero);
        zero = repeated(&zero);
        count = count.div_ceil(BRANCHES);
    }
    // An empty file has no tree, and zeros in the place of its root.
    let root = nodes.first().map_or([0; 32], |(_, root)| *root);
    hash(&descriptor(size_bytes, &root))
}

/// Returns the nodes above `nodes`, which are sorted by their places in a level of `count`. Those that are not there have
/// the digest `zero`; the last is there. The same holds for the result.
fn parents(nodes: &[(u64, Hash)], count: u64, zero: &Hash) -> Vec<(u64, Hash)> {
    let siblings = nodes.chunk_by(|(one, _), (other, _)| one / BRANCHES == other / BRANCHES);
    let parent = |children: &[(u64, Hash)]| {
        let number = children.first().map_or(0, |(place, _)| place / BRANCHES);
        let first = number * BRANCHES;
        let mut block = [0; BLOCK_BYTES];
        let places = &mut block.as_chunks_mut().0[..(count - first).min(BRANCHES) as usize];
        places.fill(*zero);
        for (place, digest) in children {
            places[(place - first) as usize] = *digest;
        }
        (number, hash(&block))
    };
    siblings.map(parent).collect()
}

/// Returns the descriptor of a file, which fs-verity hashes last.
fn descriptor(size_bytes: u64, root: &Hash) -> [u8; 256] {
    let mut descriptor = [0; 256];
    descriptor[0] = 1; // version
    descriptor[1] = 1; // FS_VERITY_HASH_ALG_SHA256
    descriptor[2] = BLOCK_BYTES.trailing_zeros() as u8;
    descriptor[8..16].copy_from_slice(&size_bytes.to_le_bytes());
    descriptor[16..48].copy_from_slice(root);
    descriptor
}
