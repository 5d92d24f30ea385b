//! The image of an earlier build, as the start of the next one.
//!
//! Beside an image lies a record of what is where in it. As long as the image is the very file that the record was
//! made of (inode, size, times), the next build writes only what differs into it, and gives it its name again. A
//! file that somebody else has open or another name for is left to them, and copied first: without copying where
//! the file system can share blocks.

mod record;

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use tempfile::TempPath;

use super::canvas::Drawn;
use super::digest::Checkpoints;
use crate::durable::{self, AtomicFile, PathError};
use crate::package::Sha256;

/// An earlier image, set aside. Dropped, it is removed.
#[derive(Debug)]
pub struct Earlier {
    file: File,
    path: TempPath,
    drawn: Drawn,
    sha256: Sha256,
    checkpoints: Checkpoints,
}

impl Earlier {
    /// Takes the image `raw` to the place `aside` on the same file system, if `record` says what is in it. Whatever
    /// speaks against that is no error: then there is no earlier image.
    pub fn set_aside(raw: &Path, record: &Path, aside: &Path) -> Option<Self> {
        // Left by a build that was killed: nobody knows what is in it.
        let _ = fs::remove_file(aside);
        let record = record::read(&fs::read(record).ok()?)?;
        let file = File::options().read(true).write(true).open(raw).ok()?;
        if Identity::of(&file).ok()? != record.identity {
            return None;
        }
        let path = TempPath::try_from_path(aside).ok()?;
        fs::rename(raw, aside).ok()?;
        Some(Self {
            file,
            path,
            drawn: record.drawn,
            sha256: record.sha256,
            checkpoints: record.checkpoints,
        })
    }

    /// What the image was, and the states of its digest.
    pub fn digest(&self) -> (Option<Sha256>, Checkpoints) {
        (Some(self.sha256), self.checkpoints.clone())
    }

    /// Makes a file of it that becomes `target`, with the content it had.
    ///
    /// # Errors
    /// If it has to be copied and that fails.
    pub(super) fn start(self, target: &Path) -> Result<(AtomicFile, Drawn), PathError> {
        let Self { file, path, drawn, .. } = self;
        if is_ours_alone(&file) {
            return Ok((AtomicFile::adopt(file, path, target), drawn));
        }
        let mut copy = AtomicFile::create(target)?;
        copy_ranges(&file, copy.file(), &drawn).map_err(PathError::on("copy the earlier image to", target))?;
        Ok((copy, drawn))
    }

    /// Its size in bytes.
    pub(super) fn size_bytes(&self) -> u64 {
        self.file.metadata().map_or(0, |metadata| metadata.len())
    }
}

/// Remembers in the file `record` what is in the image `raw`, which is complete and has its name, with its digest and the
/// states of that.
///
/// # Errors
/// If the image cannot be looked at or the record not be written.
pub fn remember(
    raw: &Path,
    drawn: &Drawn,
    (sha256, checkpoints): (Sha256, &Checkpoints),
    record: &Path,
) -> Result<(), PathError> {
    let identity = File::open(raw).and_then(|file| Identity::of(&file));
    let identity = identity.map_err(PathError::on("look at", raw))?;
    durable::write_file(record, record::write(&identity, drawn, sha256, checkpoints))
}

/// Tells a file that nobody changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    inode: u64,
    size_bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self {
            inode: metadata.ino(),
            size_bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// Whether no other name leads to the file, and nobody else has it open: a virtual machine that runs from it, say.
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
    // A write lease is given only to the one who has the file open (fcntl(2)).
    lease(libc::F_WRLCK) && lease(libc::F_UNLCK)
}

/// Gives `to` the bytes of `from`, of which only those in `drawn` are not zero.
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
