//! gzip (RFC 1952), of one member or many. A new span starts with a gzip member where that is near, else at a block
//! of its deflate stream (RFC 1951), for which the 32 KiB before it are kept.

use std::io::{self, Read, Write as _};

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use super::super::format::{Packing, Section};
use super::super::tarball::DEFLATE_WINDOW_BYTES;
use super::input::Input;
use super::spans::{Spans, invalid};
use super::{Packed, Places};

const OUTPUT_BYTES: usize = 256 << 10;
const FLAGS: u32 =
    TINFL_FLAG_HAS_MORE_INPUT | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF | TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before a gzip member, or the end.
    Between,
    Inside,
    Ended,
}

/// A gzip file under way.
pub(super) struct Gunzip<'a> {
    input: Input<'a>,
    state: State,
    decoder: Box<DecompressorOxide>,
    /// What was inflated last, at least a window of it if there is so much.
    output: Vec<u8>,
    /// Up to where it was given out, and up to where it is filled.
    given: usize,
    filled: usize,
    /// CRC-32 and length of the gzip member so far.
    crc: crc32fast::Hasher,
    length: u64,
    spans: Spans,
    windows: Vec<u8>,
}

impl<'a> Gunzip<'a> {
    pub(super) fn new(input: Input<'a>, limit: u64) -> Self {
        Self {
            input,
            state: State::Between,
            decoder: Box::default(),
            output: vec![0; DEFLATE_WINDOW_BYTES + OUTPUT_BYTES],
            given: 0,
            filled: 0,
            crc: crc32fast::Hasher::new(),
            length: 0,
            spans: Spans::new(Packing::Gzip, limit),
            windows: Vec::new(),
        }
    }

    fn begin_member(&mut self) -> io::Result<()> {
        let next = self.input.available()?.first().copied();
        let offset = self.input.offset();
        let is_last = next.is_none_or(|byte| byte == 0);
        if is_last || self.spans.packing() != Packing::Gzip || self.spans.is_long(offset) {
            let digest = self.input.take_digest(false);
            self.spans.cut(digest, offset, offset, Packing::Gzip)?;
        }
        if is_last {
            self.state = State::Ended;
            return self.pass_padding();
        }
        self.header()?;
        *self.decoder = DecompressorOxide::new();
        self.crc.reset();
        self.length = 0;
        self.state = State::Inside;
        Ok(())
    }

    /// gzip(1) lets zeros follow, which come from tapes and block devices.
    fn pass_padding(&mut self) -> io::Result<()> {
        loop {
            let padding = self.input.available()?;
            if padding.iter().any(|byte| *byte != 0) {
                return Err(not_gzip(self.input.offset()));
            }
            match padding.len() {
                0 => return Ok(()),
                count => self.input.consume(count),
            }
        }
    }

    /// RFC 1952, section 2.3.
    fn header(&mut self) -> io::Result<()> {
        const HEADER_CRC: u8 = 2;
        const EXTRA: u8 = 4;
        const NAME: u8 = 8;
        const COMMENT: u8 = 16;
        let offset = self.input.offset();
        let [0x1f, 0x8b, 8, flags, ..] = self.input.array::<10>()? else {
            return Err(not_gzip(offset));
        };
        if flags & EXTRA != 0 {
            for _ in 0..u16::from_le_bytes(self.input.array()?) {
                self.input.array::<1>()?;
            }
        }
        for _ in 0..u32::from(flags & NAME != 0) + u32::from(flags & COMMENT != 0) {
            while self.input.array()? != [0] {
                self.spans.check(self.input.offset())?;
            }
        }
        if flags & HEADER_CRC != 0 {
            self.input.array::<2>()?;
        }
        Ok(())
    }

    fn inflate(&mut self) -> io::Result<()> {
        if self.filled == self.output.len() {
            self.output.copy_within(OUTPUT_BYTES.., 0);
            (self.given, self.filled) = (DEFLATE_WINDOW_BYTES, DEFLATE_WINDOW_BYTES);
        }
        let packed = self.input.available()?;
        if packed.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (status, read, written) = decompress(&mut self.decoder, packed, &mut self.output, self.filled, FLAGS);
        self.input.consume(read);
        let fresh = self.output.get(self.filled..self.filled + written).unwrap_or_default();
        self.crc.update(fresh);
        self.spans.produced(fresh)?;
        self.filled += written;
        self.length += written as u64;
        self.spans.check(self.input.offset())?;
        match status {
            TINFLStatus::NeedsMoreInput | TINFLStatus::HasMoreOutput => Ok(()),
            TINFLStatus::BlockBoundary if self.spans.tar_bytes() < super::spans::SPAN_BYTES => Ok(()),
            TINFLStatus::BlockBoundary => self.cut(),
            TINFLStatus::Done => self.end_member(),
            _ => Err(invalid(format!("it is damaged near byte {}", self.input.offset()))),
        }
    }

    /// A new span starts with the next block.
    fn cut(&mut self) -> io::Result<()> {
        let bits_left = self
            .decoder
            .block_boundary_state()
            .map_or(0, |state| state.num_bits % 8);
        let is_shared = bits_left > 0;
        let window_bytes = DEFLATE_WINDOW_BYTES.min(usize::try_from(self.length).unwrap_or(usize::MAX));
        let window = self
            .filled
            .checked_sub(window_bytes)
            .and_then(|start| self.output.get(start..self.filled));
        let offset = self.windows.len() as u64;
        let mut encoder = flate2::write::ZlibEncoder::new(&mut self.windows, flate2::Compression::fast());
        encoder.write_all(window.unwrap_or_default())?;
        encoder.finish()?;
        let packing = Packing::Deflate {
            bit: if is_shared { 8 - bits_left } else { 0 },
            window: Section {
                offset,
                size_bytes: self.windows.len() as u64 - offset,
            },
        };
        let (digest, end) = (self.input.take_digest(is_shared), self.input.offset());
        self.spans.cut(digest, end, end - u64::from(is_shared), packing)
    }

    fn end_member(&mut self) -> io::Result<()> {
        let crc = u32::from_le_bytes(self.input.array()?);
        let length = u32::from_le_bytes(self.input.array()?);
        // The length is kept modulo 2^32.
        if crc != self.crc.clone().finalize() || length != self.length as u32 {
            let end = self.input.offset();
            return Err(invalid(format!(
                "the checksum of what ends at byte {end} is wrong: it is damaged"
            )));
        }
        self.state = State::Between;
        Ok(())
    }
}

impl Read for Gunzip<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.filled {
            match self.state {
                State::Between => self.begin_member()?,
                State::Inside => self.inflate()?,
                State::Ended => return Ok(0),
            }
        }
        let there = self.output.get(self.given..self.filled).unwrap_or_default();
        let count = there.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(there) {
            *to = *from;
        }
        self.given += count;
        Ok(count)
    }
}

impl Packed for Gunzip<'_> {
    fn finish(self: Box<Self>) -> Places {
        Places {
            members: self.spans.members,
            windows: self.windows,
        }
    }
}

fn not_gzip(offset: u64) -> io::Error {
    invalid(format!("what starts at byte {offset} is not gzip"))
}
