//! Keeps in memory, within bounds, members that could not be written to the backing store.

use std::sync::Arc;

use lru::LruCache;

use super::member_id::MemberId;
use crate::sync::{Mutex, lock};

/// The bytes of the members used last.
#[derive(Debug)]
pub struct Memory {
    bytes_max: usize,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    members: LruCache<MemberId, Arc<[u8]>>,
    bytes: usize,
}

impl Memory {
    /// Makes a memory for at most `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Self {
        let held = Held {
            members: LruCache::unbounded(),
            bytes: 0,
        };
        Self {
            bytes_max,
            held: Mutex::new(held),
        }
    }

    /// Returns the bytes of a member, if they are kept.
    pub fn get(&self, id: MemberId) -> Option<Arc<[u8]>> {
        lock(&self.held).members.get(&id).map(Arc::clone)
    }

    /// Keeps the bytes of a member; drops those that were unused for longest.
    pub fn put(&self, id: MemberId, bytes: &Arc<[u8]>) {
        if bytes.len() > self.bytes_max {
            return;
        }
        let mut held = lock(&self.held);
        if let Some(old) = held.members.put(id, Arc::clone(bytes)) {
            held.bytes -= old.len();
        }
        held.bytes += bytes.len();
        while held.bytes > self.bytes_max {
            let Some((_, old)) = held.members.pop_lru() else {
                return;
            };
            held.bytes -= old.len();
        }
    }

    /// Returns the number of bytes kept.
    pub fn bytes(&self) -> usize {
        lock(&self.held).bytes
    }
}
