//! Writes a snapshot: the tarball first, then the index that refers to it.

use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::SnapshotError;
use super::format::Member;
use super::options::WriteOptions;
use super::pack::{self, Cutter};
use super::toc;
use super::walk::{WalkError, Walked, walk};
use crate::durable::{self, AtomicFile, PathError};

/// The properties of a written snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotSummary {
    /// Inodes, the root among them.
    pub entries: u64,
    /// Sum of the sizes of regular files in bytes.
    pub content_bytes: u64,
    /// Size of the tar stream in bytes.
    pub tar_bytes: u64,
    /// Size of the tarball in bytes, its table of contents included.
    pub compressed_bytes: u64,
    /// Gzip members that hold the tar stream.
    pub members: u64,
    /// Sockets, which are left out because tar cannot hold them.
    pub skipped: Vec<PathBuf>,
}

/// Writes the tree below `tree` to `tarball` and `index`, in name order and without entering other mounts. Hard links
/// between written files are kept. Both files appear complete or not at all, the tarball first.
///
/// # Errors
/// If something is mounted below `tree`, a file changes while it is read, or reading or
/// writing fails.
pub fn write(
    tree: &Path,
    tarball: &Path,
    index: &Path,
    options: &WriteOptions,
) -> Result<SnapshotSummary, SnapshotError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(tree, flags, Mode::empty())
        .map_err(std::io::Error::from)
        .map_err(PathError::on("open", tree))?;
    let mut file = AtomicFile::create_public(tarball)?;
    let out = file.file().try_clone().map_err(PathError::on("write", tarball))?;
    let (walked, members) = std::thread::scope(|scope| {
        let out = BufWriter::with_capacity(1 << 20, out);
        let (sink, writer) = pack::start(scope, out, options.threads, options.compression_level);
        let walked = walk(&root, options, Cutter::new(sink));
        let members = writer
            .join()
            .unwrap_or_else(|_| Err(std::io::Error::other("the writing thread died")));
        settle(walked, members, tarball)
    })?;
    let Walked { builder, skipped } = walked;
    let entries = builder.nodes().into();
    let mut layout = builder.finish(options.base_key, &members);
    let toc_offset = members
        .last()
        .map_or(0, |last| last.offset + u64::from(last.compressed_bytes));
    let toc = toc::encode(&layout, toc_offset).map_err(PathError::on("write", tarball))?;
    file.file().write_all(&toc).map_err(PathError::on("write", tarball))?;
    layout.header.tarball_bytes = toc_offset + toc.len() as u64;
    durable::write_back(file.file(), &options.cancel)?;
    file.commit()?;
    toc::write_index(&layout, index)?;
    Ok(SnapshotSummary {
        entries,
        content_bytes: layout.header.content_bytes,
        tar_bytes: layout.header.tar_bytes,
        compressed_bytes: layout.header.tarball_bytes,
        members: members.len() as u64,
        skipped,
    })
}

/// Combines the results of walk and writer. The walk's own error goes before the writer's, which explains "stopped".
fn settle(
    walked: Result<Walked, WalkError>,
    members: pack::Written,
    tarball: &Path,
) -> Result<(Walked, Vec<Member>), SnapshotError> {
    match (walked, members) {
        (Err(WalkError::Snapshot(error)), _) => Err(error),
        (_, Err(error)) => Err(PathError::on("write", tarball)(error).into()),
        (Ok(walked), Ok(members)) => Ok((walked, members)),
        (Err(WalkError::Stopped), Ok(_)) => {
            Err(PathError::on("write", tarball)(std::io::Error::other("the writing thread stopped")).into())
        }
    }
}
