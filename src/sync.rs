//! Locks, conditions and threads. The modules that share work between threads take them from here, so that
//! `tests/model.rs` and `tests/model_overlay.rs` can compile them a second time over `shuttle` and try their
//! interleavings.

mod recover;

pub use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
pub use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
pub use std::thread::scope;

use std::thread::{Builder, Scope, ScopedJoinHandle};

pub use recover::{into_inner, lock, read, wait, write};

/// Starts a thread that runs `work` within `scope`; returns `None` if the system has no thread left.
pub fn spawn_scoped<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Option<ScopedJoinHandle<'scope, T>> {
    Builder::new().spawn_scoped(scope, work).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_does_not_close_the_lock() {
        let (mutex, names) = (Mutex::new(1), RwLock::new(1));
        std::thread::scope(|scope| {
            let panicked = scope.spawn(|| {
                let _guards = (mutex.lock().unwrap(), names.write().unwrap());
                panic!("a bug");
            });
            panicked.join().unwrap_err();
        });
        assert!(mutex.is_poisoned() && names.is_poisoned());
        *lock(&mutex) += 1;
        *write(&names) += 1;
        assert_eq!(*read(&names), 2);
        assert_eq!(into_inner(mutex), 2);
    }
}
