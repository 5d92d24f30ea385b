//! Inflates a deflate stream (RFC 1951) from any of its blocks on, and stops between blocks if asked.

use std::io::{self, BufRead, Read};

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{BlockBoundaryState, DecompressorOxide, decompress};

/// How far back a deflate stream can refer (RFC 1951, section 2).
pub(super) const WINDOW_BYTES: usize = 32 << 10;
/// What is inflated at once, at most.
const OUTPUT_BYTES: usize = 256 << 10;

/// What came of a step.
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

/// A deflate stream under way.
pub(super) struct Inflater {
    decoder: Box<DecompressorOxide>,
    /// What was inflated last, at least a window of it if there is so much.
    output: Vec<u8>,
    /// Up to where it was given out, and up to where it is filled.
    given: usize,
    filled: usize,
}

impl Inflater {
    /// At the start of a stream.
    pub(super) fn new() -> Self {
        Self {
            decoder: Box::default(),
            output: vec![0; WINDOW_BYTES + OUTPUT_BYTES],
            given: 0,
            filled: 0,
        }
    }

    /// At the block that starts at bit `bit` of the byte `first`; `window` is what came before it. What follows
    /// is the next byte if `bit` is not 0, else that very byte.
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

    /// Inflates some of `packed`, after what was there before was given out: how much of it was used, and how much
    /// came of it.
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

    /// The last `count` bytes that were inflated; fewer if they are not there any more.
    pub(super) fn last(&self, count: usize) -> &[u8] {
        let start = self.filled.saturating_sub(count);
        self.output.get(start..self.filled).unwrap_or_default()
    }

    /// Between blocks: how many bits of the byte that was used last belong to the next block.
    pub(super) fn bits_left(&self) -> u8 {
        self.decoder
            .block_boundary_state()
            .map_or(0, |state| state.num_bits % 8)
    }

    /// Whether all was given out.
    pub(super) fn is_empty(&self) -> bool {
        self.given == self.filled
    }

    /// Gives out what is there.
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

/// The inflated bytes of what `packed` gives, up to the end of the stream.
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
