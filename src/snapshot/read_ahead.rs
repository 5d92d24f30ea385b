//! Unpacks members before a reader needs them.
//!
//! Two sources predict the reads: an order that an earlier process recorded, and reads of members in the order of the
//! stream (`tar`, `cp -a`, writing an image). A failure here is left to the read that needs the member. One thread
//! works a bounded number of members ahead of a sequential reader ([`Hints`](super::hints::Hints)), and unpacks nothing
//! twice.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::member_id::MemberId;
use super::reader::Snapshot;

/// A running read-ahead. Dropping it waits for its end, at most for the time of one member.
#[derive(Debug)]
pub struct ReadAhead {
    snapshot: Arc<Snapshot>,
    thread: Option<JoinHandle<()>>,
}

impl ReadAhead {
    /// Starts the thread, which unpacks `recorded` in order, and follows readers that read in order.
    pub fn start(snapshot: &Arc<Snapshot>, recorded: Vec<MemberId>) -> Self {
        snapshot.hints.open();
        let worker = Arc::clone(snapshot);
        let work = move || {
            let mut recorded = recorded.into_iter();
            while let Some(id) = worker.hints.next(&mut recorded) {
                worker.unpack_ahead(id);
            }
        };
        let thread = thread::Builder::new().name("oic-ahead".to_owned()).spawn(work);
        if let Err(error) = &thread {
            tracing::warn!("cannot start the read-ahead thread: {error}");
        }
        Self {
            snapshot: Arc::clone(snapshot),
            thread: thread.ok(),
        }
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        self.snapshot.hints.close();
        if let Some(thread) = self.thread.take() {
            // The thread does not panic; if it did, reading would go on without it.
            let _ = thread.join();
        }
    }
}
