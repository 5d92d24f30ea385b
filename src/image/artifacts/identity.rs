//! What a part of a delivered file is made from, known without reading it: the digest tree of the raw image has it.

use std::ops::Range;

use sha2::Digest as _;

use crate::image::containers::{Layout, Piece};
use crate::image::digest::DigestTree;
use crate::package::Sha256;

/// Returns a digest over what decides about the bytes in `place` (bytes) of the file that `layout` describes over the raw
/// image with the digests `tree`: parts with equal digests have equal bytes.
pub(super) fn of_part(layout: &Layout, tree: &DigestTree, place: &Range<u64>) -> Sha256 {
    let mut hasher = sha2::Sha256::new();
    let pieces = layout.pieces();
    let first = pieces
        .partition_point(|(offset, _)| *offset <= place.start)
        .saturating_sub(1);
    for (offset, piece) in &pieces[first..] {
        let (start, end) = (place.start.max(*offset), place.end.min(offset + piece.length_bytes()));
        if start >= end {
            break;
        }
        let within = start - offset..end - offset;
        match piece {
            Piece::Bytes(bytes) => {
                header(&mut hasher, b'b', &within);
                hasher.update(&bytes[within.start as usize..within.end as usize]);
            }
            Piece::Zeros(_) => header(&mut hasher, b'z', &(0..end - start)),
            Piece::Raw(range) => {
                let raw = range.start + within.start..range.start + within.end;
                let first = raw.start / DigestTree::UNIT_BYTES * DigestTree::UNIT_BYTES;
                header(&mut hasher, b'r', &(raw.start - first..raw.end - first));
                tree.units_in(&raw).for_each(|unit| hasher.update(unit));
            }
        }
    }
    Sha256(hasher.finalize().into())
}

fn header(hasher: &mut sha2::Sha256, kind: u8, range: &Range<u64>) {
    hasher.update([kind]);
    hasher.update(range.start.to_le_bytes());
    hasher.update(range.end.to_le_bytes());
}
