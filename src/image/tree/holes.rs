//! The holes of a large file.
//!
//! They are found in the bytes, not with the layer's file system, because its holes differ from host to host and images
//! must not. So a large file is read in units; a unit of zeros is a hole.

use crate::overlay::layer::{Errno, Layer, LayerError, LayerResult, NodeId};

/// The smallest file with holes, in bytes: reading all bytes of all files would cost more than a few blocks.
const MINIMUM_BYTES: u64 = 16 << 20;
/// Bytes that are a hole as a whole or not at all.
pub(in crate::image) const UNIT_BYTES: u64 = 1 << 20;

/// Returns the start and end in bytes of the parts of a file that are not holes; `None` if it has no holes.
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

/// Says whether all bytes are zero.
pub(in crate::image) fn is_zero(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<64>();
    chunks.iter().all(|chunk| *chunk == [0; 64]) && rest.iter().all(|byte| *byte == 0)
}
