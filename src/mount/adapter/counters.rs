//! Counters of a mount's requests, for `--stats` and the build report.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// A snapshot of a server's counters since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Names looked up one by one.
    pub lookups: u64,
    /// Attribute requests.
    pub attributes: u64,
    /// Directory listing requests.
    pub listings: u64,
    /// Symbolic links read.
    pub links: u64,
    /// Extended attribute requests.
    pub xattrs: u64,
    /// Read requests that reached the server (the page cache answers the others).
    pub reads: u64,
    /// Bytes returned for them.
    pub read_bytes: u64,
    /// Read requests that had to wait for inflating or fetching.
    pub slow_reads: u64,
    /// Requests that changed names or metadata.
    pub changes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Files that were sent to the kernel before it requested them.
    pub given: u64,
    /// Requests that failed for a reason that a person should know; the log has each.
    pub errors: u64,
}

/// The live counters.
#[derive(Debug, Default)]
pub(in crate::mount) struct Counters {
    pub(in crate::mount) lookups: AtomicU64,
    pub(in crate::mount) attributes: AtomicU64,
    pub(in crate::mount) listings: AtomicU64,
    pub(in crate::mount) links: AtomicU64,
    pub(in crate::mount) xattrs: AtomicU64,
    pub(in crate::mount) reads: AtomicU64,
    pub(in crate::mount) read_bytes: AtomicU64,
    pub(in crate::mount) slow_reads: AtomicU64,
    pub(in crate::mount) changes: AtomicU64,
    pub(in crate::mount) written_bytes: AtomicU64,
    pub(in crate::mount) given: AtomicU64,
    pub(in crate::mount) errors: AtomicU64,
}

impl Counters {
    /// Returns the counters as they are now.
    pub(in crate::mount) fn counts(&self) -> Counts {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            lookups: value(&self.lookups),
            attributes: value(&self.attributes),
            listings: value(&self.listings),
            links: value(&self.links),
            xattrs: value(&self.xattrs),
            reads: value(&self.reads),
            read_bytes: value(&self.read_bytes),
            slow_reads: value(&self.slow_reads),
            changes: value(&self.changes),
            written_bytes: value(&self.written_bytes),
            given: value(&self.given),
            errors: value(&self.errors),
        }
    }
}

/// Adds `amount` to `counter`.
pub(in crate::mount) fn count(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}
