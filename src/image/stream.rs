//! Contents on their way from the layers to the raw file: read once, written once, on several threads.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use super::canvas::Known;
use super::region::Region;
use super::tree::{Content, FileContent, Index, Tree, TreeError};
use crate::cancel::Cancelled;
use crate::durable::PathError;
use crate::overlay::layer::{ContentReader, Errno, Layer, LayerError, LayerResult};
use crate::parallel;
use crate::sync::{Arc, Mutex, lock};
use crate::work::Work;

/// Bytes that a thread takes at once.
const UNIT_BYTES: u64 = 8 << 20;
/// Bytes that are written at once: they fit into a processor's cache, and the kernel finds pages for them quickly.
const BUFFER_BYTES: usize = 128 << 10;

/// Part of a file, and where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// The file in its tree.
    pub file: Index,
    /// The start of the part in the file.
    pub offset_bytes: u64,
    /// Its length.
    pub length_bytes: u64,
    /// Its place in the region.
    pub place_bytes: u64,
}

/// The reason why contents were not written.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// A file could not be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The raw file could not be written.
    #[error(transparent)]
    Io(#[from] PathError),
    /// The user asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// Files, and the places of their parts.
#[derive(Debug, Clone, Copy)]
pub struct Contents<'a> {
    /// The tree with the files.
    pub tree: &'a Tree,
    /// The parts, in their order.
    pub pieces: &'a [Piece],
    /// Length of a block in bytes: the rest of the last block of a piece is filled with zeros, unless the piece begins
    /// within a block.
    pub block_bytes: u64,
}

impl Contents<'_> {
    /// Returns the length in bytes of `piece` with the zeros behind it.
    fn padded_bytes(block_bytes: u64, piece: &Piece) -> u64 {
        match piece.place_bytes.is_multiple_of(block_bytes) {
            true => piece.length_bytes.next_multiple_of(block_bytes),
            false => piece.length_bytes,
        }
    }
}

/// Writes `contents` onto `region`.
///
/// # Errors
/// [`StreamError`], the first one; the region then has some of the pieces.
pub fn write(region: Region<'_>, contents: Contents<'_>, work: Work<'_>) -> Result<(), StreamError> {
    let Contents {
        tree,
        pieces,
        block_bytes,
    } = contents;
    let wanted: Vec<Piece> = pieces
        .iter()
        .filter(|piece| !is_there(region, tree, piece, block_bytes))
        .copied()
        .collect();
    let units = Mutex::new(units(&wanted, block_bytes).into_iter());
    let failed = AtomicBool::new(false);
    let write = || {
        let mut worker = Worker {
            region,
            reader: Reader::new(tree),
            block_bytes,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            start: 0,
        };
        let mut take = || -> Result<bool, StreamError> {
            work.cancel.check()?;
            let next = lock(&units).next();
            let Some(unit) = next else {
                return Ok(false);
            };
            unit.iter().try_for_each(|piece| worker.piece(piece))?;
            worker.flush()?;
            Ok(true)
        };
        while !failed.load(Ordering::Relaxed) {
            match take() {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) => {
                    failed.store(true, Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
        Ok(())
    };
    parallel::run(work.threads.clamp(1, 64), write).into_iter().collect()
}

/// Says whether an earlier image already has the piece at its place.
fn is_there(region: Region<'_>, tree: &Tree, piece: &Piece, block_bytes: u64) -> bool {
    let digest = content(tree, piece.file).and_then(|content| content.digest);
    digest.is_some_and(|digest| {
        let known = Known {
            digest,
            offset_bytes: piece.offset_bytes,
            length_bytes: Contents::padded_bytes(block_bytes, piece),
        };
        region.has(piece.place_bytes, known)
    })
}

/// Divides `pieces` into units of work of at most [`UNIT_BYTES`]; long pieces are cut.
fn units(pieces: &[Piece], block_bytes: u64) -> Vec<Vec<Piece>> {
    let mut units = Vec::new();
    let (mut unit, mut room) = (Vec::new(), UNIT_BYTES);
    for piece in pieces {
        let mut rest = *piece;
        while rest.length_bytes > 0 {
            let length_bytes = rest.length_bytes.min(room);
            unit.push(Piece { length_bytes, ..rest });
            rest.offset_bytes += length_bytes;
            rest.place_bytes += length_bytes;
            rest.length_bytes -= length_bytes;
            // Whole blocks, so that cuts lie on blocks.
            room -= length_bytes.next_multiple_of(block_bytes).min(room);
            if room == 0 {
                units.push(std::mem::take(&mut unit));
                room = UNIT_BYTES;
            }
        }
    }
    units.push(unit);
    units
}

fn content(tree: &Tree, file: Index) -> Option<&FileContent> {
    match tree.nodes().get(file).map(|node| &node.content) {
        Some(Content::File(content)) => Some(content),
        _ => None,
    }
}

/// Reads files of a tree, for one thread.
pub(super) struct Reader<'a> {
    tree: &'a Tree,
    /// Readers of layers, by the layer's address.
    readers: HashMap<*const (), Option<Box<dyn ContentReader + 'a>>>,
}

impl<'a> Reader<'a> {
    /// Makes a reader of the files of `tree`.
    pub(super) fn new(tree: &'a Tree) -> Self {
        Self {
            tree,
            readers: HashMap::new(),
        }
    }

    /// Fills `buffer` with the bytes of `file` at `offset`.
    ///
    /// # Errors
    /// If it cannot be read, or is shorter.
    pub(super) fn read(&mut self, file: Index, offset: u64, buffer: &mut [u8]) -> Result<(), TreeError> {
        self.try_read(file, offset, buffer)
            .map_err(|source| self.error(file, source))
    }

    /// Makes the error of `file` from its cause.
    pub(super) fn error(&self, file: Index, source: LayerError) -> TreeError {
        TreeError {
            path: self.tree.path_of(file),
            source,
        }
    }

    fn try_read(&mut self, file: Index, offset: u64, buffer: &mut [u8]) -> LayerResult<()> {
        let content = content(self.tree, file).ok_or(Errno::INVAL)?;
        let layer: &Arc<dyn Layer> = self.tree.layer_of(content);
        let reader = self
            .readers
            .entry(Arc::as_ptr(layer).cast())
            .or_insert_with(|| layer.reader());
        let length = match reader {
            Some(reader) => reader.read_at(content.node, offset, buffer)?,
            None => layer.read_at(content.node, offset, buffer)?,
        };
        match length == buffer.len() {
            true => Ok(()),
            false => Err(LayerError::new(
                Errno::IO,
                "it has become shorter while the image was written",
            )),
        }
    }
}

struct Worker<'a> {
    region: Region<'a>,
    reader: Reader<'a>,
    block_bytes: u64,
    /// Bytes to be written at `start`.
    buffer: Vec<u8>,
    start: u64,
}

impl Worker<'_> {
    fn piece(&mut self, piece: &Piece) -> Result<(), StreamError> {
        if self.start + self.buffer.len() as u64 != piece.place_bytes {
            self.flush()?;
            self.start = piece.place_bytes;
        }
        let mut offset = piece.offset_bytes;
        let end = piece.offset_bytes + piece.length_bytes;
        while offset < end {
            if self.buffer.len() >= BUFFER_BYTES {
                self.flush()?;
            }
            let filled = self.buffer.len();
            let length = (end - offset).min((BUFFER_BYTES - filled) as u64) as usize;
            self.buffer.resize(filled + length, 0);
            self.reader.read(piece.file, offset, &mut self.buffer[filled..])?;
            offset += length as u64;
        }
        let padding = Contents::padded_bytes(self.block_bytes, piece) - piece.length_bytes;
        self.buffer.resize(self.buffer.len() + padding as usize, 0);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), PathError> {
        self.region.put(self.start, &self.buffer)?;
        self.start += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}
