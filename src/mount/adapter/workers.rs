//! Threads for reads that may take long (inflating, fetching), so that a FUSE
//! thread never waits. One pool per layer: a slow mirror does not hold up the base.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

type Job = Box<dyn FnOnce() + Send>;

/// A pool of at most `limit` threads, which are started when first needed.
pub(in crate::mount) struct Workers {
    shared: Arc<Shared>,
    limit: usize,
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    threads: usize,
    idle: usize,
    closing: bool,
}

impl Workers {
    /// Makes a pool of `limit` threads, at least one.
    pub(in crate::mount) fn new(limit: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::default(),
                wake: Condvar::new(),
            }),
            limit: limit.max(1),
        }
    }

    /// Queues `job`. If no thread can be started, it runs here: slow beats lost.
    pub(in crate::mount) fn run(&self, job: impl FnOnce() + Send + 'static) {
        let mut state = self.shared.lock();
        state.queue.push_back(Box::new(job));
        if state.queue.len() > state.idle && state.threads < self.limit {
            state.threads += 1;
            drop(state);
            self.start_thread();
        } else {
            drop(state);
            self.shared.wake.notify_one();
        }
    }

    fn start_thread(&self) {
        let shared = Arc::clone(&self.shared);
        let started = thread::Builder::new()
            .name("oic-read".to_owned())
            .spawn(move || shared.work());
        if let Err(error) = started {
            let mut state = self.shared.lock();
            state.threads -= 1;
            let orphan = if state.threads == 0 {
                state.queue.pop_front()
            } else {
                None
            };
            drop(state);
            tracing::warn!("cannot start a read thread: {error}");
            if let Some(job) = orphan {
                job();
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.queue.pop_front() {
                drop(state);
                job();
                state = self.lock();
            } else if state.closing {
                return;
            } else {
                state.idle += 1;
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
            }
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.wake.notify_all();
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_blocked_job_does_not_hold_up_the_next() {
        let workers = Workers::new(2);
        let (release, blocked) = mpsc::channel::<()>();
        let (done, results) = mpsc::channel();
        workers.run(move || {
            let _ = blocked.recv();
        });
        for number in 0..100 {
            let done = done.clone();
            workers.run(move || done.send(number).unwrap());
        }
        for _ in 0..100 {
            results.recv_timeout(Duration::from_secs(5)).unwrap();
        }
        release.send(()).unwrap();
    }
}
