//! Which parts of a large file are holes.
//!
//! Told by the bytes, not by the file system that a layer lies on: what that one keeps as holes differs from host
//! to host, and images shall not. So a large file is looked through in units; one that is all zeros is a hole.

use crate::overlay::layer::{Errno, Layer, LayerError, LayerResult, NodeId};

/// Smaller files have no holes: looking at all bytes of all files would cost more than a few blocks.
const MINIMUM_BYTES: u64 = 16 << 20;
/// What is a hole as a whole or not at all.
const UNIT_BYTES: u64 = 1 << 20;

/// The parts of a file that are no holes; `None` if there are no holes.
pub(super) fn data_ranges(layer: &dyn Layer, node: NodeId, size_bytes: u64) -> LayerResult<Option<Vec<(u64, u64)>>> {
    if size_bytes < MINIMUM_BYTES {
        return Ok(None);
    }
    let mut buffer = vec![0; UNIT_BYTES as usize];
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    let mut offset = 0;
    while offset < size_bytes {
        let data = layer.next_data(node, offset)?;
        if data >= size_bytes {
            break;
        }
        offset = data / UNIT_BYTES * UNIT_BYTES;
        let length = UNIT_BYTES.min(size_bytes - offset);
        let unit = &mut buffer[..length as usize];
        if layer.read_at(node, offset, unit)? < unit.len() {
            return Err(LayerError::new(Errno::IO, "the file has become shorter"));
        }
        if !is_zero(unit) {
            match ranges.last_mut() {
                Some((_, end)) if *end == offset => *end = offset + length,
                _ => ranges.push((offset, offset + length)),
            }
        }
        offset += length;
    }
    Ok((ranges != [(0, size_bytes)]).then_some(ranges))
}

/// Whether all bytes are zero.
pub(in crate::image) fn is_zero(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<64>();
    chunks.iter().all(|chunk| *chunk == [0; 64]) && rest.iter().all(|byte| *byte == 0)
}
