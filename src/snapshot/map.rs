//! The one place where a file is mapped into memory.

use std::fs::File;
use std::io;
use std::ops::Deref;

/// A file's bytes, read by the kernel as they are touched.
#[derive(Debug)]
pub(super) struct Map(memmap2::Mmap);

impl Map {
    /// Maps the whole of `file`.
    #[allow(unsafe_code)]
    pub(super) fn new(file: &File) -> io::Result<Self> {
        // SAFETY: the bytes must not change under the slice. An index is written once,
        // under a temporary name, and renamed into place; oic replaces it by another
        // rename and never writes to or truncates a file under its final name. It is
        // root's own file in root's own directory. Its bytes are plain integers that
        // are copied out and bounds-checked, so no value of them is invalid.
        unsafe { memmap2::Mmap::map(file) }.map(Self)
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
