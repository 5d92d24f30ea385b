//! Temporary directories, and removal that stays inside one mount.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};

use super::directory::private_scratch;
use super::error::PathError;
use super::file::directory_of;
use super::name::TEMPORARY_PREFIX;

/// A directory that exists during some work; removed when dropped, within its own mount.
#[derive(Debug)]
pub struct ScratchDir {
    path: PathBuf,
}

impl ScratchDir {
    /// Makes a directory with a temporary name in `parent`, mode 0700.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn create_in(parent: &Path) -> Result<Self, PathError> {
        let path = private_scratch(TEMPORARY_PREFIX, parent)?.keep();
        Ok(Self { path })
    }

    /// Returns the directory's path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.path) {
            tracing::warn!(%error, "a temporary directory stays; the next build removes it");
        }
    }
}

/// Removes `path` and everything below it, without following symbolic links and without ever entering another mount;
/// a missing `path` is fine.
///
/// # Errors
/// `EXDEV` if a mount point lies below `path` (nothing on it is touched), and the errors of removing.
pub fn remove_tree(path: &Path) -> Result<(), PathError> {
    let fail = |source: io::Error| PathError {
        action: "remove",
        path: path.to_owned(),
        source,
    };
    let Some(name) = path.file_name() else {
        return Err(fail(io::ErrorKind::InvalidInput.into()));
    };
    let parent = match File::open(directory_of(path)) {
        Ok(parent) => parent,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(fail(error)),
    };
    remove_entry(parent.as_fd(), name).map_err(|errno| match errno {
        rustix::io::Errno::XDEV => fail(io::Error::other(
            "something is mounted at or below it; unmount it first (oic umount)",
        )),
        errno => fail(errno.into()),
    })
}

/// Removes `name` in `parent`; recursion depth is bounded by descriptors, one per directory.
fn remove_entry(parent: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => return Ok(()),
        Err(rustix::io::Errno::ISDIR | rustix::io::Errno::PERM) => {}
        Err(errno) => return Err(errno),
    }
    let directory = open_directory_here(parent, name)?;
    let mut children = Vec::new();
    for entry in rustix::fs::Dir::read_from(&directory)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            children.push(entry.file_name().to_owned());
        }
    }
    for child in children {
        remove_entry(directory.as_fd(), OsStr::from_bytes(child.to_bytes()))?;
    }
    drop(directory);
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}

/// Opens a directory only if it lies on the same mount as `parent` (openat2(2), `RESOLVE_NO_XDEV`).
fn open_directory_here(parent: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat2(
        parent,
        name,
        flags,
        Mode::empty(),
        ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS,
    )
}

/// Deletes leftovers of killed processes in `directory`. The caller holds the
/// lock that covers it.
///
/// # Errors
/// If the directory cannot be read or a leftover cannot be removed.
pub fn sweep_temporaries(directory: &Path) -> Result<(), PathError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(PathError::on("read", directory)(error)),
    };
    for entry in entries {
        let entry = entry.map_err(PathError::on("read", directory))?;
        if entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX) {
            remove_tree(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removal_does_not_follow_links() {
        let directory = tempfile::tempdir().unwrap();
        let (tree, outside) = (directory.path().join("tree"), directory.path().join("outside"));
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "x").unwrap();
        std::os::unix::fs::symlink(&outside, tree.join("a/link")).unwrap();
        remove_tree(&tree).unwrap();
        assert!(!tree.exists() && outside.join("kept").exists());
        remove_tree(&tree).unwrap();
    }

    #[test]
    fn sweeping_takes_only_leftovers() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(".oic-tmp-x"), "").unwrap();
        fs::write(directory.path().join("kept"), "").unwrap();
        sweep_temporaries(directory.path()).unwrap();
        let left: Vec<_> = fs::read_dir(directory.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(left, ["kept"]);
    }
}
