//! What all long work needs besides its input.

use crate::cancel::Cancel;
use crate::progress::{Progress, Silent, Task, Unit};

/// The means of long work: where it reports, what ends it early, and how many threads it may use.
#[derive(Debug, Clone, Copy)]
pub struct Work<'a> {
    /// The receiver of its reports.
    pub progress: &'a dyn Progress,
    /// The signal that ends it early.
    pub cancel: &'a Cancel,
    /// Number of threads for what takes a processor, at least one.
    pub threads: usize,
}

impl<'a> Work<'a> {
    /// Begins a task, which ends when the result is dropped; `total` is its whole amount in `unit`s, if known.
    pub fn start(&self, label: &str, unit: Unit, total: Option<u64>) -> Task<'a> {
        Task::start(self.progress, label, unit, total)
    }

    /// Makes means that show nothing and have two threads, for tests.
    pub fn quiet(cancel: &'a Cancel) -> Self {
        Self {
            progress: &Silent,
            cancel,
            threads: 2,
        }
    }
}
