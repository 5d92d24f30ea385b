//! Maps a file into memory; no other module does.

use std::fs::File;
use std::io;
use std::ops::{Deref, Range};
use std::os::unix::fs::FileExt as _;

/// The bytes of a file, which the kernel reads as they are touched.
#[derive(Debug)]
pub(super) struct Map {
    file: File,
    bytes: memmap2::Mmap,
}

impl Map {
    /// Maps the whole of `file`.
    #[allow(unsafe_code)]
    pub(super) fn new(file: File) -> io::Result<Self> {
        // SAFETY: the bytes must not change under the slice. An index is written once,
        // under a temporary name, and renamed into place; oic replaces it by another
        // rename and never writes to or truncates a file under its final name. It is
        // root's own file in root's own directory. Its bytes are plain integers that
        // are copied out and bounds-checked, so no value of them is invalid.
        let bytes = unsafe { memmap2::Mmap::map(&file) }?;
        Ok(Self { file, bytes })
    }

    /// Reads `range` into the kernel's page cache. Where the disk cannot, this is an error; touching the bytes would end
    /// the process (SIGBUS).
    pub(super) fn fetch(&self, range: Range<usize>) -> io::Result<()> {
        let mut buffer = [0; 4096];
        for start in range.clone().step_by(buffer.len()) {
            let length = range.end.saturating_sub(start).min(buffer.len());
            let piece = buffer.get_mut(..length).unwrap_or_default();
            self.file.read_exact_at(piece, start as u64)?;
        }
        Ok(())
    }

    /// Takes all pages out of the memory of this process. They stay in the page cache of the kernel, from which the
    /// next read of each maps it again.
    #[allow(unsafe_code)]
    pub(super) fn release(&self) {
        // SAFETY: madvise(2) drops changes that a process made to private pages; these pages are shared and read-only,
        // so every byte reads the same before and after.
        let advised = unsafe { self.bytes.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
        if let Err(error) = advised {
            tracing::debug!("the kernel keeps the pages of an index mapped: {error}");
        }
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}
