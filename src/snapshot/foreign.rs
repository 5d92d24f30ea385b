//! Tarballs from elsewhere: `.tar`, `.tar.gz` and `.tar.zst`, as tar(1), bsdtar(1) and Python make them.
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
use super::paths::SnapshotPaths;
use super::toc;
use crate::archive::ArchiveError;
use crate::archive::stream::{self, Rules, Stream};
use crate::cancel::{Cancel, Cancelled};
use crate::durable::{FileLock, PathError};
use crate::overlay::layer::Timestamp;
use crate::package::Sha256;

mod accounts;
mod gzip;
mod inode;
mod input;
mod kind;
mod layout;
mod plain;
mod spans;
mod tree;
mod zstd;

use input::Input;
use kind::Format;
pub use kind::Kind;
use tree::Tree;

/// Most bytes behind the mark at the end of a tar stream, such as the rest of a tape's block or of a partition.
const REST_BYTES_MAX: u64 = 4 << 30;
/// Length of the end of a tarball that its identity covers, in bytes.
const TAIL_BYTES: u64 = 4096;

/// Upper limits for a tarball from elsewhere.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Length of the tar stream, in bytes.
    pub tar_bytes_max: u64,
    /// Number of files and directories.
    pub nodes_max: u32,
    /// Names, link targets and attributes together, in bytes.
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

/// The settings for making an index.
#[derive(Default)]
pub struct PrepareOptions<'a> {
    /// Upper limits.
    pub limits: Limits,
    /// Callback for the number of the tarball's bytes, as they are read.
    pub advance: Option<&'a dyn Fn(u64)>,
    /// The flag that stops the work.
    pub cancel: Cancel,
}

impl std::fmt::Debug for PrepareOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrepareOptions")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Returns whether the file at `path` looks like a tarball that [`prepare`] accepts (or like one of oic's own).
pub fn is_tarball(path: &Path) -> bool {
    matches!(Kind::of(path), Kind::Tarball)
}

/// Makes the index that [`Snapshot::open`](super::Snapshot::open) needs for a tarball from elsewhere, at `paths.index`,
/// unless the index there belongs to the tarball. If several processes want it at the same time, one makes it. Returns
/// whether this call made it.
///
/// # Errors
/// [`SnapshotError::NotTarball`] if it is another kind of file; [`SnapshotError::Foreign`] if it is damaged or cut
/// short, exceeds the limits, or has content that cannot be shown; [`SnapshotError::Path`] if reading or writing fails; [`SnapshotError::Cancelled`].
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

/// Writes an index for `tarball` to the file `index`: from the table of contents of one of oic's own, otherwise by
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

/// Opens the index at `paths.index`, if it belongs to the open tarball.
pub(super) fn index_of(tarball: &File, paths: &SnapshotPaths) -> Option<Index> {
    let index = Index::open(&paths.index).ok()?;
    let found = index.header().foreign?;
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

/// A tar stream that is being unpacked, and that records the places where it can be entered.
trait Packed: Read {
    /// Returns the recorded places, after the stream was read to its end.
    fn finish(self: Box<Self>) -> Places;
}

/// The places where a tar stream can be entered.
#[derive(Debug)]
struct Places {
    members: Vec<Member>,
    /// The windows that members refer to.
    windows: Vec<u8>,
}

fn make_index(file: &File, tarball: &Path, index: &Path, options: &PrepareOptions<'_>) -> Result<(), SnapshotError> {
    let refused = |problem: String| SnapshotError::Foreign {
        path: tarball.to_owned(),
        problem,
    };
    let before = Identity::of(file).map_err(PathError::on("read", tarball))?;
    let start = kind::start(file).map_err(PathError::on("read", tarball))?;
    let format = Format::of(&start, file).map_err(|found| found.of(tarball))?;
    let input = Input::new(file, options);
    let limit = options.limits.tar_bytes_max;
    let packed: Box<dyn Packed + '_> = match format {
        Format::Gzip => Box::new(gzip::Gunzip::new(input, limit)),
        Format::Zstd => Box::new(zstd::Unzstd::new(input, limit).map_err(PathError::on("read", tarball))?),
        Format::Plain => Box::new(plain::Plain::new(input, limit)),
    };
    let mut stream = Stream::new(packed, tarball, Rules::Tar);
    let tree = read_tree(&mut stream, options).map_err(|failure| failure.explain(tarball))?;
    let mut packed = stream.into_inner();
    // The checksums of the compression follow the bytes that tar itself reads.
    let rest = io::copy(&mut (&mut packed).take(REST_BYTES_MAX), &mut io::sink());
    if rest.map_err(|error| Failure::from(error).explain(tarball))? == REST_BYTES_MAX {
        return Err(refused("its stream goes on far behind its end".into()));
    }
    if Identity::of(file).map_err(PathError::on("read", tarball))? != before {
        return Err(refused("it changed while it was read".into()));
    }
    let Places { mut members, windows } = packed.finish();
    let (mut builder, left_out) = tree.build().map_err(|TooLarge| Failure::TooLarge.explain(tarball))?;
    if left_out > 0 {
        tracing::warn!(
            "{tarball:?}: {left_out} access control lists are left out: they are malformed, or name unknown accounts"
        );
    }
    builder.windows(&windows, &mut members);
    let digests: Vec<u8> = members.iter().flat_map(|member| member.digest.0).collect();
    let mut layout = builder.finish(Sha256::of(digests), &members);
    layout.header.tarball_bytes = before.size_bytes;
    layout.header.foreign = Some(before);
    toc::write_index(&layout, index)
}

/// The reason why a pass ended early.
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
                // Our own errors, and those of the decoders.
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
        let hashed = member.kind == stream::Kind::Regular && member.sparse.is_none();
        let digest = if hashed {
            let keep = tree.accounts().place(&member.path, member.size_bytes);
            Some(digest(stream, member.size_bytes, &mut buffer, keep)?)
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

/// Returns the SHA-256 of the next `size_bytes` bytes of content, and appends them to `keep`.
fn digest(
    content: &mut impl Read,
    size_bytes: u64,
    buffer: &mut [u8],
    mut keep: Option<&mut Vec<u8>>,
) -> Result<Sha256, Failure> {
    let (mut hasher, mut left) = (sha2::Sha256::new(), size_bytes);
    while left > 0 {
        let count = content.read(buffer)?;
        if count == 0 {
            return Err(Failure::Read(io::ErrorKind::UnexpectedEof.into()));
        }
        let bytes = buffer.get(..count).unwrap_or_default();
        hasher.update(bytes);
        if let Some(keep) = &mut keep {
            keep.extend(bytes);
        }
        left = left.saturating_sub(count as u64);
    }
    Ok(Sha256(hasher.finalize().into()))
}
