//! The open tarball: gives the bytes of its members, verified.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use miniz_oxide::inflate::core::inflate_flags::{TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF};
use miniz_oxide::inflate::core::{BlockBoundaryState, DecompressorOxide, decompress};

use super::SnapshotError;
use super::format::{Member, MemberId, Packing};
use super::index::Index;
use crate::durable::PathError;
use crate::package::Sha256;

/// Largest window of a zstd frame that is accepted, as a power of two (128 MiB): what `zstd --long` takes.
pub(super) const ZSTD_WINDOW_LOG_MAX: u32 = 27;
/// How far back a deflate stream can refer (RFC 1951, section 2).
pub(super) const DEFLATE_WINDOW_BYTES: usize = 32 << 10;

/// An open tarball.
#[derive(Debug)]
pub(super) struct Tarball {
    file: File,
    path: PathBuf,
    is_foreign: bool,
    /// The frame that is being decoded part after part.
    run: Mutex<Option<Run>>,
}

/// A decoder somewhere in a long zstd frame.
struct Run {
    frame_offset: u64,
    /// Offset in the tar stream of what comes next.
    tar_position: u64,
    decoder: zstd::stream::read::Decoder<'static, io::BufReader<From>>,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run")
            .field("tar_position", &self.tar_position)
            .finish_non_exhaustive()
    }
}

/// A file from an offset on, whoever else moves in it.
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
    /// `file`, which was opened at `path`; `is_foreign` unless oic wrote it.
    pub(super) fn new(file: File, path: &Path, is_foreign: bool) -> Self {
        Self {
            file,
            path: path.to_owned(),
            is_foreign,
            run: Mutex::default(),
        }
    }

    /// Whether it came from elsewhere.
    pub(super) fn is_foreign(&self) -> bool {
        self.is_foreign
    }

    /// Fills `buffer` from the tarball's own bytes at `offset`, which some [`Packing::Stored`] member has.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> Result<(), SnapshotError> {
        let read = self.file.read_exact_at(buffer, offset);
        Ok(read.map_err(PathError::on("read", &self.path))?)
    }

    /// The tar stream's bytes of `member`, verified before and after unpacking. Parts of a long zstd frame that are
    /// unpacked on the way to it are given to `passing`, verified as well.
    ///
    /// # Errors
    /// Damage, of the tarball or the index.
    pub(super) fn unpack(
        &self,
        index: &Index,
        member: &Member,
        passing: &dyn Fn(MemberId, &Member, &[u8]),
    ) -> Result<Vec<u8>, SnapshotError> {
        if let Packing::ZstdRun { start } = member.packing {
            return self.unpack_run(index, member, start, passing);
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
            Packing::Deflate { bit, window } => inflate(&packed, bit, &index.window(window)?, member),
            Packing::ZstdRun { .. } => None,
        };
        let is_right =
            |bytes: &Vec<u8>| bytes.len() == member.tar_bytes as usize && crc32fast::hash(bytes) == member.crc;
        bytes
            .filter(is_right)
            .ok_or_else(|| self.damage(member, "it does not unpack to what it should"))
    }

    fn unpack_run(
        &self,
        index: &Index,
        member: &Member,
        start: u64,
        passing: &dyn Fn(MemberId, &Member, &[u8]),
    ) -> Result<Vec<u8>, SnapshotError> {
        let mut kept = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        let goes_on = |run: &Run| run.frame_offset == member.offset && run.tar_position <= member.tar_offset;
        let mut run = match kept.take().filter(goes_on) {
            Some(run) => run,
            None => self.start_run(member.offset, start)?,
        };
        loop {
            let (id, part) = index.member_at(run.tar_position)?;
            let mut bytes = vec![0; part.tar_bytes as usize];
            let read = run.decoder.read_exact(&mut bytes);
            if read.is_err() || Sha256::of(&bytes) != part.digest || part.tar_offset != run.tar_position {
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

    fn start_run(&self, frame_offset: u64, tar_position: u64) -> Result<Run, SnapshotError> {
        let fail = || PathError::on("read", &self.path);
        let from = From {
            file: self.file.try_clone().map_err(fail())?,
            offset: frame_offset,
        };
        let decoder = zstd_decoder(io::BufReader::with_capacity(128 << 10, from)).map_err(fail())?;
        Ok(Run {
            frame_offset,
            tar_position,
            decoder,
        })
    }

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

/// As many bytes of `unpacked` as `member` has; `None` if there are fewer.
fn exactly(mut unpacked: impl Read, member: &Member) -> Option<Vec<u8>> {
    let mut bytes = vec![0; member.tar_bytes as usize];
    unpacked.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

/// Inflates `packed` from bit `bit` of its first byte on, where a block starts; `window` is what came before.
fn inflate(packed: &[u8], bit: u8, window: &[u8], member: &Member) -> Option<Vec<u8>> {
    // The bits of the first byte that belong to the block, then whole bytes.
    let (first, rest) = packed.split_first()?;
    let (state, packed) = match bit {
        0 => (BlockBoundaryState::default(), packed),
        bit => {
            let state = BlockBoundaryState {
                num_bits: 8 - bit,
                bit_buf: first >> bit,
                ..BlockBoundaryState::default()
            };
            (state, rest)
        }
    };
    let mut decoder = DecompressorOxide::from_block_boundary_state(&state);
    let mut bytes = window.to_vec();
    bytes.resize(window.len() + member.tar_bytes as usize, 0);
    let flags = TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF | TINFL_FLAG_HAS_MORE_INPUT;
    let (_, _, written) = decompress(&mut decoder, packed, &mut bytes, window.len(), flags);
    (written == member.tar_bytes as usize).then(|| bytes.split_off(window.len()))
}
