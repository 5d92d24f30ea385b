//! Unpacks what will be read next, before it is asked for.
//!
//! Two things tell what that is: an order that an earlier process recorded, and members that are
//! used one after the other as they stand in the stream (`tar`, `cp -a`, writing an image).
//! Whatever fails here is left to the read that needs it. One thread, a bounded number of members ahead of a
//! sequential reader ([`Hints`](super::hints::Hints)), nothing twice.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::format::MemberId;
use super::reader::Snapshot;

/// Read-ahead under way. Dropped, it ends within the time that one member takes.
#[derive(Debug)]
pub struct ReadAhead {
    snapshot: Arc<Snapshot>,
    thread: Option<JoinHandle<()>>,
}

impl ReadAhead {
    /// Starts the thread. It unpacks `recorded` in order, and follows readers that read in order.
    pub fn start(snapshot: &Arc<Snapshot>, recorded: Vec<MemberId>) -> Self {
        snapshot.hints.open();
        let worker = Arc::clone(snapshot);
        let work = move || {
            let mut recorded = recorded.into_iter().map(|MemberId(id)| id);
            while let Some(id) = worker.hints.next(&mut recorded) {
                worker.unpack_ahead(MemberId(id));
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
            // It does not panic; if it did, reading goes on without it.
            let _ = thread.join();
        }
    }
}
