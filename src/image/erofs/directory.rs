//! Directories: blocks with entries, and behind them the names, all in the order of their bytes, so that the kernel can
//! search (`Documentation/filesystems/erofs.rst`, "Directories").

use std::ops::Range;

use zerocopy::IntoBytes as _;
use zerocopy::little_endian::{U16, U64};

use super::disk::{BLOCK_BYTES, DirectoryEntry};

const ENTRY_BYTES: usize = size_of::<DirectoryEntry>();

/// A name in a directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name<'a> {
    /// The name.
    pub(super) bytes: &'a [u8],
    /// The node that it names.
    pub(super) nid: u64,
    /// The number of the node's kind.
    pub(super) file_type: u8,
}

/// Divides names of these `lengths` (bytes) among blocks, and says how many bytes of the last block are used.
fn divide(lengths: impl Iterator<Item = usize>) -> (Vec<Range<usize>>, usize) {
    let (mut blocks, mut used) = (Vec::new(), 0);
    let mut block = 0..0;
    for length in lengths {
        let bytes = ENTRY_BYTES + length;
        if used + bytes > BLOCK_BYTES {
            let next = block.end..block.end;
            blocks.push(std::mem::replace(&mut block, next));
            used = 0;
        }
        used += bytes;
        block.end += 1;
    }
    blocks.push(block);
    (blocks, used)
}

/// Returns the size in bytes of a directory with names of these `lengths` (bytes), in their order.
pub(super) fn size_bytes(lengths: impl Iterator<Item = usize>) -> u64 {
    let (blocks, used) = divide(lengths);
    ((blocks.len() - 1) * BLOCK_BYTES + used) as u64
}

/// Makes the bytes of a directory with `names`, in their order.
pub(super) fn encode(names: &[Name<'_>]) -> Vec<u8> {
    let (blocks, _) = divide(names.iter().map(|name| name.bytes.len()));
    let mut bytes = Vec::new();
    for block in blocks {
        bytes.resize(bytes.len().next_multiple_of(BLOCK_BYTES), 0);
        let names = names.get(block).unwrap_or_default();
        let mut offset = names.len() * ENTRY_BYTES;
        for name in names {
            let entry = DirectoryEntry {
                nid: U64::new(name.nid),
                nameoff: U16::new(offset as u16),
                file_type: name.file_type,
                unused: 0,
            };
            bytes.extend_from_slice(entry.as_bytes());
            offset += name.bytes.len();
        }
        names.iter().for_each(|name| bytes.extend_from_slice(name.bytes));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_filled_and_the_size_is_known_before() {
        let names: Vec<String> = (0..1000).map(|i| format!("{i:04}{}", "n".repeat(i % 200))).collect();
        let named: Vec<Name<'_>> = names
            .iter()
            .map(|name| Name {
                bytes: name.as_bytes(),
                nid: 7,
                file_type: 1,
            })
            .collect();
        let bytes = encode(&named);
        assert_eq!(bytes.len() as u64, size_bytes(names.iter().map(String::len)));
        assert!(bytes.len() > 20 * BLOCK_BYTES);
        let last = names.last().unwrap().as_bytes();
        assert!(bytes.ends_with(last));
    }
}
