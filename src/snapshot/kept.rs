//! Members that could not be put into the backing store, kept in memory within bounds.

use std::sync::Arc;

use lru::LruCache;

use crate::sync::{Mutex, MutexGuard, PoisonError};

/// The members used last.
#[derive(Debug)]
pub struct Kept {
    bytes_max: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    members: LruCache<u32, Arc<[u8]>>,
    bytes: usize,
}

impl Kept {
    /// Keeps at most `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Self {
        let state = State {
            members: LruCache::unbounded(),
            bytes: 0,
        };
        Self {
            bytes_max,
            state: Mutex::new(state),
        }
    }

    /// The bytes of a member.
    pub fn get(&self, id: u32) -> Option<Arc<[u8]>> {
        self.lock().members.get(&id).map(Arc::clone)
    }

    /// Keeps the bytes of a member, and lets go of what was not used for longest.
    pub fn put(&self, id: u32, bytes: &Arc<[u8]>) {
        if bytes.len() > self.bytes_max {
            return;
        }
        let mut state = self.lock();
        if let Some(old) = state.members.put(id, Arc::clone(bytes)) {
            state.bytes -= old.len();
        }
        state.bytes += bytes.len();
        while state.bytes > self.bytes_max {
            let Some((_, old)) = state.members.pop_lru() else {
                return;
            };
            state.bytes -= old.len();
        }
    }

    /// How many bytes are kept.
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
