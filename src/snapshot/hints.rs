//! What the users of a snapshot tell about their reading, and what follows from it: which member to unpack next.

use crate::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// How many members a sequential reader is led by; 1 MiB at most each.
const WINDOW_MAX: u32 = 16;
/// A step this far forward still counts as reading in order: small files are skipped, threads overtake.
const STEP_MAX: u32 = 2;

/// What a snapshot's users tell about their reading.
#[derive(Debug, Default)]
pub struct Hints {
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
    pub fn used(&self, id: u32) {
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
    pub fn next(&self, recorded: &mut impl Iterator<Item = u32>) -> Option<u32> {
        let mut state = self.lock();
        loop {
            if !state.open {
                return None;
            }
            if state.next < state.end {
                state.next += 1;
                return Some(state.next - 1);
            }
            if let Some(id) = recorded.next() {
                return Some(id);
            }
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// From now on somebody listens.
    pub fn open(&self) {
        self.lock().open = true;
    }

    /// Nobody listens any more.
    pub fn close(&self) {
        self.lock().open = false;
        self.wake.notify_all();
    }
}
