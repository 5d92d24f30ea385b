//! Places that a mount needs and the image does not have: made for the run, removed after it.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::libc;

/// A place that was made.
#[derive(Debug)]
pub(super) struct Created {
    path: PathBuf,
    directory: bool,
    /// The parent directory and its times before, so that nothing shows.
    parent: Option<(PathBuf, fs::FileTimes)>,
}

impl Created {
    /// Makes a directory or an empty file at `path`, whose parent exists.
    pub(super) fn make(path: &Path, directory: bool) -> io::Result<Self> {
        let parent = match path.parent() {
            Some(parent) => Some((parent.to_owned(), times(parent)?)),
            None => None,
        };
        if directory {
            fs::create_dir(path)?;
        } else {
            fs::File::create_new(path)?;
        }
        Ok(Self {
            path: path.to_owned(),
            directory,
            parent,
        })
    }

    /// Returns where the place is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the place, unless the command put something there that is to stay.
    pub(super) fn remove(&self) -> io::Result<()> {
        let removed = if self.directory {
            match fs::remove_dir(&self.path) {
                Err(e) if matches!(e.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound) => {
                    return Ok(());
                }
                other => other,
            }
        } else {
            match fs::symlink_metadata(&self.path) {
                Ok(metadata) if metadata.is_file() && metadata.len() == 0 => fs::remove_file(&self.path),
                _ => return Ok(()),
            }
        };
        removed?;
        match &self.parent {
            Some((parent, times)) => open_directory(parent)?.set_times(*times),
            None => Ok(()),
        }
    }
}

/// Opens a directory; refuses anything else that the command put in its place, without waiting for it.
fn open_directory(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECTORY)
        .open(path)
}

fn times(directory: &Path) -> io::Result<fs::FileTimes> {
    let metadata = fs::metadata(directory)?;
    Ok(fs::FileTimes::new()
        .set_accessed(metadata.accessed()?)
        .set_modified(metadata.modified()?))
}
