//! `file:` URLs: repositories in a directory of this host.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use reqwest::Url;

use super::download::Transfer;
use super::{FetchError, Reply, Validators};
use crate::cancel::Cancel;
use crate::durable::PathError;

/// The path of a `file:` URL.
fn path_of(url: &Url) -> Result<PathBuf, FetchError> {
    url.to_file_path().map_err(|()| FetchError::BadUrl {
        url: url.to_string(),
        reason: "a file: URL is file:///absolute/path, without a host".to_owned(),
    })
}

/// Opens the regular file that `url` names.
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

/// [`super::Transport::get`] of a `file:` URL. Its validator is made of the
/// file's size, modification time and inode.
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
    each_chunk(file, &path, stop, |bytes| transfer.take(bytes))?;
    transfer.finish()
}

/// Gives everything that `reader` has to `take`, piece by piece, unless one of `stop` is set.
pub(crate) fn each_chunk(
    mut reader: impl Read,
    path: &Path,
    stop: &[&Cancel],
    mut take: impl FnMut(&[u8]) -> Result<(), FetchError>,
) -> Result<(), FetchError> {
    let mut buffer = vec![0; 256 * 1024];
    loop {
        for flag in stop {
            flag.check()?;
        }
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => take(buffer.get(..count).unwrap_or_default())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(PathError::on("read", path)(error).into()),
        }
    }
}
