//! Direct I/O (open(2), `O_DIRECT`), and opens for which the kernel bypasses its cache.
//!
//! The server itself writes to the upper through the page cache of the host, so any offset would do. But a program that
//! relies on being refused where ext4 refuses it is refused here as well.
//!
//! The kernel drops the pages in the way before it sends a direct write, not after it: a page that is read meanwhile
//! stays, with the old content. So the server drops the pages once more, before it answers.

use std::sync::{Arc, OnceLock};

use fuser::{FileHandle, INodeNo, Notifier, OpenFlags, WriteFlags};

use crate::mount::adapter::workers::Workers;

/// The handle of a file that `create` opens with `FOPEN_DIRECT_IO`; all others have 0.
pub(super) const UNCACHED: FileHandle = FileHandle(1);

/// The rules of direct I/O in one mount.
#[derive(Debug)]
pub(super) struct Direct {
    kernel: OnceLock<Notifier>,
    /// The bytes by which offsets and lengths must be divisible.
    alignment: u32,
    workers: Workers,
}

impl Direct {
    /// Makes the rules for an upper with this alignment.
    pub(super) fn new(alignment: u32, workers: usize) -> Self {
        Self {
            kernel: OnceLock::new(),
            alignment,
            workers: Workers::new(workers),
        }
    }

    /// Connects it to the kernel, whose pages it drops from now on.
    pub(super) fn connect(&self, kernel: Notifier) {
        // This function is called once.
        let _ = self.kernel.set(kernel);
    }

    /// Returns whether a transfer through a file opened with `flags` is direct, and ext4 would refuse its offset or
    /// length (bytes).
    pub(super) fn refuses(&self, flags: OpenFlags, offset: u64, length: usize) -> bool {
        let is_divisible = |number: u64| number.is_multiple_of(u64::from(self.alignment));
        flags.0 & libc::O_DIRECT != 0 && !(is_divisible(offset) && is_divisible(length as u64))
    }

    /// Returns whether the kernel sends a write without putting its content into its cache.
    pub(super) fn is_past_cache(handle: FileHandle, flags: OpenFlags, write_flags: WriteFlags) -> bool {
        let is_direct = handle == UNCACHED || flags.0 & libc::O_DIRECT != 0;
        is_direct && !write_flags.contains(WriteFlags::FUSE_WRITE_CACHE)
    }

    /// Drops the kernel's pages of `length` bytes at `offset`, and the attributes it remembers; then calls `then`. A thread
    /// of its own does both: dropping waits for reads under way, so no read may wait for it.
    pub(super) fn drop_pages_then(
        self: &Arc<Self>,
        ino: INodeNo,
        offset: u64,
        length: usize,
        then: impl FnOnce() + Send + 'static,
    ) {
        let direct = Arc::clone(self);
        self.workers.run(move || {
            if let (Ok(offset), Ok(length)) = (i64::try_from(offset), i64::try_from(length)) {
                direct.notify(ino, offset, length);
            }
            then();
        });
    }

    /// Drops the attributes that the kernel remembers.
    pub(super) fn drop_attributes(&self, ino: INodeNo) {
        self.notify(ino, -1, 0);
    }

    fn notify(&self, ino: INodeNo, offset: i64, length: i64) {
        let sent = self.kernel.get().map(|kernel| kernel.inval_inode(ino, offset, length));
        if let Some(Err(error)) = sent {
            tracing::warn!(inode = ino.0, "cannot make the kernel forget what it has read: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_direct_transfers_must_be_aligned() {
        let (direct, any) = (Direct::new(512, 1), Direct::new(1, 1));
        let flags = OpenFlags(libc::O_RDWR | libc::O_DIRECT);
        for (offset, length, is_refused) in [(0, 512, false), (1024, 4096, false), (1, 512, true), (512, 100, true)] {
            assert_eq!(direct.refuses(flags, offset, length), is_refused);
            assert!(!direct.refuses(OpenFlags(libc::O_RDWR), offset, length));
            assert!(!any.refuses(flags, offset, length));
        }
    }

    #[test]
    fn pages_are_stale_only_after_what_passed_the_cache() {
        let is_past = Direct::is_past_cache;
        let (plain, direct) = (OpenFlags(libc::O_WRONLY), OpenFlags(libc::O_WRONLY | libc::O_DIRECT));
        assert!(!is_past(FileHandle(0), plain, WriteFlags::empty()));
        assert!(is_past(FileHandle(0), direct, WriteFlags::empty()) && is_past(UNCACHED, plain, WriteFlags::empty()));
        assert!(!is_past(UNCACHED, direct, WriteFlags::FUSE_WRITE_CACHE));
    }
}
