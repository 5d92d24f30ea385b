//! The open tarball, which gives the verified bytes of its members.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::SnapshotError;
use super::format::{Member, Packing};
use super::index::Index;
use super::inflate::{Inflated, Inflater};
use super::member_id::MemberId;
use crate::archive::compression::ZSTD_WINDOW_LOG_MAX;
use crate::durable::PathError;
use crate::package::Sha256;
use crate::sync::{Mutex, lock};

/// An open tarball.
#[derive(Debug)]
pub(super) struct Tarball {
    file: File,
    path: PathBuf,
    is_foreign: bool,
    /// The frame or block that is being decoded part after part.
    run: Mutex<Option<Run>>,
}

/// A decoder somewhere in a long zstd frame or deflate block.
struct Run {
    /// Start of the frame or block in the tarball.
    offset: u64,
    /// Offset in the tar stream of the decoder's next byte.
    tar_position: u64,
    decoder: Box<dyn Read + Send>,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run")
            .field("tar_position", &self.tar_position)
            .finish_non_exhaustive()
    }
}

/// A reader of a file from an offset on, independent of the file's shared position.
struct From {
    file: File,
    offset: u64,
}

impl Read for From {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset = self.offset.saturating_add(count as u64);
        Ok(count)
    }
}

impl Tarball {
    /// Takes `file`, which was opened at `path`; `is_foreign` unless oic wrote it.
    pub(super) fn new(file: File, path: &Path, is_foreign: bool) -> Self {
        Self {
            file,
            path: path.to_owned(),
            is_foreign,
            run: Mutex::default(),
        }
    }

    /// Returns whether it is from elsewhere.
    pub(super) fn is_foreign(&self) -> bool {
        self.is_foreign
    }

    /// Fills `buffer` from the tarball's own bytes at `offset`, which lie in a [`Packing::Stored`] member.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> Result<(), SnapshotError> {
        let read = self.file.read_exact_at(buffer, offset);
        Ok(read.map_err(PathError::on("read", &self.path))?)
    }

    /// Returns the tar stream's bytes of `member`, verified before and after unpacking. If it is a part of a frame or
    /// block, `passing` gets the parts that are unpacked on the way to it, verified as well.
    ///
    /// # Errors
    /// Damage, of the tarball or the index.
    pub(super) fn unpack(
        &self,
        index: &Index,
        member: &Member,
        passing: &dyn Fn(MemberId, &Member, &[u8]),
    ) -> Result<Vec<u8>, SnapshotError> {
        if member.packing.is_part() {
            return self.unpack_part(index, member, passing);
        }
        let mut packed = vec![0; member.compressed_bytes as usize];
        self.read(&mut packed, member.offset)?;
        if Sha256::of(&packed) != member.digest {
            return Err(self.damage(member, "its SHA-256 is wrong"));
        }
        let bytes = match member.packing {
            Packing::Stored => Some(packed),
            Packing::Gzip => exactly(flate2::bufread::MultiGzDecoder::new(&packed[..]), member),
            Packing::Zstd => zstd_decoder(&packed[..]).ok().and_then(|zstd| exactly(zstd, member)),
            Packing::Deflate { bit, window } => exactly(inflated(&packed[..], bit, &index.window(window)?), member),
            Packing::ZstdRun { .. } | Packing::Continued { .. } => None,
        };
        let is_right =
            |bytes: &Vec<u8>| bytes.len() == member.tar_bytes as usize && crc32fast::hash(bytes) == member.crc;
        bytes
            .filter(is_right)
            .ok_or_else(|| self.damage(member, "it does not unpack to what it should"))
    }

    fn unpack_part(
        &self,
        index: &Index,
        member: &Member,
        passing: &dyn Fn(MemberId, &Member, &[u8]),
    ) -> Result<Vec<u8>, SnapshotError> {
        let mut kept = lock(&self.run);
        let goes_on = |run: &Run| run.offset == member.offset && run.tar_position <= member.tar_offset;
        let mut run = match kept.take().filter(goes_on) {
            Some(run) => run,
            None => self.start_run(index, member)?,
        };
        loop {
            let (id, part) = index.member_at(run.tar_position)?;
            let mut bytes = vec![0; part.tar_bytes as usize];
            let read = run.decoder.read_exact(&mut bytes);
            let is_right = match part.packing.is_part() {
                true => Sha256::of(&bytes) == part.digest,
                false => crc32fast::hash(&bytes) == part.crc,
            };
            if read.is_err() || !is_right || part.tar_offset != run.tar_position {
                return Err(self.damage(member, "it does not unpack to what it should"));
            }
            run.tar_position = run.tar_position.saturating_add(part.tar_bytes.into());
            if part.tar_offset >= member.tar_offset {
                *kept = Some(run);
                return Ok(bytes);
            }
            passing(id, &part, &bytes);
        }
    }

    /// Starts a decoder at the start of the frame or block that `member` is part of.
    fn start_run(&self, index: &Index, member: &Member) -> Result<Run, SnapshotError> {
        let fail = || PathError::on("read", &self.path);
        let from = From {
            file: self.file.try_clone().map_err(fail())?,
            offset: member.offset,
        };
        let from = io::BufReader::with_capacity(128 << 10, from);
        let first = match member.packing {
            Packing::Continued { first } => index.member(MemberId(first))?,
            _ => *member,
        };
        let (tar_position, decoder): (u64, Box<dyn Read + Send>) = match first.packing {
            Packing::ZstdRun { start } => (start, Box::new(zstd_decoder(from).map_err(fail())?)),
            Packing::Gzip => (first.tar_offset, Box::new(flate2::bufread::MultiGzDecoder::new(from))),
            Packing::Deflate { bit, window } => {
                (first.tar_offset, Box::new(inflated(from, bit, &index.window(window)?)))
            }
            _ => return Err(index.damage("a member continues what cannot be continued")),
        };
        Ok(Run {
            offset: member.offset,
            tar_position,
            decoder,
        })
    }

    /// Makes an error that names the place of `member` in the tarball.
    pub(super) fn damage(&self, member: &Member, problem: &str) -> SnapshotError {
        let place = match member.compressed_bytes {
            0 => format!("behind byte {}", member.offset),
            bytes => format!(
                "between bytes {} and {}",
                member.offset,
                member.offset + u64::from(bytes)
            ),
        };
        let (path, problem) = (self.path.clone(), format!("it is damaged {place} ({problem})"));
        match self.is_foreign {
            true => SnapshotError::Foreign { path, problem },
            false => SnapshotError::Tarball { path, problem },
        }
    }
}

fn zstd_decoder<R: io::BufRead>(packed: R) -> io::Result<zstd::stream::read::Decoder<'static, R>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
    Ok(decoder)
}

/// Returns as many bytes of `unpacked` as `member` has; `None` if there are fewer.
fn exactly(mut unpacked: impl Read, member: &Member) -> Option<Vec<u8>> {
    let mut bytes = vec![0; member.tar_bytes as usize];
    unpacked.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

/// Inflates `packed` from bit `bit` of its first byte on, where a block starts; `window` is the output before it.
fn inflated<R: io::BufRead>(mut packed: R, bit: u8, window: &[u8]) -> impl Read + use<R> {
    let mut first = [0];
    // Without a byte, there is nothing to inflate either, which the inflater finds.
    if bit > 0 && packed.read_exact(&mut first).is_err() {
        first = [0];
    }
    Inflated {
        inflater: Inflater::at_block(first[0], bit, window),
        packed,
    }
}
