//! Detects whether writing to the upper waits for its disk. A thread that dirties memory faster than the disk takes
//! it sleeps in write(2), which must not happen to the thread that answers all requests.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The duration above which a write has waited.
const WAITED: Duration = Duration::from_millis(2);
/// The time for which the next writes are expected to wait as well.
const MEMORY: Duration = Duration::from_millis(500);

/// A memory of the last write that had to wait.
#[derive(Debug)]
pub(super) struct Pressure {
    start: Instant,
    /// End of the expected waiting, in milliseconds after the start.
    until: AtomicU64,
}

impl Pressure {
    /// Makes a memory without a wait.
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            until: AtomicU64::new(0),
        }
    }

    /// Returns whether a write should be left to another thread.
    pub(super) fn is_high(&self) -> bool {
        let until = self.until.load(Ordering::Relaxed);
        until > 0 && self.start.elapsed() < Duration::from_millis(until)
    }

    /// Runs a write on this thread, and remembers whether it waited.
    pub(super) fn watch<T>(&self, write: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = write();
        if start.elapsed() > WAITED {
            let until = (self.start.elapsed() + MEMORY).as_millis();
            self.until
                .store(u64::try_from(until).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_high_for_a_while_after_a_write_has_waited() {
        let pressure = Pressure::new();
        assert_eq!(pressure.watch(|| 1), 1);
        assert!(!pressure.is_high());
        pressure.watch(|| std::thread::sleep(WAITED * 2));
        assert!(pressure.is_high());
        std::thread::sleep(MEMORY + WAITED);
        assert!(!pressure.is_high());
    }
}
