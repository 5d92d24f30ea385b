//! Containers of compressed blocks. The length of a block is known only once it is compressed, so these are written from
//! the first block to the last, while other threads compress the blocks that follow.

use std::fmt::Debug;
use std::io::{self, Write};

/// Compresses a block, on any thread. The block at the end of the disk may be shorter.
pub type Pack = fn(&[u8]) -> io::Result<Vec<u8>>;

/// A file of compressed blocks that is being written, from its first byte to its last.
pub trait Packer: Debug + Send {
    /// Returns the length of a block in bytes.
    fn block_bytes(&self) -> u64;

    /// Returns the function that compresses a block.
    fn pack(&self) -> Pack;

    /// Writes the block `index`, compressed; indexes ascend. Blocks of zeros are left out. Returns the place of the
    /// block's compressed bytes in the file.
    ///
    /// # Errors
    /// If writing fails, or the file becomes larger than its format can be.
    fn append(&mut self, index: u64, packed: &[u8], output: &mut dyn Write) -> io::Result<u64>;

    /// Writes what follows the last block. Returns the bytes that belong at the start of the file, over what lies there;
    /// none for most formats.
    ///
    /// # Errors
    /// As [`Self::append`].
    fn finish(&mut self, output: &mut dyn Write) -> io::Result<Vec<u8>>;
}
