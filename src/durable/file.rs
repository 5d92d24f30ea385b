//! Files that are complete or absent.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::error::PathError;
use super::name::TEMPORARY_PREFIX;

/// The mode of a file that only its owner may open.
pub(super) const PRIVATE_FILE: u32 = 0o600;
/// The mode of a file that every user may read.
const PUBLIC_FILE: u32 = 0o644;

/// A file that appears under its final name only when [`AtomicFile::commit`] is
/// called; dropped before that, it leaves nothing behind.
#[derive(Debug)]
pub struct AtomicFile {
    file: tempfile::NamedTempFile,
    target: PathBuf,
}

impl AtomicFile {
    /// Starts writing what will become `target`, in the same directory, mode 0600.
    ///
    /// # Errors
    /// If the temporary file cannot be created.
    pub fn create(target: impl Into<PathBuf>) -> Result<Self, PathError> {
        let target = target.into();
        let directory = directory_of(&target);
        let file = tempfile::Builder::new()
            .prefix(TEMPORARY_PREFIX)
            .permissions(fs::Permissions::from_mode(PRIVATE_FILE))
            .tempfile_in(directory)
            .map_err(PathError::on("create a temporary file in", directory))?;
        Ok(Self { file, target })
    }

    /// Starts as [`Self::create`] does, for a file that every user may read: mode 0644, independent of the umask.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub fn create_public(target: impl Into<PathBuf>) -> Result<Self, PathError> {
        let mut created = Self::create(target)?;
        let mode = fs::Permissions::from_mode(PUBLIC_FILE);
        let set = created.file().set_permissions(mode);
        set.map_err(PathError::on("set the mode of", &created.target))?;
        Ok(created)
    }

    /// Continues with `file`, an existing temporary file at `path`, which lies on the same file system as `target`.
    /// Its mode becomes 0600.
    ///
    /// # Errors
    /// If the mode cannot be set.
    pub fn adopt(file: File, path: tempfile::TempPath, target: impl Into<PathBuf>) -> Result<Self, PathError> {
        let mode = fs::Permissions::from_mode(PRIVATE_FILE);
        file.set_permissions(mode)
            .map_err(PathError::on("set the mode of", &path))?;
        Ok(Self {
            file: tempfile::NamedTempFile::from_parts(file, path),
            target: target.into(),
        })
    }

    /// Returns the open temporary file.
    pub fn file(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Returns the path of the temporary file until it is committed.
    pub fn temporary_path(&self) -> &Path {
        self.file.path()
    }

    /// Syncs the file, renames it to its final name and syncs the directory.
    ///
    /// # Errors
    /// If any of the three fails; the target is then as it was before.
    pub fn commit(self) -> Result<File, PathError> {
        let Self { file, target } = self;
        file.as_file().sync_all().map_err(PathError::on("sync", &target))?;
        let file = file
            .persist(&target)
            .map_err(|error| PathError::on("rename into place", &target)(error.error))?;
        sync_directory(directory_of(&target))?;
        Ok(file)
    }
}

/// Returns the directory that `path` is in; for a bare name this is the working directory.
pub(super) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("/"),
    }
}

/// Makes the names in `directory` durable.
///
/// # Errors
/// If it cannot be opened or synced.
pub fn sync_directory(directory: &Path) -> Result<(), PathError> {
    File::open(directory)
        .and_then(|opened| opened.sync_all())
        .map_err(PathError::on("sync", directory))
}

/// Writes `contents` to `path` through an [`AtomicFile`], mode 0600.
///
/// # Errors
/// As [`AtomicFile::create`] and [`AtomicFile::commit`].
pub fn write_file(path: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> Result<(), PathError> {
    write_to(AtomicFile::create(path.as_ref())?, contents.as_ref())
}

/// Writes as [`write_file`] does, for a file that every user may read: mode 0644, independent of the umask.
///
/// # Errors
/// As [`write_file`].
pub fn write_public_file(path: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> Result<(), PathError> {
    write_to(AtomicFile::create_public(path.as_ref())?, contents.as_ref())
}

fn write_to(mut file: AtomicFile, contents: &[u8]) -> Result<(), PathError> {
    let written = file.file().write_all(contents);
    written.map_err(PathError::on("write", &file.target))?;
    file.commit().map(drop)
}

/// Creates `path`, or empties it, for a file that is written in place (a log, or a file that is read while it is
/// written). A new file has mode 0600; an existing one keeps its mode.
///
/// # Errors
/// If it cannot be opened.
pub fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(PRIVATE_FILE)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::remove_tree;

    #[test]
    fn an_uncommitted_file_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("index");
        let mut file = AtomicFile::create(&target).unwrap();
        file.file().write_all(b"half").unwrap();
        drop(file);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        write_file(&target, "whole").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"whole");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_name_alone_is_in_the_working_directory() {
        let name = format!("{TEMPORARY_PREFIX}bare-name-{}", std::process::id());
        let written = write_file(&name, "whole");
        let read = fs::read(Path::new(".").join(&name));
        remove_tree(Path::new(&name)).unwrap();
        written.unwrap();
        assert_eq!(read.unwrap(), b"whole");
        assert!(!Path::new(&name).exists());
        for (path, directory) in [("name", "."), ("./name", "."), ("a/b", "a"), ("/b", "/"), ("/", "/")] {
            assert_eq!(directory_of(Path::new(path)), Path::new(directory), "{path}");
        }
    }
}
