//! Converts between the overlay's types and those of `fuser`.

use std::time::{Duration, SystemTime};

use fuser::{FileAttr, INodeNo, RenameFlags, Request, TimeOrNow};

use crate::mount::adapter::FOREVER;
use crate::mount::adapter::attr::{device_number, file_type, system_time};
use crate::overlay::layer::{FileKind, Timestamp};
use crate::overlay::{Caller, Ino, NewMode, NewNode, RenameMode, SetTime, Stat};

/// Returns how long the kernel may remember `stat`. A write can take set-id bits away without the kernel's cached
/// mode following, on which execve(2) relies. (The kernel forgets times and size after a write, not the mode.)
pub(super) fn lifetime(stat: &Stat) -> Duration {
    let has_set_id = stat.permissions & (libc::S_ISUID | libc::S_ISGID) != 0;
    if stat.kind == FileKind::Regular && has_set_id {
        Duration::ZERO
    } else {
        FOREVER
    }
}

/// Returns the size to show. Layers have none for directories, but it must not change when they are copied up.
fn size_bytes(stat: &Stat) -> u64 {
    match stat.kind {
        FileKind::Directory => stat.size_bytes.max(u64::from(stat.block_size_bytes)),
        _ => stat.size_bytes,
    }
}

/// Returns `stat` as the FUSE protocol has it.
pub(super) fn attr(stat: &Stat) -> FileAttr {
    FileAttr {
        ino: INodeNo(stat.ino.0),
        size: size_bytes(stat),
        blocks: stat.blocks,
        atime: system_time(stat.accessed),
        mtime: system_time(stat.modified),
        ctime: system_time(stat.changed),
        crtime: system_time(stat.changed),
        kind: file_type(stat.kind),
        perm: (stat.permissions & 0o7777) as u16,
        nlink: stat.links,
        uid: stat.uid,
        gid: stat.gid,
        rdev: device_number(stat.device),
        blksize: stat.block_size_bytes,
        flags: 0,
    }
}

/// Returns the answer that means "this name does not exist", which the kernel remembers: inode 0.
pub(super) fn nothing() -> FileAttr {
    attr(&Stat {
        ino: Ino(0),
        generation: 0,
        kind: FileKind::Regular,
        permissions: 0,
        links: 0,
        uid: 0,
        gid: 0,
        size_bytes: 0,
        blocks: 0,
        block_size_bytes: 0,
        device: (0, 0),
        accessed: Timestamp::default(),
        modified: Timestamp::default(),
        changed: Timestamp::default(),
    })
}

/// Returns user and group of the process that made `request`.
pub(super) fn caller(request: &Request) -> Caller {
    Caller {
        uid: request.uid(),
        gid: request.gid(),
    }
}

pub(super) fn set_time(time: TimeOrNow) -> SetTime {
    match time {
        TimeOrNow::Now => SetTime::Now,
        TimeOrNow::SpecificTime(time) => SetTime::At(timestamp(time)),
    }
}

fn timestamp(time: SystemTime) -> Timestamp {
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => Timestamp {
            seconds: seconds(since),
            nanoseconds: since.subsec_nanos(),
        },
        // Before 1970 nanoseconds count forward from the second before, but fuser 0.18 has subtracted them, too.
        Err(error) => Timestamp {
            seconds: -seconds(error.duration()),
            nanoseconds: error.duration().subsec_nanos(),
        },
    }
}

/// Returns the node that mknod(2) requests; `None` for a kind that it does not make.
pub(super) fn new_node(mode: u32, device: u32) -> Option<NewNode<'static>> {
    let (major, minor) = device_parts(device);
    Some(match FileKind::from_mode(mode)? {
        FileKind::Regular => NewNode::Regular,
        FileKind::Fifo => NewNode::Fifo,
        FileKind::Socket => NewNode::Socket,
        FileKind::CharDevice => NewNode::CharDevice(major, minor),
        FileKind::BlockDevice => NewNode::BlockDevice(major, minor),
        FileKind::Directory | FileKind::Symlink => return None,
    })
}

/// Splits a number that [`device_number`] has composed.
fn device_parts(device: u32) -> (u32, u32) {
    ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xf_ff00))
}

/// Returns the mode that `flags` name; `None` for a combination that does not exist.
pub(super) fn rename_mode(flags: RenameFlags) -> Option<RenameMode> {
    Some(match flags {
        flags if flags.is_empty() => RenameMode::Replace,
        RenameFlags::RENAME_NOREPLACE => RenameMode::NoReplace,
        RenameFlags::RENAME_EXCHANGE => RenameMode::Exchange,
        RenameFlags::RENAME_WHITEOUT => RenameMode::Whiteout,
        flags if flags == RenameFlags::RENAME_NOREPLACE | RenameFlags::RENAME_WHITEOUT => RenameMode::NoReplaceWhiteout,
        _ => return None,
    })
}

/// Gives the mode with which a node is asked for: its permission bits, and the caller's umask.
pub(super) fn new_mode(mode: u32, umask: u32) -> NewMode {
    NewMode {
        permissions: mode & 0o7777,
        umask,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive() {
        for (seconds, nanoseconds) in [
            (0, 0),
            (1, 999_999_999),
            (-1, 0),
            (-1, 1),
            (-5_000_000_000, 500_000_000),
        ] {
            // The form in which fuser passes on the kernel's value.
            let duration = Duration::new(i64::unsigned_abs(seconds), nanoseconds);
            let time = match seconds {
                0.. => SystemTime::UNIX_EPOCH + duration,
                _ => SystemTime::UNIX_EPOCH - duration,
            };
            assert_eq!(timestamp(time), Timestamp { seconds, nanoseconds });
        }
    }

    #[test]
    fn device_numbers_survive() {
        for (major, minor) in [(0, 0), (5, 1), (259, 70_000), (4095, 1_048_575)] {
            assert_eq!(device_parts(device_number((major, minor))), (major, minor));
        }
    }
}
