//! Writing to disk in slices. fsync(2) cannot be interrupted, not even by SIGKILL, and a slow disk takes minutes for
//! the cached data of a large file. So most of it is written before, by short calls.

use std::fs::File;
use std::ops::Range;
use std::os::fd::AsRawFd as _;

use crate::cancel::{Cancel, Cancelled};

/// The length of a slice: less than a second's work for any disk.
const SLICE_BYTES: u64 = 8 << 20;

/// Starts to write the cached data in `range` (bytes) of `file` to disk. It may wait while the disk has too much to do.
pub fn start_write_back_of(file: &File, range: Range<u64>) {
    // A length of 0 would mean the whole rest of the file.
    if !range.is_empty() {
        write(file, range.start, range.end - range.start, START);
    }
}

/// Starts to write the cached data of `file` to disk.
///
/// # Errors
/// If `cancel` is set.
pub fn start_write_back(file: &File, cancel: &Cancel) -> Result<(), Cancelled> {
    each_slice(file, cancel, |offset| write(file, offset, SLICE_BYTES, START))
}

/// Writes the cached data of `file` to disk. Its metadata, and data that could not be written, are left to fsync(2),
/// which must follow.
///
/// # Errors
/// If `cancel` is set, before or during the work.
pub fn write_back(file: &File, cancel: &Cancel) -> Result<(), Cancelled> {
    each_slice(file, cancel, |offset| {
        // The disk works on the next slice while this call waits for this one.
        write(file, offset + SLICE_BYTES, SLICE_BYTES, START);
        write(file, offset, SLICE_BYTES, COMPLETE);
    })
}

fn each_slice(file: &File, cancel: &Cancel, work: impl Fn(u64)) -> Result<(), Cancelled> {
    let size_bytes = file.metadata().map_or(0, |metadata| metadata.len());
    for offset in (0..size_bytes).step_by(SLICE_BYTES as usize) {
        cancel.check()?;
        work(offset);
    }
    Ok(())
}

const START: libc::c_uint = libc::SYNC_FILE_RANGE_WRITE;
const COMPLETE: libc::c_uint =
    libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;

/// Calls sync_file_range(2) for a slice. An error is not lost: fsync(2) reports failed writes, too, and does all
/// the work itself where a file system does not support this call.
fn write(file: &File, offset: u64, length: u64, flags: libc::c_uint) {
    // SAFETY: the call takes integers and no pointer; the descriptor is open.
    #[allow(unsafe_code)]
    let result = unsafe { libc::sync_file_range(file.as_raw_fd(), offset as i64, length as i64, flags) };
    if result != 0 {
        tracing::debug!(offset, error = %std::io::Error::last_os_error(), "left to fsync");
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::FileExt as _;

    use super::*;

    #[test]
    fn it_ends_when_asked_to_and_changes_nothing() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 100_000]).unwrap();
        file.set_len(1 << 30).unwrap();
        let cancel = Cancel::default();
        start_write_back(&file, &cancel).unwrap();
        write_back(&file, &cancel).unwrap();
        let mut bytes = [0; 100_001];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert!(bytes[..100_000].iter().all(|byte| *byte == 7) && bytes[100_000] == 0);
        cancel.cancel();
        assert!(start_write_back(&file, &cancel).is_err() && write_back(&file, &cancel).is_err());
    }
}
