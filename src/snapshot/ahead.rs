//! Unpacks what will be read next, before it is asked for.
//!
//! Two things tell what that is: an order that an earlier process recorded, and members that are
//! used one after the other as they stand in the stream (`tar`, `cp -a`, writing an image).
//! Whatever fails here is left to the read that needs it. One thread, at most [`WINDOW_MAX`] members
//! ahead of a sequential reader, nothing twice.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::format::MemberId;
use super::reader::Snapshot;

/// How many members a sequential reader is led by; 1 MiB at most each.
const WINDOW_MAX: u32 = 16;
/// A step this far forward still counts as reading in order: small files are skipped, threads overtake.
const STEP_MAX: u32 = 2;

/// What a snapshot's users tell about their reading.
#[derive(Debug, Default)]
pub(super) struct Hints {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    last: Option<u32>,
    window: u32,
    /// Members to unpack: `next..end`.
    next: u32,
    end: u32,
    /// Somebody listens.
    open: bool,
}

impl Hints {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A member was used for the first time.
    pub(super) fn used(&self, MemberId(id): MemberId) {
        let mut state = self.lock();
        if !state.open {
            return;
        }
        let step = state.last.and_then(|last| id.checked_sub(last));
        let in_order = step.is_some_and(|step| (1..=STEP_MAX).contains(&step));
        state.last = Some(id);
        if !in_order {
            (state.window, state.next, state.end) = (0, 0, 0);
            return;
        }
        state.window = (state.window * 2).clamp(2, WINDOW_MAX);
        state.next = state.next.max(id.saturating_add(1));
        state.end = id.saturating_add(1).saturating_add(state.window);
        drop(state);
        self.wake.notify_one();
    }

    /// The next member to unpack: what a sequential reader needs goes before `recorded`.
    /// `None` once this is closed; waits if there is nothing to do.
    fn next(&self, recorded: &mut impl Iterator<Item = MemberId>) -> Option<MemberId> {
        let mut state = self.lock();
        loop {
            if !state.open {
                return None;
            }
            if state.next < state.end {
                state.next += 1;
                return Some(MemberId(state.next - 1));
            }
            if let Some(id) = recorded.next() {
                return Some(id);
            }
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn close(&self) {
        self.lock().open = false;
        self.wake.notify_all();
    }
}

/// Read-ahead under way. Dropped, it ends within the time that one member takes.
#[derive(Debug)]
pub struct ReadAhead {
    snapshot: Arc<Snapshot>,
    thread: Option<JoinHandle<()>>,
}

impl ReadAhead {
    /// Starts the thread. It unpacks `recorded` in order, and follows readers that read in order.
    pub fn start(snapshot: &Arc<Snapshot>, recorded: Vec<MemberId>) -> Self {
        snapshot.hints.lock().open = true;
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
            // It does not panic; if it did, reading goes on without it.
            let _ = thread.join();
        }
    }
}
