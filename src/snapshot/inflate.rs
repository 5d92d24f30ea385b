//! Inflates a deflate stream (RFC 1951) from any of its blocks on, and stops between blocks if asked.

use std::io::{self, BufRead, Read};

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{BlockBoundaryState, DecompressorOxide, decompress};

/// Distance in bytes to which a deflate stream can refer back (RFC 1951, section 2).
pub(super) const WINDOW_BYTES: usize = 32 << 10;
/// Upper limit for the bytes inflated by one step.
const OUTPUT_BYTES: usize = 256 << 10;

/// The result of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// There is more of the block.
    Within,
    /// The next block starts here.
    Between,
    /// The stream has ended.
    Ended,
    /// It is damaged.
    Damaged,
}

/// A deflate stream that is being inflated.
pub(super) struct Inflater {
    decoder: Box<DecompressorOxide>,
    /// The last inflated bytes, with at least a window of them once enough were inflated.
    output: Vec<u8>,
    /// End of the part that was given out; `filled` is the end of the inflated part.
    given: usize,
    filled: usize,
}

impl Inflater {
    /// Starts at the beginning of a stream.
    pub(super) fn new() -> Self {
        Self {
            decoder: Box::default(),
            output: vec![0; WINDOW_BYTES + OUTPUT_BYTES],
            given: 0,
            filled: 0,
        }
    }

    /// Starts at the block that begins at bit `bit` of the byte `first`; `window` is the output before it. The input
    /// goes on with the next byte if `bit` is not 0, otherwise with that very byte.
    pub(super) fn at_block(first: u8, bit: u8, window: &[u8]) -> Self {
        let mut inflater = Self::new();
        if bit > 0 {
            let state = BlockBoundaryState {
                num_bits: 8_u8.saturating_sub(bit),
                bit_buf: first.checked_shr(bit.into()).unwrap_or(0),
                ..BlockBoundaryState::default()
            };
            *inflater.decoder = DecompressorOxide::from_block_boundary_state(&state);
        }
        for (to, from) in inflater.output.iter_mut().zip(window) {
            *to = *from;
        }
        let there = window.len().min(inflater.output.len());
        (inflater.given, inflater.filled) = (there, there);
        inflater
    }

    /// Starts another stream.
    pub(super) fn restart(&mut self) {
        *self.decoder = DecompressorOxide::new();
    }

    /// Inflates some of `packed`, after all output so far was given out. Returns the bytes used and the bytes made.
    pub(super) fn step(&mut self, packed: &[u8]) -> (Step, usize, usize) {
        const FLAGS: u32 =
            TINFL_FLAG_HAS_MORE_INPUT | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF | TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY;
        if self.filled == self.output.len() {
            self.output.copy_within(OUTPUT_BYTES.., 0);
            (self.given, self.filled) = (WINDOW_BYTES, WINDOW_BYTES);
        }
        let (status, read, written) = decompress(&mut self.decoder, packed, &mut self.output, self.filled, FLAGS);
        self.filled += written;
        let step = match status {
            TINFLStatus::NeedsMoreInput | TINFLStatus::HasMoreOutput => Step::Within,
            TINFLStatus::BlockBoundary => Step::Between,
            TINFLStatus::Done => Step::Ended,
            _ => Step::Damaged,
        };
        (step, read, written)
    }

    /// Returns the last `count` inflated bytes; fewer if the window does not reach back so far.
    pub(super) fn last(&self, count: usize) -> &[u8] {
        let start = self.filled.saturating_sub(count);
        self.output.get(start..self.filled).unwrap_or_default()
    }

    /// Returns how many bits of the last used byte belong to the next block; valid between blocks.
    pub(super) fn bits_left(&self) -> u8 {
        self.decoder
            .block_boundary_state()
            .map_or(0, |state| state.num_bits % 8)
    }

    /// Returns whether all output was given out.
    pub(super) fn is_empty(&self) -> bool {
        self.given == self.filled
    }

    /// Gives out pending output: fills `buffer` and returns the number of bytes.
    pub(super) fn give(&mut self, buffer: &mut [u8]) -> usize {
        let there = self.output.get(self.given..self.filled).unwrap_or_default();
        let count = there.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(there) {
            *to = *from;
        }
        self.given += count;
        count
    }
}

/// A reader of the inflated bytes of `packed`, up to the end of the stream.
pub(super) struct Inflated<R> {
    pub(super) inflater: Inflater,
    pub(super) packed: R,
}

impl<R: BufRead> Read for Inflated<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.inflater.is_empty() {
            let packed = self.packed.fill_buf()?;
            let (is_end, (step, read, written)) = (packed.is_empty(), self.inflater.step(packed));
            self.packed.consume(read);
            match step {
                Step::Ended if written == 0 => return Ok(0),
                Step::Damaged => return Err(io::ErrorKind::InvalidData.into()),
                Step::Within if is_end && written == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ => {}
            }
        }
        Ok(self.inflater.give(buffer))
    }
}
