//! Single flight: of many who want the same thing at the same time, one works for it.

use std::collections::HashSet;
use std::hash::Hash;

use crate::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Things that can be had with effort, each known by its key.
#[derive(Debug)]
pub struct Flights<K> {
    /// What somebody works for.
    flying: Mutex<HashSet<K>>,
    landed: Condvar,
}

impl<K> Default for Flights<K> {
    fn default() -> Self {
        Self {
            flying: Mutex::new(HashSet::new()),
            landed: Condvar::new(),
        }
    }
}

impl<K: Copy + Eq + Hash> Flights<K> {
    /// What `ready` finds, else what `work` brings. While one caller works for `key` the others who want it wait,
    /// then look again with `ready`; if the work has left nothing to be found, the next of them works. `ready` is
    /// called under a lock and must be quick; `work` is not.
    ///
    /// # Errors
    /// Those of `work`.
    pub fn run<T, E>(
        &self,
        key: K,
        ready: impl Fn() -> Option<T>,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let mut flying = self.lock();
        loop {
            if let Some(found) = ready() {
                return Ok(found);
            }
            if flying.insert(key) {
                break;
            }
            flying = self.landed.wait(flying).unwrap_or_else(PoisonError::into_inner);
        }
        drop(flying);
        // Also if `work` panics, so that nobody waits forever.
        let _landing = Landing { flights: self, key };
        work()
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<K>> {
        self.flying.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held by the one who works.
struct Landing<'a, K: Copy + Eq + Hash> {
    flights: &'a Flights<K>,
    key: K,
}

impl<K: Copy + Eq + Hash> Drop for Landing<'_, K> {
    fn drop(&mut self) {
        self.flights.lock().remove(&self.key);
        self.flights.landed.notify_all();
    }
}
