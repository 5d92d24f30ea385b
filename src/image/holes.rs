//! Holes of a raw image, as its file system reports them (lseek(2), `SEEK_DATA`).

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;

use rustix::fs::SeekFrom;

/// Finds the next data at or behind `offset` and returns its start and end in bytes; both are `size_bytes` if only a
/// hole follows.
pub(super) fn next_data(file: &File, offset: u64, size_bytes: u64) -> io::Result<(u64, u64)> {
    let start = match rustix::fs::seek(file.as_fd(), SeekFrom::Data(offset)) {
        Ok(start) => start.min(size_bytes),
        Err(rustix::io::Errno::NXIO) => size_bytes,
        // A file system without holes.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::OPNOTSUPP) => return Ok((offset, size_bytes)),
        Err(errno) => return Err(errno.into()),
    };
    if start == size_bytes {
        return Ok((start, start));
    }
    let end = rustix::fs::seek(file.as_fd(), SeekFrom::Hole(start))?.min(size_bytes);
    Ok((start, end.max(start + 1)))
}
