//! The bytes of a disk, wherever they are kept.

use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::DiskError;
use crate::durable::{PathError, open_regular};

/// The bytes of a disk. All methods may be called from many threads at once.
pub trait Medium: fmt::Debug + Send + Sync {
    /// Returns the size of the disk in bytes.
    fn size_bytes(&self) -> u64;

    /// Fills `buffer` from `offset` (bytes); the range lies within the size.
    ///
    /// # Errors
    /// [`DiskError`].
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError>;

    /// Returns whether reading is nothing more than reading a file: without unpacking.
    fn is_plain(&self) -> bool {
        true
    }
}

/// A file of the build host.
#[derive(Debug)]
pub struct RawFile {
    file: File,
    path: PathBuf,
    size_bytes: u64,
}

impl RawFile {
    /// Opens the regular file at `path`.
    ///
    /// # Errors
    /// If it is absent, no regular file, or cannot be opened.
    pub fn open(path: &Path) -> Result<Self, DiskError> {
        let file = open_regular(path).map_err(PathError::on("open", path))?;
        let metadata = file.metadata().map_err(PathError::on("look at", path))?;
        Ok(Self {
            file,
            path: path.to_owned(),
            size_bytes: metadata.len(),
        })
    }
}

impl Medium for RawFile {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        let read = self.file.read_exact_at(buffer, offset);
        Ok(read.map_err(PathError::on("read", &self.path))?)
    }
}

/// A disk in memory.
pub struct Memory(Vec<u8>);

impl Memory {
    /// Makes a disk of `bytes`.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Memory({} bytes)", self.0.len())
    }
}

impl Medium for Memory {
    fn size_bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        let range = usize::try_from(offset).ok().and_then(|start| self.0.get(start..));
        let found = range.and_then(|rest| rest.get(..buffer.len()));
        let found = found.ok_or(DiskError::Damaged {
            structure: "the disk",
            offset,
            problem: "it ends before".into(),
        })?;
        buffer.copy_from_slice(found);
        Ok(())
    }
}
