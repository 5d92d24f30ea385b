//! Single flight: of many who want the same result at the same time, one works for it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::overlay::layer::{LayerError, LayerResult};

/// How long a failure stands. The kernel repeats a failed read-ahead as a plain read at once,
/// which should not wait for the mirror a second time.
const FAILURE_LIFE: Duration = Duration::from_millis(500);

/// One thing that can be had with effort.
#[derive(Debug, Default)]
pub(super) struct Flight {
    state: Mutex<State>,
    landed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    flying: bool,
    /// How many flights have landed.
    landings: u64,
    /// What the last one brought, if it was a failure, and when.
    failure: Option<(LayerError, Instant)>,
}

impl State {
    fn recent_failure(&self) -> Option<LayerError> {
        let (failure, landed) = self.failure.as_ref()?;
        (landed.elapsed() < FAILURE_LIFE).then(|| failure.clone())
    }
}

/// Lands the flight also if the work panics.
struct Landing<'a>(&'a Flight, Option<LayerError>);

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.flying = false;
        state.landings += 1;
        state.failure = self.1.take().map(|failure| (failure, Instant::now()));
        self.0.landed.notify_all();
    }
}

impl Flight {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `ready` finds, or else what `work` brings. Only one thread is in `work`; the others
    /// wait for it and take its failure for theirs. No lock is held meanwhile.
    pub(super) fn run<T>(
        &self,
        ready: impl Fn() -> Option<T>,
        work: impl FnOnce() -> LayerResult<T>,
    ) -> LayerResult<T> {
        let mut state = self.lock();
        loop {
            if let Some(found) = ready() {
                return Ok(found);
            }
            if !state.flying {
                if let Some(failure) = state.recent_failure() {
                    return Err(failure);
                }
                break;
            }
            let seen = state.landings;
            state = self
                .landed
                .wait_while(state, |state| state.landings == seen)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.flying = true;
        drop(state);
        let mut landing = Landing(self, None);
        let result = work();
        landing.1 = result.as_ref().err().cloned();
        result
    }
}
