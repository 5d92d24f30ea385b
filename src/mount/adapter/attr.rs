//! Metadata in the words of the FUSE protocol.

use std::time::{Duration, SystemTime};

use fuser::{FileAttr, FileType, INodeNo};

use crate::overlay::layer::{Attributes, FileKind, Timestamp};

/// The block size that `stat` and `statfs` report.
pub(in crate::mount) const BLOCK_BYTES: u32 = 4096;

/// Returns `kind` as the FUSE protocol has it.
pub(in crate::mount) fn file_type(kind: FileKind) -> FileType {
    match kind {
        FileKind::Regular => FileType::RegularFile,
        FileKind::Directory => FileType::Directory,
        FileKind::Symlink => FileType::Symlink,
        FileKind::CharDevice => FileType::CharDevice,
        FileKind::BlockDevice => FileType::BlockDevice,
        FileKind::Fifo => FileType::NamedPipe,
        FileKind::Socket => FileType::Socket,
    }
}

/// Returns the metadata of a node of a layer, under the number `ino`.
pub(in crate::mount) fn file_attr(ino: INodeNo, attributes: &Attributes) -> FileAttr {
    let modified = system_time(attributes.modified);
    FileAttr {
        ino,
        size: attributes.size_bytes,
        blocks: attributes.size_bytes.div_ceil(512),
        atime: modified,
        mtime: modified,
        ctime: modified,
        crtime: modified,
        kind: file_type(attributes.kind),
        perm: (attributes.permissions & 0o7777) as u16,
        nlink: attributes.links,
        uid: attributes.uid,
        gid: attributes.gid,
        rdev: device_number(attributes.device),
        blksize: BLOCK_BYTES,
        flags: 0,
    }
}

/// Returns a device number as the FUSE protocol has it: 12 bits major, 20 bits minor
/// (`new_encode_dev` in the kernel's `linux/kdev_t.h`).
pub(in crate::mount) fn device_number((major, minor): (u32, u32)) -> u32 {
    (minor & 0xff) | ((major & 0xfff) << 8) | ((minor & 0xf_ff00) << 12)
}

/// Converts a time; one that this system cannot represent becomes the epoch.
pub(in crate::mount) fn system_time(time: Timestamp) -> SystemTime {
    let seconds = Duration::from_secs(time.seconds.unsigned_abs());
    let whole = if time.seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(seconds)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(seconds)
    };
    whole
        .and_then(|whole| whole.checked_add(Duration::from_nanos(u64::from(time.nanoseconds))))
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_are_as_libc_has_them() {
        for (major, minor) in [(0, 0), (5, 1), (259, 70_000), (4095, 1_048_575)] {
            // Below 2^32 both encodings agree.
            assert_eq!(u64::from(device_number((major, minor))), libc::makedev(major, minor));
        }
    }

    #[test]
    fn any_time_is_taken() {
        let time = |seconds, nanoseconds| system_time(Timestamp { seconds, nanoseconds });
        assert_eq!(
            time(-1, 250_000_000),
            SystemTime::UNIX_EPOCH - Duration::from_millis(750)
        );
        for seconds in [i64::MIN, i64::MAX] {
            time(seconds, 999_999_999);
        }
    }
}
