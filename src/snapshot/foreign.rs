//! Tarballs that came from elsewhere: `.tar`, `.tar.gz` and `.tar.zst`, as tar(1), bsdtar(1) and Python make them.
//!
//! One pass over the whole tarball makes an index for it; afterwards it is read as lazily as one of oic's own.
//! Invariant: a tarball that cannot be shown as a whole is refused, with the member and the reason.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use sha2::Digest as _;

use super::SnapshotError;
use super::builder::TooLarge;
use super::format::{Identity, Member};
use super::index::Index;
use super::reader::SnapshotPaths;
use super::toc;
use crate::archive::ArchiveError;
use crate::archive::stream::{self, Kind, Stream};
use crate::cancel::{Cancel, Cancelled};
use crate::durable::{FileLock, PathError};
use crate::overlay::layer::Timestamp;
use crate::package::Sha256;

mod gzip;
mod input;
mod plain;
mod spans;
mod tree;
mod zstd;

use input::Input;
use tree::Tree;

/// Bytes at the end of a tarball that its identity covers.
const TAIL_BYTES: u64 = 4096;

/// Bounds for a tarball from elsewhere.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Refuse a tar stream that is longer, in bytes.
    pub tar_bytes_max: u64,
    /// Refuse a tree with more files and directories.
    pub nodes_max: u32,
    /// Refuse more names, link targets and attributes together, in bytes.
    pub names_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            tar_bytes_max: 256 << 30,
            nodes_max: 8_000_000,
            names_bytes_max: 1 << 30,
        }
    }
}

/// How to make an index.
#[derive(Default)]
pub struct PrepareOptions<'a> {
    /// What is refused.
    pub limits: Limits,
    /// Told of the tarball's bytes as they are read.
    pub advance: Option<&'a dyn Fn(u64)>,
    /// Stops the work.
    pub cancel: Cancel,
}

impl std::fmt::Debug for PrepareOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrepareOptions")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// The compressions of a tarball, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Gzip,
    Zstd,
    Plain,
}

impl Format {
    /// What a file that starts with `bytes` (a tar block, if there are so many) is; the error is a sentence's end.
    fn of(bytes: &[u8]) -> Result<Self, String> {
        match bytes {
            // RFC 1952, section 2.3.1: deflate is the only method.
            [0x1f, 0x8b, 8, ..] => Ok(Self::Gzip),
            // RFC 8878, sections 3.1.1 and 3.1.2: a frame, or one to be skipped.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Self::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', ..] | [b'B', b'Z', b'h', ..] => Err(
                "it is compressed by xz or bzip2, which cannot be read in parts: compress it by zstd or gzip".into(),
            ),
            bytes if stream::starts_with_header(bytes) => Ok(Self::Plain),
            _ => Err("it is not a tar, .tar.gz or .tar.zst file".into()),
        }
    }
}

/// Whether the file at `path` looks like a tarball that [`prepare`] takes (or one of oic's own).
pub fn is_tarball(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    let mut start = Vec::new();
    let read = (&file).take(stream::HEADER_BYTES as u64).read_to_end(&mut start);
    file.metadata().is_ok_and(|metadata| metadata.is_file()) && read.is_ok() && Format::of(&start).is_ok()
}

/// Makes sure that [`Snapshot::open`](super::Snapshot::open) finds what it needs: a tarball that oic has not written
/// gets an index, at `paths.index`, unless the one that is there belongs to it. Of several processes that want it
/// at the same time, one makes it. Whether it was made now.
///
/// # Errors
/// [`SnapshotError::Foreign`] if the tarball is damaged or cut short, exceeds the limits, or holds what cannot be
/// shown; [`SnapshotError::Path`] if reading or writing fails; [`SnapshotError::Cancelled`].
pub fn prepare(paths: &SnapshotPaths, options: &PrepareOptions<'_>) -> Result<bool, SnapshotError> {
    let file = File::open(&paths.tarball).map_err(PathError::on("open", &paths.tarball))?;
    if toc::footer(&file, &paths.tarball).is_ok() || index_of(&file, paths).is_some() {
        return Ok(false);
    }
    let mut lock = paths.index.clone().into_os_string();
    lock.push(".lock");
    let _lock = FileLock::exclusive(lock)?;
    if index_of(&file, paths).is_some() {
        return Ok(false);
    }
    make_index(&file, &paths.tarball, &paths.index, options)?;
    Ok(true)
}

/// Writes an index for `tarball` to the file `index`: from the table of contents of one of oic's own, else by
/// reading all of it.
///
/// # Errors
/// As [`prepare`].
pub fn index_tarball(tarball: &Path, index: &Path, options: &PrepareOptions<'_>) -> Result<(), SnapshotError> {
    let file = File::open(tarball).map_err(PathError::on("open", tarball))?;
    match toc::footer(&file, tarball) {
        Ok(_) => toc::rebuild_index(tarball, index),
        Err(_) => make_index(&file, tarball, index, options),
    }
}

/// The index at `paths.index`, if it belongs to the open tarball.
pub(super) fn index_of(tarball: &File, paths: &SnapshotPaths) -> Option<Index> {
    let index = Index::open(&paths.index).ok()?;
    let found = index.header().identity()?;
    (Identity::of(tarball).ok()? == found).then_some(index)
}

impl Identity {
    fn of(tarball: &File) -> io::Result<Self> {
        let metadata = tarball.metadata()?;
        let size_bytes = metadata.len();
        let tail_bytes = size_bytes.min(TAIL_BYTES);
        let mut tail = vec![0; tail_bytes as usize];
        tarball.read_exact_at(&mut tail, size_bytes - tail_bytes)?;
        Ok(Self {
            size_bytes,
            modified: Timestamp {
                seconds: metadata.mtime(),
                nanoseconds: u32::try_from(metadata.mtime_nsec()).unwrap_or(0),
            },
            tail: Sha256::of(tail),
        })
    }
}

/// A tar stream that is unpacked, and the places noted where it can be entered.
trait Packed: Read {
    /// What was noted. The whole of the stream must have been read.
    fn finish(self: Box<Self>) -> Places;
}

/// Where a tar stream can be entered.
#[derive(Debug)]
struct Places {
    members: Vec<Member>,
    /// What the windows of the members refer to.
    windows: Vec<u8>,
}

fn make_index(file: &File, tarball: &Path, index: &Path, options: &PrepareOptions<'_>) -> Result<(), SnapshotError> {
    let refused = |problem: String| SnapshotError::Foreign {
        path: tarball.to_owned(),
        problem,
    };
    let before = Identity::of(file).map_err(PathError::on("read", tarball))?;
    let mut start = vec![0; before.size_bytes.min(stream::HEADER_BYTES as u64) as usize];
    file.read_exact_at(&mut start, 0)
        .map_err(PathError::on("read", tarball))?;
    let format = Format::of(&start).map_err(refused)?;
    let input = Input::new(file, options);
    let limit = options.limits.tar_bytes_max;
    let packed: Box<dyn Packed + '_> = match format {
        Format::Gzip => Box::new(gzip::Gunzip::new(input, limit)),
        Format::Zstd => Box::new(zstd::Unzstd::new(input, limit).map_err(PathError::on("read", tarball))?),
        Format::Plain => Box::new(plain::Plain::new(input, limit)),
    };
    let mut stream = Stream::new(packed, tarball);
    let tree = read_tree(&mut stream, options).map_err(|failure| failure.explain(tarball))?;
    let mut packed = stream.into_inner();
    // The checksums of the compression stand behind what tar itself reads.
    io::copy(&mut packed, &mut io::sink()).map_err(|error| Failure::from(error).explain(tarball))?;
    if Identity::of(file).map_err(PathError::on("read", tarball))? != before {
        return Err(refused("it changed while it was read".into()));
    }
    let Places { mut members, windows } = packed.finish();
    let mut builder = tree.build().map_err(|TooLarge| Failure::TooLarge.explain(tarball))?;
    builder.windows(&windows, &mut members);
    let digests: Vec<u8> = members.iter().flat_map(|member| member.digest.0).collect();
    let mut layout = builder.finish(Sha256::of(digests), &members);
    layout.header.tarball_bytes = before.size_bytes;
    layout.header.foreign = Some((before.modified, before.tail));
    toc::write_index(&layout, index)
}

/// Why a pass ended early.
#[derive(Debug)]
enum Failure {
    Archive(ArchiveError),
    Read(io::Error),
    /// A member and what is wrong with it.
    Refused(std::path::PathBuf, String),
    TooLarge,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

impl From<ArchiveError> for Failure {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}

impl Failure {
    fn explain(self, tarball: &Path) -> SnapshotError {
        let is_cancelled = |error: &io::Error| error.get_ref().is_some_and(|inner| inner.is::<Cancelled>());
        let problem = match self {
            Self::Read(error) | Self::Archive(ArchiveError::Read { source: error, .. }) if is_cancelled(&error) => {
                return Cancelled.into();
            }
            Self::Archive(ArchiveError::Cancelled(cancelled)) => return cancelled.into(),
            Self::Archive(ArchiveError::Refused { member, problem, .. }) | Self::Refused(member, problem) => {
                format!("member {member:?} is refused: {problem}")
            }
            Self::Archive(ArchiveError::Malformed { problem, .. }) => problem,
            Self::Read(error) | Self::Archive(ArchiveError::Read { source: error, .. }) => match error.kind() {
                // Ours, and those of the decoders.
                io::ErrorKind::InvalidData | io::ErrorKind::Other => error.to_string(),
                io::ErrorKind::UnexpectedEof => "it ends early: it is cut short".into(),
                _ => return PathError::on("read", tarball)(error).into(),
            },
            Self::Archive(error) => error.to_string(),
            Self::TooLarge => "it has more files than a snapshot can number".into(),
        };
        SnapshotError::Foreign {
            path: tarball.to_owned(),
            problem,
        }
    }
}

fn read_tree(stream: &mut Stream<Box<dyn Packed + '_>>, options: &PrepareOptions<'_>) -> Result<Tree, Failure> {
    let mut tree = Tree::new(&options.limits);
    let mut buffer = vec![0; 256 << 10];
    while let Some(member) = stream.next_member()? {
        options.cancel.check().map_err(ArchiveError::from)?;
        let position = stream.position();
        let hashed = member.kind == Kind::Regular && member.sparse.is_none();
        let digest = if hashed {
            Some(digest(stream, member.size_bytes, &mut buffer)?)
        } else {
            None
        };
        let name = member.name.clone();
        let inserted = tree.insert(member, position, digest);
        inserted.map_err(|problem| Failure::Refused(name, problem))?;
    }
    if stream.found_end() {
        Ok(tree)
    } else {
        Err(Failure::Archive(ArchiveError::Malformed {
            archive: Path::new("").to_owned(),
            problem: "the mark at the end of its tar stream is missing: it is cut short".into(),
        }))
    }
}

/// The SHA-256 of the `size_bytes` bytes of content that come next.
fn digest(content: &mut impl Read, size_bytes: u64, buffer: &mut [u8]) -> Result<Sha256, Failure> {
    let (mut hasher, mut left) = (sha2::Sha256::new(), size_bytes);
    while left > 0 {
        let count = content.read(buffer)?;
        if count == 0 {
            return Err(Failure::Read(io::ErrorKind::UnexpectedEof.into()));
        }
        hasher.update(buffer.get(..count).unwrap_or_default());
        left = left.saturating_sub(count as u64);
    }
    Ok(Sha256(hasher.finalize().into()))
}
