//! A delivered file while it is written: its parts arrive in any order and are taken in the order of the file, and its
//! digest is computed on the way.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use sha2::Digest as _;

use super::index::{Block, Chunk};
use super::joined::{Joiner, Joint};
use crate::durable::{self, AtomicFile, PathError};
use crate::image::containers::contents::Contents;
use crate::image::containers::packed::Packer;
use crate::package::Sha256;
use crate::sync::{Mutex, into_inner, lock};

/// Bytes that are hashed at once: what stays in a processor's cache.
const PIECE_BYTES: u64 = 128 << 10;
/// Zeros that are hashed at once.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
/// The length in bytes of what is given to the disk at once while the file grows. The host's file system places it as a
/// whole.
const WRITE_BACK_BYTES: u64 = 16 << 20;

/// The next bytes of a file.
#[derive(Debug)]
pub(super) enum Part<'a> {
    /// A chunk in compressed form, with the digest of what it was made from.
    Compressed(Vec<u8>, Sha256),
    /// Compressed blocks of a container.
    Packed(Blocks),
    /// A part of one compressed stream.
    Joined(Joint),
    /// A compressed chunk of zeros.
    Zeros(Arc<[u8]>),
    /// Bytes that are in their place already: those of the contents in this range.
    Placed(Contents<'a>, Range<u64>),
}

/// Compressed blocks that follow each other in a container.
#[derive(Debug)]
pub(super) struct Blocks {
    /// The index of the block that `blocks` count from.
    pub(super) first: u64,
    /// The digest of what they were made from, if it is known.
    pub(super) content: Option<Sha256>,
    /// Each block with its number; those of zeros are left out.
    pub(super) blocks: Vec<(u64, Vec<u8>)>,
}

/// A file that takes its parts from several threads.
#[derive(Debug)]
pub(super) struct Output<'a> {
    /// For parts that know their places.
    file: File,
    state: Mutex<State<'a>>,
}

#[derive(Debug)]
struct State<'a> {
    /// The number of the next part.
    next: u64,
    /// Parts that have arrived before their turn, by number.
    early: BTreeMap<u64, Part<'a>>,
    /// The end of the file; absent while a thread writes there.
    end: Option<End>,
}

/// The end of a file, where one thread at a time appends.
#[derive(Debug)]
struct End {
    file: AtomicFile,
    hasher: Option<sha2::Sha256>,
    size_bytes: u64,
    /// The bytes at the start of the file that are on their way to the disk.
    leaving_bytes: u64,
    chunks: Vec<Chunk>,
    /// For parts that are blocks.
    packer: Option<Box<dyn Packer>>,
    /// For parts of one stream.
    joiner: Option<Joiner>,
}

/// A file that is whole but does not have its name yet.
#[derive(Debug)]
pub(super) struct Written {
    /// The file.
    pub(super) file: AtomicFile,
    /// Its digest, if it was computed.
    pub(super) sha256: Option<Sha256>,
    /// Its compressed chunks but those of zeros, in order.
    pub(super) chunks: Vec<Chunk>,
}

impl<'a> Output<'a> {
    /// Makes an output of the empty `file`; `path` is its final name. Its digest is computed if `is_hashed`.
    ///
    /// # Errors
    /// If the descriptor cannot be duplicated.
    pub(super) fn new(mut file: AtomicFile, path: &std::path::Path, is_hashed: bool) -> Result<Self, PathError> {
        let copy = file.file().try_clone().map_err(PathError::on("open", path))?;
        let end = End {
            file,
            hasher: is_hashed.then(sha2::Sha256::new),
            size_bytes: 0,
            leaving_bytes: 0,
            chunks: Vec::new(),
            packer: None,
            joiner: None,
        };
        let state = State {
            next: 0,
            early: BTreeMap::new(),
            end: Some(end),
        };
        Ok(Self {
            file: copy,
            state: Mutex::new(state),
        })
    }

    /// Sets the size of the file in bytes, for parts that are placed.
    ///
    /// # Errors
    /// If the file system refuses it.
    pub(super) fn set_size(&self, size_bytes: u64) -> io::Result<()> {
        self.file.set_len(size_bytes)
    }

    /// Sets the writer of parts that are blocks of a container.
    pub(super) fn set_packer(&self, packer: Box<dyn Packer>) {
        if let Some(end) = &mut lock(&self.state).end {
            end.packer = Some(packer);
        }
    }

    /// Begins one stream, for parts of it.
    ///
    /// # Errors
    /// If writing fails.
    pub(super) fn set_joiner(&self, (joiner, head): (Joiner, Vec<u8>)) -> io::Result<()> {
        match &mut lock(&self.state).end {
            Some(end) => {
                end.joiner = Some(joiner);
                end.write(&head)
            }
            None => Ok(()),
        }
    }

    /// Returns the file, for parts that are put in their places.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Writes `bytes` at `offset_bytes`, independent of all other parts.
    ///
    /// # Errors
    /// If writing fails.
    pub(super) fn place(&self, bytes: &[u8], offset_bytes: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset_bytes)
    }

    /// Takes part `number`, and appends all parts whose turn has come; returns how many. A thread that finds another one
    /// at the end of the file leaves its part there.
    ///
    /// # Errors
    /// If writing fails; nothing can be appended then any more.
    pub(super) fn take(&self, number: u64, part: Part<'a>) -> io::Result<usize> {
        let mut state = lock(&self.state);
        state.early.insert(number, part);
        let mut count = 0;
        loop {
            let turn = state.next;
            if state.end.is_none() || !state.early.contains_key(&turn) {
                return Ok(count);
            }
            let (Some(part), Some(mut end)) = (state.early.remove(&turn), state.end.take()) else {
                return Ok(count);
            };
            drop(state);
            end.append(part)?;
            state = lock(&self.state);
            state.end = Some(end);
            state.next += 1;
            count += 1;
        }
    }

    /// Ends the file, which has all its parts.
    ///
    /// # Errors
    /// If a part is missing, because writing it failed.
    pub(super) fn finish(self) -> io::Result<Written> {
        let end = into_inner(self.state).end;
        let mut end = end.ok_or_else(|| io::Error::other("a part of it was not written"))?;
        let is_patched = end.finish_container()?;
        if let Some(joiner) = end.joiner.take() {
            end.write(&joiner.finish()?)?;
        }
        let sha256 = match end.hasher {
            // A digest cannot be computed from its end.
            Some(_) if is_patched => {
                let file = end.file.file();
                file.seek(SeekFrom::Start(0))?;
                Some(Sha256::of_reader(file)?.0)
            }
            hasher => hasher.map(|hasher| Sha256(hasher.finalize().into())),
        };
        Ok(Written {
            file: end.file,
            sha256,
            chunks: end.chunks,
        })
    }
}

impl End {
    fn append(&mut self, part: Part<'_>) -> io::Result<()> {
        match part {
            Part::Compressed(bytes, content) => {
                let chunk = Chunk {
                    content,
                    offset_bytes: self.size_bytes,
                    length_bytes: bytes.len() as u64,
                    crc32: crc32fast::hash(&bytes),
                    blocks: Vec::new(),
                };
                self.chunks.push(chunk);
                self.write(&bytes)?;
            }
            Part::Packed(blocks) => self.pack(&blocks)?,
            Part::Joined(joint) => {
                if let Some(joiner) = &mut self.joiner {
                    let bytes = joiner.add(joint)?;
                    self.write(&bytes)?;
                }
            }
            Part::Zeros(bytes) => self.write(&bytes)?,
            Part::Placed(contents, place) => {
                if let Some(hasher) = &mut self.hasher {
                    hash(hasher, &contents, &place)?;
                }
                self.size_bytes += place.end - place.start;
            }
        }
        self.start_write_back();
        Ok(())
    }

    /// Appends compressed blocks, and what the container has between them.
    fn pack(&mut self, packed: &Blocks) -> io::Result<()> {
        let (mut bytes, mut blocks) = (Vec::new(), Vec::new());
        if let Some(packer) = &mut self.packer {
            for (number, block) in &packed.blocks {
                let place = packer.append(packed.first + number, block, &mut bytes)?;
                blocks.push(Block {
                    number: *number,
                    offset_bytes: place - self.size_bytes,
                    length_bytes: block.len() as u64,
                });
            }
        }
        // The bytes before the first block may be the header, which changes at the end.
        let begin = blocks.first().map(|block: &Block| block.offset_bytes);
        if let Some((content, begin)) = packed.content.zip(begin) {
            blocks.iter_mut().for_each(|block| block.offset_bytes -= begin);
            self.chunks.push(Chunk {
                content,
                offset_bytes: self.size_bytes + begin,
                length_bytes: bytes.len() as u64 - begin,
                crc32: crc32fast::hash(&bytes[begin as usize..]),
                blocks,
            });
        }
        self.write(&bytes)
    }

    /// Has the disk begin with what is complete, so that less is left for the sync at the end.
    fn start_write_back(&mut self) {
        let complete = self.size_bytes / WRITE_BACK_BYTES * WRITE_BACK_BYTES;
        durable::start_write_back_of(self.file.file(), self.leaving_bytes..complete);
        self.leaving_bytes = complete;
    }

    /// Writes what a container has behind its last block, and over its first bytes; returns whether those have changed.
    fn finish_container(&mut self) -> io::Result<bool> {
        let Some(mut packer) = self.packer.take() else {
            return Ok(false);
        };
        let mut bytes = Vec::new();
        let head = packer.finish(&mut bytes)?;
        self.write(&bytes)?;
        self.file.file().write_all_at(&head, 0)?;
        Ok(!head.is_empty())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.file().write_all(bytes)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        self.size_bytes += bytes.len() as u64;
        Ok(())
    }
}

/// Adds the bytes of `contents` at `place` to `hasher`. They are read again, from the page cache in most cases, which
/// costs a tenth of hashing them; to keep them would take more.
fn hash(hasher: &mut sha2::Sha256, contents: &Contents<'_>, place: &Range<u64>) -> io::Result<()> {
    let mut buffer = vec![0; PIECE_BYTES as usize];
    let mut at = place.start;
    while at < place.end {
        let (start, end) = contents.next_data(at, place.end)?;
        hash_zeros(hasher, start - at);
        for piece in (start..end).step_by(PIECE_BYTES as usize) {
            let bytes = &mut buffer[..(end - piece).min(PIECE_BYTES) as usize];
            contents.read_exact_at(bytes, piece)?;
            hasher.update(&*bytes);
        }
        at = end;
    }
    Ok(())
}

fn hash_zeros(hasher: &mut sha2::Sha256, mut length_bytes: u64) {
    while length_bytes > 0 {
        let count = length_bytes.min(ZEROS.len() as u64);
        hasher.update(&ZEROS[..count as usize]);
        length_bytes -= count;
    }
}
