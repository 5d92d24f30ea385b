//! `file:` URLs: repositories in a directory of this host.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use reqwest::Url;

use super::transfer::Transfer;
use super::{FetchError, Reply, Validators};
use crate::cancel::Cancel;
use crate::durable::{PathError, each_piece};

/// Returns the path of a `file:` URL.
fn path_of(url: &Url) -> Result<PathBuf, FetchError> {
    url.to_file_path().map_err(|()| FetchError::BadUrl {
        url: url.to_string(),
        reason: "a file: URL is file:///absolute/path, without a host".to_owned(),
    })
}

/// Returns the `file:` URL of an absolute path; `None` for another path.
pub fn file_url(path: &Path) -> Option<String> {
    Url::from_file_path(path).ok().map(Into::into)
}

/// Opens the regular file that `url` names; returns its path, too.
fn open(url: &Url) -> Result<(File, PathBuf), FetchError> {
    let path = path_of(url)?;
    // Without O_NONBLOCK, opening a FIFO would wait for its writer.
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Err(FetchError::NotFound { url: url.to_string() });
        }
        Err(error) => return Err(PathError::on("open", path)(error).into()),
    };
    let metadata = file.metadata().map_err(PathError::on("examine", &path))?;
    if !metadata.is_file() {
        return Err(PathError::on("read", path)(io::Error::other("it is not a regular file")).into());
    }
    Ok((file, path))
}

/// Does [`super::Transport::get`] for a `file:` URL. Its validator consists of the file's size, modification time and
/// inode.
pub(super) fn get(url: &Url, limit_bytes: u64, known: Option<&Validators>) -> Result<Reply, FetchError> {
    let (file, path) = open(url)?;
    let metadata = file.metadata().map_err(PathError::on("examine", &path))?;
    let (modified, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
    let etag = format!("\"{}-{modified}.{nanoseconds:09}-{}\"", metadata.len(), metadata.ino());
    let validators = Validators {
        etag: Some(etag),
        last_modified: None,
    };
    if known == Some(&validators) {
        return Ok(Reply::NotModified);
    }
    let mut bytes = Vec::new();
    file.take(limit_bytes.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(PathError::on("read", &path))?;
    if bytes.len() as u64 > limit_bytes {
        let url = url.to_string();
        return Err(FetchError::TooLarge { url, limit_bytes });
    }
    Ok(Reply::Body { bytes, validators })
}

/// Copies the file that `url` names into `transfer`.
pub(super) fn copy(url: &Url, transfer: &mut Transfer<'_>, stop: &[&Cancel]) -> Result<(), FetchError> {
    let (file, path) = open(url)?;
    transfer.check_announced(0, file.metadata().map_err(PathError::on("examine", &path))?.len())?;
    transfer.restart()?;
    each_piece(file, &path, stop, |bytes| transfer.take(bytes))?;
    transfer.finish()
}
