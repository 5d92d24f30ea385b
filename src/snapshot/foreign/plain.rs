//! Reads an uncompressed tar stream, which is never copied into the backing store.

use std::io::{self, Read};

use super::super::format::Packing;
use super::input::Input;
use super::spans::Spans;
use super::{Packed, Places};

/// Length of the parts that are verified as a whole before any byte of them is read.
const PART_BYTES: u64 = 256 << 10;

/// A tar file that is being read.
pub(super) struct Plain<'a> {
    input: Input<'a>,
    spans: Spans,
}

impl<'a> Plain<'a> {
    /// Starts reading `input`; refuses a tar stream of more than `limit` bytes.
    pub(super) fn new(input: Input<'a>, limit: u64) -> Self {
        Self {
            input,
            spans: Spans::new(Packing::Stored, limit),
        }
    }
}

impl Read for Plain<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let there = self.input.available()?;
        let left = usize::try_from(PART_BYTES - self.spans.tar_bytes()).unwrap_or(usize::MAX);
        let count = there.len().min(buffer.len()).min(left);
        let (to, from) = (buffer.get_mut(..count), there.get(..count));
        let is_end = there.is_empty();
        if let (Some(to), Some(from)) = (to, from) {
            to.copy_from_slice(from);
            self.spans.produced(to)?;
        }
        self.input.consume(count);
        if self.spans.tar_bytes() == PART_BYTES || is_end {
            let (digest, end) = (self.input.take_digest(false), self.input.offset());
            self.spans.cut(digest, end, end, Packing::Stored)?;
        }
        Ok(count)
    }
}

impl Packed for Plain<'_> {
    fn finish(self: Box<Self>) -> Places {
        Places {
            members: self.spans.members,
            windows: Vec::new(),
        }
    }
}
