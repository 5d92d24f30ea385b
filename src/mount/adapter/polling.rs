//! Polling for requests instead of sleeping, while they are frequent.
//!
//! A caller that waits for its answer and the server that waits for a request sleep on different CPUs, and waking
//! each other is most of the cost of a FUSE message. So while one request follows the other, the descriptor is
//! `O_NONBLOCK` and the thread that reads it asks again and again (`fuser` does so on `EAGAIN`). It sleeps again when
//! requests get rare, and when another thread wants its CPU: then polling would cost more than waking. Only speed
//! depends on it.
//!
//! This works for one reading thread. Several would all be woken for each request, and all but one find that it is
//! gone.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

/// The number of requests in a burst, whose frequency is measured as a whole.
const BURST: u32 = 16;
/// The longest average distance of frequent requests.
const THICK: Duration = Duration::from_micros(300);
/// The interval of the checks that they still come.
const WATCH: Duration = Duration::from_millis(2);
/// The pause after another thread wanted the CPU, before polling is tried again.
const REST: Duration = Duration::from_millis(20);

/// A switch of a `/dev/fuse` descriptor between the two ways to wait. Dropped, it stops doing so.
#[derive(Debug)]
pub(super) struct Polling {
    shared: Option<Arc<Shared>>,
}

#[derive(Debug)]
struct Shared {
    device: OwnedFd,
    requests: AtomicU64,
    pace: Mutex<Pace>,
    changed: Condvar,
}

#[derive(Debug)]
struct Pace {
    is_polling: bool,
    is_closing: bool,
    /// The end of the last burst.
    burst: Instant,
    /// The number of times that the reading thread had lost its CPU by then.
    lost: i64,
    /// The earliest time to poll again.
    rest: Instant,
}

impl Polling {
    /// Watches the descriptor that one thread will read. With a single CPU it does nothing: no request could be sent
    /// while that thread polls.
    ///
    /// # Errors
    /// If the descriptor cannot be duplicated or no thread be started.
    pub(super) fn new(device: &OwnedFd, threads: usize) -> io::Result<Self> {
        Self::on(thread::available_parallelism().map_or(1, usize::from), device, threads)
    }

    /// Works as [`Self::new`] does on a machine with `cpus` CPUs.
    fn on(cpus: usize, device: &OwnedFd, threads: usize) -> io::Result<Self> {
        if threads > 1 || cpus < 2 {
            return Ok(Self { shared: None });
        }
        let now = Instant::now();
        let shared = Arc::new(Shared {
            device: device.try_clone()?,
            requests: AtomicU64::new(0),
            pace: Mutex::new(Pace {
                is_polling: false,
                is_closing: false,
                burst: now,
                lost: 0,
                rest: now,
            }),
            changed: Condvar::new(),
        });
        let watched = Arc::clone(&shared);
        thread::Builder::new()
            .name("oic-polling".to_owned())
            .spawn(move || watched.watch())?;
        Ok(Self { shared: Some(shared) })
    }

    /// Records that a request has come; to be called on the reading thread.
    pub(super) fn noticed(&self) {
        if let Some(shared) = &self.shared {
            let before = shared.requests.fetch_add(1, Ordering::Relaxed);
            if before.is_multiple_of(u64::from(BURST)) {
                shared.burst();
            }
        }
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            let mut pace = shared.lock();
            shared.switch(&mut pace, false);
            pace.is_closing = true;
            shared.changed.notify_all();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides after a burst how to wait for the next requests.
    fn burst(&self) {
        let lost = getrusage(UsageWho::RUSAGE_THREAD).map_or(0, |usage| usage.involuntary_context_switches());
        let now = Instant::now();
        let mut pace = self.lock();
        let was_disturbed = lost != pace.lost;
        let is_thick = now - pace.burst < THICK * BURST;
        (pace.burst, pace.lost) = (now, lost);
        if pace.is_polling && was_disturbed {
            pace.rest = now + REST;
            self.switch(&mut pace, false);
        } else if !pace.is_polling && is_thick && now >= pace.rest {
            self.switch(&mut pace, true);
        }
    }

    fn switch(&self, pace: &mut Pace, is_polling: bool) {
        if pace.is_polling == is_polling {
            return;
        }
        let switched = fcntl_getfl(&self.device).and_then(|flags| {
            let mut flags = flags;
            flags.set(OFlags::NONBLOCK, is_polling);
            fcntl_setfl(&self.device, flags)
        });
        match switched {
            Ok(()) => pace.is_polling = is_polling,
            Err(errno) => tracing::debug!("cannot change how to wait for requests: {errno}"),
        }
        self.changed.notify_all();
    }

    /// Ends the polling when requests get rare.
    fn watch(&self) {
        let mut pace = self.lock();
        while !pace.is_closing {
            if !pace.is_polling {
                pace = self.changed.wait(pace).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            drop(pace);
            let before = self.requests.load(Ordering::Relaxed);
            thread::sleep(WATCH);
            let came = self.requests.load(Ordering::Relaxed) - before;
            pace = self.lock();
            if u128::from(came) * THICK.as_micros() < WATCH.as_micros() {
                self.switch(&mut pace, false);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_polling(device: &OwnedFd) -> bool {
        fcntl_getfl(device).unwrap().contains(OFlags::NONBLOCK)
    }

    #[test]
    fn polls_only_while_requests_come_thick() {
        // Any descriptor has the flag.
        let (device, _other) = rustix::pipe::pipe().unwrap();
        let polling = Polling::on(2, &device, 1).unwrap();
        for _ in 0..4 {
            thread::sleep(THICK * BURST * 2);
            polling.noticed();
        }
        assert!(!is_polling(&device), "a few requests");
        let start = Instant::now();
        while !is_polling(&device) {
            polling.noticed();
            assert!(start.elapsed() < Duration::from_secs(5), "many requests");
        }
        while is_polling(&device) {
            thread::sleep(WATCH);
            assert!(start.elapsed() < Duration::from_secs(10), "no requests any more");
        }
        while !is_polling(&device) {
            polling.noticed();
        }
        drop(polling);
        assert!(!is_polling(&device), "dropped");
    }

    #[test]
    fn several_threads_or_one_processor_do_not_poll() {
        let (device, _other) = rustix::pipe::pipe().unwrap();
        for polling in [Polling::on(2, &device, 2).unwrap(), Polling::on(1, &device, 1).unwrap()] {
            for _ in 0..1000 {
                polling.noticed();
            }
            assert!(!is_polling(&device));
        }
    }
}
