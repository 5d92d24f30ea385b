//! Single flight: of many callers that want the same thing at the same time, one does the work.

use std::collections::HashSet;
use std::hash::Hash;

use crate::sync::{Condvar, Mutex, lock, wait};

/// Results of expensive work, each identified by a key.
#[derive(Debug)]
pub struct Flights<K> {
    /// The keys that a caller is working on.
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
    /// Returns the result of `ready`, or else that of `work`. While one caller works for `key`, the others that want
    /// it wait, then call `ready` again; if it still finds nothing, the next of them works. `ready` is called under a
    /// lock and must be quick; `work` is not.
    ///
    /// # Errors
    /// Those of `work`.
    pub fn run<T, E>(
        &self,
        key: K,
        ready: impl Fn() -> Option<T>,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let mut flying = lock(&self.flying);
        loop {
            if let Some(found) = ready() {
                return Ok(found);
            }
            if flying.insert(key) {
                break;
            }
            flying = wait(&self.landed, flying);
        }
        drop(flying);
        // Also if `work` panics, so that no thread waits forever.
        let _landing = Landing { flights: self, key };
        work()
    }
}

/// The guard of the caller that does the work.
struct Landing<'a, K: Copy + Eq + Hash> {
    flights: &'a Flights<K>,
    key: K,
}

impl<K: Copy + Eq + Hash> Drop for Landing<'_, K> {
    fn drop(&mut self) {
        lock(&self.flights.flying).remove(&self.key);
        self.flights.landed.notify_all();
    }
}
