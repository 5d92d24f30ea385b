//! Reports of long work, independent of how they are shown.

use std::fmt::Debug;

/// The unit in which a task's amount is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Things: packages, files, members.
    Items,
}

/// Identifies a running task of a [`Progress`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TaskId(pub u64);

/// A receiver of reports about long work. The command line draws bars from them; [`Silent`] drops them.
/// Implementations must not block for long.
pub trait Progress: Debug + Send + Sync {
    /// Begins a task; `total` is its whole amount in `unit`s, if known.
    fn start(&self, label: &str, unit: Unit, total: Option<u64>) -> TaskId;
    /// Adds `amount` to the completed part of the task.
    fn advance(&self, task: TaskId, amount: u64);
    /// Ends the task, whether or not it succeeded.
    fn finish(&self, task: TaskId);
    /// Reports a line that a person should see between the bars (a warning, a script's output).
    fn note(&self, line: &str);
    /// Reports a line for the log only (what a package's script printed).
    fn detail(&self, line: &str) {
        tracing::debug!("{line}");
    }
}

/// A task that is under way. It ends when it is dropped, whether or not it succeeded.
#[derive(Debug)]
pub struct Task<'a> {
    progress: &'a dyn Progress,
    id: TaskId,
}

impl<'a> Task<'a> {
    /// Begins a task; `total` is its whole amount in `unit`s, if known.
    pub fn start(progress: &'a dyn Progress, label: &str, unit: Unit, total: Option<u64>) -> Self {
        Self {
            progress,
            id: progress.start(label, unit, total),
        }
    }

    /// Adds `amount` to the completed part.
    pub fn advance(&self, amount: u64) {
        self.progress.advance(self.id, amount);
    }
}

impl Drop for Task<'_> {
    fn drop(&mut self) {
        self.progress.finish(self.id);
    }
}

/// A receiver that shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn start(&self, _label: &str, _unit: Unit, _total: Option<u64>) -> TaskId {
        TaskId(0)
    }
    fn advance(&self, _task: TaskId, _amount: u64) {}
    fn finish(&self, _task: TaskId) {}
    fn note(&self, _line: &str) {}
}
