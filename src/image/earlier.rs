//! The image of an earlier build, as the start of the next one.
//!
//! Beside an image lies a record of its contents and their places. While the image is the very file that the record
//! describes (inode, size, times), the next build writes only the differences into it, and gives it its name again. A
//! file that another process has open, or that has another name, is left alone, and the build changes a copy; the copy
//! shares blocks where the file system can. An image that is not delivered is kept all the same, as the state of its
//! build ([`crate::workspace::ImageBuild::image_state`]); a delivered one is the state itself.

mod record;

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tempfile::TempPath;

use super::canvas::Drawn;
use super::digest::{self, DigestTree};
use super::error::ImageError;
use crate::durable::{self, AtomicFile, PathError};
use crate::work::Work;

/// The reason why a build does not start from the image of the build before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// A killed build may have written into it.
    #[error("the build before it was killed")]
    Killed,
    /// Its record cannot be used.
    #[error("the record of the build before it is damaged, or of another version of oic")]
    Record,
    /// The file is not there.
    #[error("the file of the build before it is gone")]
    Gone,
    /// The file is not the one of the record.
    #[error("the file of the build before it was changed since")]
    Changed,
}

/// An earlier image, set aside. Dropping it removes the file.
#[derive(Debug)]
pub struct Earlier {
    file: File,
    /// The path that it was moved from.
    home: PathBuf,
    path: TempPath,
    drawn: Drawn,
    tree: DigestTree,
}

impl Earlier {
    /// Moves the one of `raws` that `record` describes to `aside` on the same file system; `None` if there is no record.
    ///
    /// # Errors
    /// [`Lost`]: the build starts without an earlier image.
    pub fn set_aside(raws: &[PathBuf], record: &Path, aside: &Path) -> Result<Option<Self>, Lost> {
        // Its contents are unknown.
        let was_killed = fs::remove_file(aside).is_ok();
        let bytes = match fs::read(record) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return if was_killed { Err(Lost::Killed) } else { Ok(None) };
            }
            read => read.map_err(|_| Lost::Record)?,
        };
        let record = record::read(&bytes).ok_or(Lost::Record)?;
        let mut lost = Lost::Gone;
        for raw in raws {
            let Ok(file) = File::options().read(true).write(true).open(raw) else {
                continue;
            };
            if Identity::of(&file).ok() != Some(record.identity) {
                lost = Lost::Changed;
                continue;
            }
            let path = TempPath::try_from_path(aside).map_err(|_| Lost::Gone)?;
            fs::rename(raw, aside).map_err(|_| Lost::Gone)?;
            return Ok(Some(Self {
                file,
                home: raw.clone(),
                path,
                drawn: record.drawn,
                tree: record.tree,
            }));
        }
        Err(lost)
    }

    /// Moves the image back to where it was, and records it in the file `record`.
    ///
    /// # Errors
    /// If that fails; the image is gone then, or has no record.
    pub fn give_back(self, record: &Path) -> Result<(), PathError> {
        let Self {
            home,
            path,
            drawn,
            tree,
            ..
        } = self;
        let moved = path.persist(&home).map_err(|error| error.error);
        moved.map_err(PathError::on("move back to", &home))?;
        remember(&home, &drawn, &tree, record)
    }

    /// Returns the tree of its digest.
    pub(super) fn tree(&self) -> DigestTree {
        self.tree.clone()
    }

    /// Makes a file that will become `target`, with the content of the earlier image, and returns it with that
    /// content's description.
    ///
    /// # Errors
    /// If it has to be copied and that fails.
    pub(super) fn start(self, target: &Path) -> Result<(AtomicFile, Drawn), PathError> {
        let Self { file, path, drawn, .. } = self;
        if is_ours_alone(&file) {
            return Ok((AtomicFile::adopt(file, path, target)?, drawn));
        }
        let mut copy = AtomicFile::create(target)?;
        copy_ranges(&file, copy.file(), &drawn).map_err(PathError::on("copy the earlier image to", target))?;
        Ok((copy, drawn))
    }

    /// Returns its size in bytes.
    pub(super) fn size_bytes(&self) -> u64 {
        self.file.metadata().map_or(0, |metadata| metadata.len())
    }
}

/// Writes the contents `drawn` of the image `raw`, which is complete and has its name, to the file `record`, with the
/// `tree` of its digest.
///
/// # Errors
/// If the image cannot be opened, or the record cannot be written.
pub fn remember(raw: &Path, drawn: &Drawn, tree: &DigestTree, record: &Path) -> Result<(), PathError> {
    let identity = File::open(raw).and_then(|file| Identity::of(&file));
    let identity = identity.map_err(PathError::on("look at", raw))?;
    durable::write_file(record, record::write(&identity, drawn, tree))
}

/// Checks the record `record`, and the one of `disks` that it describes, unless that was written to since. Returns the
/// damaged file and the problem, in words; `None` if both are sound or there is no record.
///
/// # Errors
/// If a file cannot be read, or `cancel` is set.
pub fn damage(disks: &[PathBuf], record: &Path, work: Work<'_>) -> Result<Option<(PathBuf, String)>, ImageError> {
    let bytes = match fs::read(record) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(PathError::on("read", record))?,
    };
    let Some(known) = record::read(&bytes) else {
        let problem = "it is damaged, or of another version";
        return Ok(Some((record.to_owned(), problem.to_owned())));
    };
    for disk in disks {
        let identity = File::open(disk).and_then(|file| Identity::of(&file));
        if identity.map_err(PathError::on("look at", disk))? != known.identity {
            continue;
        }
        if digest::of_file(disk, work)? != known.tree {
            let problem = "its content is not what it was when it was built";
            return Ok(Some((disk.clone(), problem.to_owned())));
        }
    }
    Ok(None)
}

/// The attributes that show that a file is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Identity {
    inode: u64,
    /// Its size in bytes.
    pub(super) size_bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    /// Reads the attributes of `file`.
    ///
    /// # Errors
    /// If the system refuses it.
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self {
            inode: metadata.ino(),
            size_bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// Says whether the file has no other name, and no other process (a virtual machine that runs from it, say) has it
/// open.
fn is_ours_alone(file: &File) -> bool {
    if file.metadata().map_or(0, |metadata| metadata.nlink()) != 1 {
        return false;
    }
    let lease = |kind: libc::c_int| {
        // SAFETY: F_SETLEASE takes an integer and no pointer; the descriptor is open.
        #[allow(unsafe_code)]
        let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) };
        result == 0
    };
    // The kernel grants a write lease only if no other descriptor has the file open (fcntl(2)).
    lease(libc::F_WRLCK) && lease(libc::F_UNLCK)
}

/// Copies `from` to the empty file `to`; only the ranges in `drawn` are not zero.
fn copy_ranges(from: &File, to: &File, drawn: &Drawn) -> io::Result<()> {
    if rustix::fs::ioctl_ficlone(to, from).is_ok() {
        return Ok(());
    }
    to.set_len(from.metadata()?.len())?;
    let mut buffer = vec![0; 1 << 20];
    for &(start, end) in &drawn.ranges {
        let mut at = start;
        while at < end {
            let length = ((end - at) as usize).min(buffer.len());
            let (mut source, mut target) = (at, at);
            at += match rustix::fs::copy_file_range(from, Some(&mut source), to, Some(&mut target), (end - at) as usize)
            {
                Ok(copied) if copied > 0 => copied as u64,
                _ => {
                    from.read_exact_at(&mut buffer[..length], at)?;
                    to.write_all_at(&buffer[..length], at)?;
                    length as u64
                }
            };
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
