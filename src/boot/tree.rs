//! The trees in which files for booting are looked for: one that is still mounted, and one that is complete.

use std::ffi::OsString;
use std::path::Path;

use crate::durable::PathError;
use crate::image::content::Source;
use crate::image::merged::Merged;
use crate::overlay::layer::FileKind;
use crate::root::Root;

/// The tree of an image. Links are followed, and stay inside of it.
pub trait Tree {
    /// Says whether `path` leads to a file.
    ///
    /// # Errors
    /// If the tree cannot be read.
    fn has(&self, path: &Path) -> Result<bool, PathError>;

    /// Returns the entries of the directory `path`, sorted by name, each with whether it is a directory.
    ///
    /// # Errors
    /// If it is not a directory, or cannot be read.
    fn entries(&self, path: &Path) -> Result<Vec<(OsString, bool)>, PathError>;

    /// Returns the regular file `path`.
    ///
    /// # Errors
    /// If it is missing, or not a regular file.
    fn file(&self, path: &Path) -> Result<Source, PathError>;

    /// Reads the regular file `path`, which has at most `limit_bytes`; `None` if it does not exist.
    ///
    /// # Errors
    /// If it is larger, or cannot be read.
    fn read_if_present(&self, path: &Path, limit_bytes: u64) -> Result<Option<Vec<u8>>, PathError>;
}

impl Tree for Merged {
    fn has(&self, path: &Path) -> Result<bool, PathError> {
        Self::has(self, path)
    }

    fn entries(&self, path: &Path) -> Result<Vec<(OsString, bool)>, PathError> {
        let entries = Self::entries(self, path)?.into_iter();
        Ok(entries
            .map(|(name, kind)| (name, kind == FileKind::Directory))
            .collect())
    }

    fn file(&self, path: &Path) -> Result<Source, PathError> {
        Self::file(self, path)
    }

    fn read_if_present(&self, path: &Path, limit_bytes: u64) -> Result<Option<Vec<u8>>, PathError> {
        Self::read_if_present(self, path, limit_bytes)
    }
}

impl Tree for Root {
    fn has(&self, path: &Path) -> Result<bool, PathError> {
        self.exists(path)
    }

    fn entries(&self, path: &Path) -> Result<Vec<(OsString, bool)>, PathError> {
        let entry = |name: OsString| {
            let mode = self.mode(path.join(&name))?.unwrap_or_default();
            Ok((name, mode & libc::S_IFMT == libc::S_IFDIR))
        };
        self.names(path)?.into_iter().map(entry).collect()
    }

    fn file(&self, path: &Path) -> Result<Source, PathError> {
        let missing = || PathError::on("open", self.describe(path))(std::io::ErrorKind::NotFound.into());
        self.read(path)?.map(Source::Bytes).ok_or_else(missing)
    }

    fn read_if_present(&self, path: &Path, limit_bytes: u64) -> Result<Option<Vec<u8>>, PathError> {
        let is_small = |contents: &Vec<u8>| contents.len() as u64 <= limit_bytes;
        let larger = || {
            let message = format!("larger than {limit_bytes} bytes");
            PathError::on("read", self.describe(path))(std::io::Error::other(message))
        };
        match self.read(path)? {
            Some(contents) if !is_small(&contents) => Err(larger()),
            contents => Ok(contents),
        }
    }
}
