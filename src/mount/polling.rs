//! Asking for requests instead of sleeping, while they come thick.
//!
//! Whoever waits for an answer and the server that waits for a request sleep on different CPUs, and waking each
//! other is most of what a FUSE message costs. So while one request follows the other, the descriptor is
//! `O_NONBLOCK` and the thread that reads it asks again and again (`fuser` does so on `EAGAIN`). It
//! sleeps again when requests get rare, and when somebody else wants its CPU: then asking would cost
//! more than waking. Nothing depends on it but speed.
//!
//! This works for one reading thread. More of them would be woken for each request, to find that it is gone.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

/// How many requests are looked at together.
const BURST: u32 = 16;
/// Requests come thick if they are no farther apart than this, on average.
const THICK: Duration = Duration::from_micros(300);
/// How often it is checked that they still come.
const WATCH: Duration = Duration::from_millis(2);
/// How long it is not tried again after somebody else wanted the CPU.
const REST: Duration = Duration::from_millis(20);

/// Switches a `/dev/fuse` descriptor between the two ways to wait. Dropped, it stops doing so.
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
    /// When the last burst was complete.
    burst: Instant,
    /// How often the reading thread had lost its CPU by then.
    lost: i64,
    /// Not to be tried before.
    rest: Instant,
}

impl Polling {
    /// For the descriptor that one thread will read. With a single CPU it does nothing: nobody could send a request
    /// while that thread asks for it.
    ///
    /// # Errors
    /// If the descriptor cannot be duplicated or no thread be started.
    pub(super) fn new(device: &OwnedFd, threads: usize) -> io::Result<Self> {
        if threads > 1 || thread::available_parallelism().map_or(1, usize::from) < 2 {
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

    /// A request has come: to be called on the reading thread.
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
        let polling = Polling::new(&device, 1).unwrap();
        if polling.shared.is_none() {
            return;
        }
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
    fn several_threads_do_not_poll() {
        let (device, _other) = rustix::pipe::pipe().unwrap();
        let polling = Polling::new(&device, 2).unwrap();
        for _ in 0..1000 {
            polling.noticed();
        }
        assert!(!is_polling(&device));
    }
}
