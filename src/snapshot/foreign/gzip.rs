//! Reads gzip (RFC 1952), of one member or many. A new span starts with a gzip member where one is near, otherwise at a
//! block of its deflate stream (RFC 1951), for which the 32 KiB before it are kept.

use std::io::{self, Read, Write as _};

use super::super::format::{Packing, Section};
use super::super::inflate::{Inflater, Step, WINDOW_BYTES};
use super::input::Input;
use super::spans::{Spans, invalid};
use super::{Packed, Places};

/// Largest length in bytes of a block that is not cut into parts. zlib ends its blocks much earlier, but zlib-ng at its
/// fastest makes one block of a whole file.
const BLOCK_BYTES_MAX: u64 = 8 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before a gzip member, or the end.
    Between,
    Inside,
    Ended,
}

/// A gzip file that is being read.
pub(super) struct Gunzip<'a> {
    input: Input<'a>,
    state: State,
    inflater: Inflater,
    /// CRC-32 and length of the gzip member so far.
    crc: crc32fast::Hasher,
    length: u64,
    spans: Spans,
    windows: Vec<u8>,
}

impl<'a> Gunzip<'a> {
    /// Starts reading `input`; refuses a tar stream of more than `limit` bytes.
    pub(super) fn new(input: Input<'a>, limit: u64) -> Self {
        Self {
            input,
            state: State::Between,
            inflater: Inflater::new(),
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
        self.inflater.restart();
        self.crc.reset();
        self.length = 0;
        self.state = State::Inside;
        Ok(())
    }

    /// Skips zeros, which gzip(1) allows behind a member; they come from tapes and block devices.
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

    /// Reads a member's header (RFC 1952, section 2.3).
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
        let packed = self.input.available()?;
        if packed.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (step, read, written) = self.inflater.step(packed);
        self.input.consume(read);
        let fresh = self.inflater.last(written);
        self.crc.update(fresh);
        self.spans.produced(fresh)?;
        self.length += written as u64;
        let end = self.input.offset();
        match step {
            Step::Within => self
                .spans
                .cut_within(BLOCK_BYTES_MAX, end, || self.input.take_digest(false)),
            Step::Between if !self.spans.is_long(end) => Ok(()),
            Step::Between => self.cut(),
            Step::Ended => self.end_member(),
            Step::Damaged => Err(invalid(format!("it is damaged near byte {end}"))),
        }
    }

    /// Starts a new span with the next block.
    fn cut(&mut self) -> io::Result<()> {
        let bits_left = self.inflater.bits_left();
        let is_shared = bits_left > 0;
        let window_bytes = WINDOW_BYTES.min(usize::try_from(self.length).unwrap_or(usize::MAX));
        let offset = self.windows.len() as u64;
        let mut encoder = flate2::write::ZlibEncoder::new(&mut self.windows, flate2::Compression::fast());
        encoder.write_all(self.inflater.last(window_bytes))?;
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
        // The length is stored modulo 2^32.
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
        while self.inflater.is_empty() {
            match self.state {
                State::Between => self.begin_member()?,
                State::Inside => self.inflate()?,
                State::Ended => return Ok(0),
            }
        }
        Ok(self.inflater.give(buffer))
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
