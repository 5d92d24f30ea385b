//! Reads Zstandard (RFC 8878). Frames are independent of each other, so short ones are spans. A frame can only be
//! decoded from its start, so a long one is recorded part by part, and reading decodes it once, part after part.

use std::io::{self, Read};

use sha2::Digest as _;
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation as _, OutBuffer};

use super::super::format::{Member, Packing};
use super::input::Input;
use super::spans::{SPAN_BYTES, Spans, invalid};
use super::{Packed, Places};
use crate::archive::compression::ZSTD_WINDOW_LOG_MAX;
use crate::package::Sha256;

const OUTPUT_BYTES: usize = 256 << 10;
/// Longest frame, packed or not, that is one span; longer ones are recorded part by part.
const FRAME_BYTES_MAX: u64 = 8 << 20;

/// A zstd file that is being read.
pub(super) struct Unzstd<'a> {
    input: Input<'a>,
    decoder: Decoder<'static>,
    output: Vec<u8>,
    given: usize,
    filled: usize,
    /// Whether the input is at a frame's start, or at its end.
    between: bool,
    ended: bool,
    spans: Spans,
    /// The parts of the open span, in case it gets too long for one member.
    parts: Vec<Member>,
    part: Part,
}

/// The open part.
#[derive(Debug, Default)]
struct Part {
    hasher: sha2::Sha256,
    crc: crc32fast::Hasher,
    bytes: u64,
}

impl<'a> Unzstd<'a> {
    /// Starts reading `input`; refuses a tar stream of more than `limit` bytes.
    pub(super) fn new(input: Input<'a>, limit: u64) -> io::Result<Self> {
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))?;
        Ok(Self {
            input,
            decoder,
            output: vec![0; OUTPUT_BYTES],
            given: 0,
            filled: 0,
            between: true,
            ended: false,
            spans: Spans::new(Packing::Zstd, limit),
            parts: Vec::new(),
            part: Part::default(),
        })
    }

    fn fill(&mut self) -> io::Result<()> {
        let offset = self.input.offset();
        let packed = self.input.available()?;
        let is_end = packed.is_empty();
        if self.between && (is_end || self.spans.is_long(offset)) {
            self.cut()?;
            self.ended = is_end;
            return Ok(());
        }
        let (mut packed, mut output) = (InBuffer::around(packed), OutBuffer::around(&mut self.output[..]));
        let left = self.decoder.run(&mut packed, &mut output);
        let left = left.map_err(|error| invalid(format!("it is damaged near byte {offset}: {error}")))?;
        let (read, written) = (packed.pos(), output.pos());
        // The decoder may hold output that needs no more input; without either, the frame is cut short.
        if is_end && written == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.input.consume(read);
        self.between = left == 0;
        (self.given, self.filled) = (0, written);
        self.note(written)
    }

    /// Adds the first `count` bytes of the output to the span and its parts.
    fn note(&mut self, count: usize) -> io::Result<()> {
        let mut bytes = self.output.get(..count).unwrap_or_default();
        self.spans.produced(bytes)?;
        while !bytes.is_empty() {
            let left = usize::try_from(SPAN_BYTES - self.part.bytes).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(left.min(bytes.len()));
            self.part.hasher.update(now);
            self.part.crc.update(now);
            self.part.bytes += now.len() as u64;
            if self.part.bytes == SPAN_BYTES {
                end_part(&mut self.part, &mut self.parts, &self.spans);
            }
            bytes = later;
        }
        Ok(())
    }

    /// Ends the open span.
    fn cut(&mut self) -> io::Result<()> {
        end_part(&mut self.part, &mut self.parts, &self.spans);
        let (digest, end) = (self.input.take_digest(false), self.input.offset());
        let parts = std::mem::take(&mut self.parts);
        if self.spans.tar_bytes().max(end - self.spans.offset()) > FRAME_BYTES_MAX {
            self.spans.replace(parts, end);
            return Ok(());
        }
        self.spans.cut(digest, end, end, Packing::Zstd)
    }
}

/// Ends the open part of the open span.
fn end_part(part: &mut Part, parts: &mut Vec<Member>, spans: &Spans) {
    let part = std::mem::take(part);
    if part.bytes == 0 {
        return;
    }
    let start = spans.tar_offset();
    parts.push(Member {
        offset: spans.offset(),
        tar_offset: parts
            .last()
            .map_or(start, |last| last.tar_offset + u64::from(last.tar_bytes)),
        compressed_bytes: 0,
        // At most SPAN_BYTES.
        tar_bytes: part.bytes as u32,
        crc: part.crc.finalize(),
        packing: Packing::ZstdRun { start },
        digest: Sha256(part.hasher.finalize().into()),
    });
}

impl Read for Unzstd<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.filled {
            if self.ended {
                return Ok(0);
            }
            self.fill()?;
        }
        let there = self.output.get(self.given..self.filled).unwrap_or_default();
        let count = there.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), there.get(..count)) {
            to.copy_from_slice(from);
        }
        self.given += count;
        Ok(count)
    }
}

impl Packed for Unzstd<'_> {
    fn finish(self: Box<Self>) -> Places {
        Places {
            members: self.spans.members,
            windows: Vec::new(),
        }
    }
}
