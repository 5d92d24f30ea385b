//! Extended attributes of an upper's files: the overlay's own, and the others.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::io::Errno;

use crate::durable::{self, PathError};

/// The prefixes of overlayfs's own attributes; the second with the option `userxattr`.
const PREFIXES: [&str; 2] = ["trusted.overlay.", "user.overlay."];
/// The largest list or value of Linux (xattr(7), "Limits").
const LIMIT_BYTES: usize = 64 * 1024;

/// Returns the value of the overlay's own attribute `name`, such as `opaque`, of `path` itself.
pub(super) fn overlay(path: &Path, name: &str) -> Result<Option<Vec<u8>>, PathError> {
    for prefix in PREFIXES {
        let found = get(path, OsStr::new(&format!("{prefix}{name}")))?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Returns the extended attributes of `path` itself except the overlay's own, sorted by name (llistxattr(2)).
///
/// # Errors
/// If they cannot be read. On a file system without attributes, the result is empty.
pub fn all(path: &Path) -> Result<Vec<(OsString, Vec<u8>)>, PathError> {
    let mut names = vec![0; LIMIT_BYTES];
    let length = match rustix::fs::llistxattr(path, names.as_mut_slice()) {
        Ok(length) => length,
        Err(Errno::NOTSUP) => return Ok(Vec::new()),
        Err(errno) => return Err(failed(path, errno)),
    };
    let mut set = Vec::new();
    for name in names.get(..length).unwrap_or_default().split(|byte| *byte == 0) {
        let is_own = PREFIXES.iter().any(|prefix| name.starts_with(prefix.as_bytes()));
        if name.is_empty() || is_own || durable::is_of_file_system(name) {
            continue;
        }
        let name = OsStr::from_bytes(name);
        if let Some(value) = get(path, name)? {
            set.push((name.to_owned(), value));
        }
    }
    set.sort();
    Ok(set)
}

fn get(path: &Path, name: &OsStr) -> Result<Option<Vec<u8>>, PathError> {
    let mut value = vec![0; LIMIT_BYTES];
    match rustix::fs::lgetxattr(path, name, value.as_mut_slice()) {
        Ok(length) => {
            value.truncate(length);
            Ok(Some(value))
        }
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(None),
        Err(errno) => Err(failed(path, errno)),
    }
}

fn failed(path: &Path, errno: Errno) -> PathError {
    PathError::on("read the attributes of", path)(io::Error::from(errno))
}
