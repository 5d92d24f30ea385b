//! A file to deliver: the bytes of its container, cut into chunks that are made independently of each other.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::compressor::Compressor;
use super::identity;
use super::index::EarlierFile;
use super::joined::{Joiner, Joint};
use super::output::{Blocks, Output, Part, Written};
use crate::cancel::Cancel;
use crate::durable::PathError;
use crate::image::containers::contents::Contents;
use crate::image::containers::packed::{Pack, Packer};
use crate::image::containers::{Layout, Piece};
use crate::image::digest::DigestTree;
use crate::image::tree::is_zero;
use crate::package::Sha256;

/// The length in bytes of a chunk that is not compressed as a whole.
const PLAIN_BYTES: u64 = 4 << 20;
/// Bytes that are copied at once: what stays in a processor's cache.
const PIECE_BYTES: u64 = 256 << 10;

/// The form of a product.
#[derive(Debug)]
pub(super) enum Form<'a> {
    /// The bytes themselves.
    Plain,
    /// Blocks that are compressed one by one, with the chunks of the file of an earlier build.
    Packed(Box<dyn Packer>, Option<EarlierFile>),
    /// Compressed, with the chunks of the file of an earlier build.
    Compressed(&'a Compressor, Option<EarlierFile>),
    /// Compressed to one stream, by this number of threads.
    Joined(&'a Compressor, usize),
}

/// What is done with a chunk.
#[derive(Debug)]
enum Method<'a> {
    /// It is put in its place.
    Plain,
    /// Its blocks, of this length in bytes, are compressed by this function, or taken from the file of an earlier build.
    Packed(u64, Pack, Option<EarlierFile>),
    /// It is compressed, or taken from the file of an earlier build.
    Compressed(&'a Compressor, Option<EarlierFile>),
    /// It becomes a part of one stream.
    Joined(&'a Compressor),
}

/// The bytes of a product before they are compressed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    /// The order of the bytes.
    pub(super) layout: &'a Layout,
    /// The bytes.
    pub(super) contents: Contents<'a>,
    /// The digests of the raw image, if they are known.
    pub(super) tree: Option<&'a DigestTree>,
    /// The path of the raw image, for messages.
    pub(super) path: &'a Path,
}

/// A file to deliver.
#[derive(Debug)]
pub(super) struct Product<'a> {
    source: Source<'a>,
    method: Method<'a>,
    output: Output<'a>,
    /// Its final name.
    path: PathBuf,
}

impl<'a> Product<'a> {
    /// Makes a product that becomes the output, whose final name comes with it.
    ///
    /// # Errors
    /// If the output cannot be given its size.
    pub(super) fn new(
        source: Source<'a>,
        form: Form<'a>,
        (output, path): (Output<'a>, PathBuf),
    ) -> Result<Self, PathError> {
        let form = match form {
            Form::Plain => {
                let sized = output.set_size(source.layout.size_bytes());
                sized.map_err(PathError::on("set the size of", &path))?;
                Method::Plain
            }
            Form::Packed(packer, earlier) => {
                let method = Method::Packed(packer.block_bytes(), packer.pack(), earlier);
                output.set_packer(packer);
                method
            }
            Form::Compressed(compressor, earlier) => Method::Compressed(compressor, earlier),
            Form::Joined(compressor, threads) => {
                let begun = Joiner::new(compressor, threads).and_then(|joiner| output.set_joiner(joiner));
                begun.map_err(PathError::on("begin", &path))?;
                Method::Joined(compressor)
            }
        };
        Ok(Self {
            source,
            method: form,
            output,
            path,
        })
    }

    /// Returns the size of its container in bytes.
    pub(super) fn size_bytes(&self) -> u64 {
        self.source.layout.size_bytes()
    }

    fn chunk_bytes(&self) -> u64 {
        match &self.method {
            // A whole number of blocks.
            Method::Plain | Method::Packed(..) => PLAIN_BYTES,
            Method::Compressed(compressor, _) | Method::Joined(compressor) => compressor.chunk_bytes(),
        }
    }

    /// Returns the place (bytes) of chunk `number` in its container; `None` behind the last one.
    pub(super) fn chunk(&self, number: u64) -> Option<Range<u64>> {
        let start = number.checked_mul(self.chunk_bytes())?;
        let end = start.saturating_add(self.chunk_bytes()).min(self.size_bytes());
        (start < end).then_some(start..end)
    }

    /// Returns the place of the raw image, in bytes, from which chunk `number` begins to read; `None` behind the last
    /// chunk.
    pub(super) fn reads_from(&self, number: u64) -> Option<u64> {
        let start = self.chunk(number)?.start;
        let pieces = self.source.layout.pieces();
        let behind = pieces.partition_point(|(offset, _)| *offset <= start);
        let before = pieces[..behind].iter().rev().find_map(|(offset, piece)| match piece {
            Piece::Raw(range) => Some(range.end.min(range.start + (start - offset))),
            Piece::Bytes(_) | Piece::Zeros(_) => None,
        });
        Some(before.unwrap_or_default())
    }

    /// Makes chunk `number`, which exists, and hands it to the output. Returns the number of chunks that are done now.
    ///
    /// # Errors
    /// If reading, compressing or writing fails, or `cancel` is set.
    pub(super) fn make(&self, number: u64, cancel: &Cancel) -> Result<usize, PathError> {
        let Some(place) = self.chunk(number) else { return Ok(0) };
        let part = match &self.method {
            Method::Plain => self.placed(&place)?,
            Method::Packed(block_bytes, pack, earlier) => {
                self.packed(&place, (*block_bytes, *pack, earlier.as_ref()), cancel)?
            }
            Method::Compressed(compressor, earlier) => {
                self.compressed(&place, (compressor, earlier.as_ref()), cancel)?
            }
            Method::Joined(compressor) => {
                let chunk = joined(self.data(&place)?, (place.end - place.start) as usize);
                let joint = Joint::new(compressor, chunk, cancel);
                Part::Joined(joint.map_err(PathError::on("compress to", &self.path))?)
            }
        };
        let taken = self.output.take(number, part);
        taken.map_err(PathError::on("write", &self.path))
    }

    /// Reads the data of the container within `place`; each part has its offset in it.
    fn data(&self, place: &Range<u64>) -> Result<Vec<(u64, Vec<u8>)>, PathError> {
        let read = || self.read(place);
        read().map_err(PathError::on("read", self.source.path))
    }

    fn read(&self, place: &Range<u64>) -> io::Result<Vec<(u64, Vec<u8>)>> {
        let (mut parts, mut at) = (Vec::new(), place.start);
        while at < place.end {
            let (start, end) = self.source.contents.next_data(at, place.end)?;
            if start < end {
                let mut bytes = vec![0; (end - start) as usize];
                self.source.contents.read_exact_at(&mut bytes, start)?;
                parts.push((start - place.start, bytes));
            }
            at = end;
        }
        Ok(parts)
    }

    /// Copies the data at `place` to the same place of the file.
    fn placed(&self, place: &Range<u64>) -> Result<Part<'a>, PathError> {
        let (contents, mut at) = (self.source.contents, place.start);
        while at < place.end {
            let data = contents.next_data(at, place.end);
            let (start, end) = data.map_err(PathError::on("read", self.source.path))?;
            self.copy(start + contents.copy_start(&(start..end), self.output.file())..end)?;
            at = end;
        }
        Ok(Part::Placed(contents, place.clone()))
    }

    /// Copies `data` to the same place of the file, piece by piece.
    fn copy(&self, data: Range<u64>) -> Result<(), PathError> {
        let mut buffer = vec![0; (data.end - data.start).min(PIECE_BYTES) as usize];
        for start in data.clone().step_by(PIECE_BYTES as usize) {
            let bytes = &mut buffer[..(data.end - start).min(PIECE_BYTES) as usize];
            let read = self.source.contents.read_exact_at(bytes, start);
            read.map_err(PathError::on("read", self.source.path))?;
            let placed = self.output.place(bytes, start);
            placed.map_err(PathError::on("write", &self.path))?;
        }
        Ok(())
    }

    /// Takes the blocks at `place` from the `earlier` file, or compresses those that are not zeros.
    fn packed(
        &self,
        place: &Range<u64>,
        (block_bytes, pack, earlier): (u64, Pack, Option<&EarlierFile>),
        cancel: &Cancel,
    ) -> Result<Part<'a>, PathError> {
        let mut packed = Blocks {
            first: place.start / block_bytes,
            content: self.known(place),
            blocks: Vec::new(),
        };
        let count = (place.end - place.start).div_ceil(block_bytes);
        if let Some(blocks) = packed.content.and_then(|content| earlier?.blocks(content, count)) {
            packed.blocks = blocks;
            return Ok(Part::Packed(packed));
        }
        let data = self.data(place)?;
        if !data.is_empty() {
            let chunk = joined(data, (place.end - place.start) as usize);
            for (number, block) in (0..).zip(chunk.chunks(block_bytes as usize)) {
                let is_stopped = cancel.check().map_err(io::Error::other);
                let block = is_stopped.and_then(|()| (!is_zero(block)).then(|| pack(block)).transpose());
                let block = block.map_err(PathError::on("compress to", &self.path))?;
                packed.blocks.extend(block.map(|block| (number, block)));
            }
        }
        Ok(Part::Packed(packed))
    }

    /// Returns the digest of what the part at `place` is made from, if it is known without reading.
    fn known(&self, place: &Range<u64>) -> Option<Sha256> {
        let tree = self.source.tree?;
        Some(identity::of_part(self.source.layout, tree, place))
    }

    /// Takes the chunk at `place` from the `earlier` file, or compresses it.
    fn compressed(
        &self,
        place: &Range<u64>,
        (compressor, earlier): (&Compressor, Option<&EarlierFile>),
        cancel: &Cancel,
    ) -> Result<Part<'a>, PathError> {
        let find = |content| Some(Part::Compressed(earlier?.chunk(content)?, content));
        let known = self.known(place);
        if let Some(part) = known.and_then(find) {
            return Ok(part);
        }
        let length = (place.end - place.start) as usize;
        let data = self.data(place)?;
        let compressed = || {
            if length as u64 == compressor.chunk_bytes() && data.iter().all(|(_, bytes)| is_zero(bytes)) {
                return Ok(Part::Zeros(compressor.zeros(cancel)?));
            }
            let chunk = joined(data, length);
            let content = known.unwrap_or_else(|| Sha256::of(&chunk));
            match find(content).filter(|_| known.is_none()) {
                Some(part) => Ok(part),
                None => Ok(Part::Compressed(compressor.compress(&chunk, cancel)?, content)),
            }
        };
        compressed().map_err(PathError::on("compress to", &self.path))
    }

    /// Ends the file, which has all its chunks; returns it with its final name.
    ///
    /// # Errors
    /// If a chunk is missing.
    pub(super) fn finish(self) -> Result<(Written, PathBuf), PathError> {
        let written = self.output.finish().map_err(PathError::on("write", &self.path))?;
        Ok((written, self.path))
    }
}

/// Joins the parts of a chunk of `length` bytes, with zeros between them.
fn joined(mut data: Vec<(u64, Vec<u8>)>, length: usize) -> Vec<u8> {
    if let [(0, bytes)] = data.as_mut_slice()
        && bytes.len() == length
    {
        return std::mem::take(bytes);
    }
    let mut chunk = vec![0; length];
    for (offset, bytes) in data {
        let start = offset as usize;
        chunk[start..start + bytes.len()].copy_from_slice(&bytes);
    }
    chunk
}
