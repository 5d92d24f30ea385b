//! How far a file is finished that several threads fill in any order, for somebody who reads it in order meanwhile.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Everything before the first [`Hold`] is final.
#[derive(Debug, Default)]
pub(super) struct Frontier {
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// How many hold each offset.
    held: BTreeMap<u64, usize>,
    is_abandoned: bool,
}

impl Frontier {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the frontier from going beyond `offset_bytes`.
    pub(super) fn hold(&self, offset_bytes: u64) -> Hold<'_> {
        *self.lock().held.entry(offset_bytes).or_default() += 1;
        Hold {
            frontier: self,
            offset_bytes,
        }
    }

    /// Waits until the frontier is beyond `offset_bytes` and tells where it is; `u64::MAX` if nobody holds it.
    /// `None` if the file will not be finished.
    pub(super) fn wait_beyond(&self, offset_bytes: u64) -> Option<u64> {
        let mut state = self.lock();
        loop {
            if state.is_abandoned {
                return None;
            }
            let first = state.held.keys().next().copied().unwrap_or(u64::MAX);
            if first > offset_bytes {
                return Some(first);
            }
            state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends all waiting.
    pub(super) fn abandon(&self) {
        self.lock().is_abandoned = true;
        self.moved.notify_all();
    }
}

/// Something from here on is still to be written.
#[derive(Debug)]
pub struct Hold<'a> {
    frontier: &'a Frontier,
    offset_bytes: u64,
}

impl<'a> Hold<'a> {
    /// One for each of `offsets_bytes`, instead of this one.
    pub(super) fn split(self, offsets_bytes: impl Iterator<Item = u64>) -> Vec<Hold<'a>> {
        // The new ones are there before the old one goes.
        offsets_bytes.map(|offset| self.frontier.hold(offset)).collect()
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        let mut state = self.frontier.lock();
        if let Some(count) = state.held.get_mut(&self.offset_bytes) {
            *count -= 1;
            if *count == 0 {
                state.held.remove(&self.offset_bytes);
            }
        }
        drop(state);
        self.frontier.moved.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_where_the_first_hold_is() {
        let frontier = Frontier::default();
        assert_eq!(frontier.wait_beyond(7), Some(u64::MAX));
        let (first, second) = (frontier.hold(10), frontier.hold(20));
        assert_eq!(frontier.wait_beyond(9), Some(10));
        let parts = first.split([15, 12, 20].into_iter());
        assert_eq!(frontier.wait_beyond(0), Some(12));
        drop(parts);
        assert_eq!(frontier.wait_beyond(0), Some(20));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| frontier.wait_beyond(20));
            drop(second);
            assert_eq!(waiting.join().unwrap(), Some(u64::MAX));
        });
        let _held = frontier.hold(0);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| frontier.wait_beyond(0));
            frontier.abandon();
            assert_eq!(waiting.join().unwrap(), None);
        });
    }
}
