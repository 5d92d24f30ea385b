//! How the library tells of long work, without knowing how it is shown.

use std::fmt::Debug;

/// What an amount of a task counts.
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

/// Receives what long work has to tell. The command line draws bars from it;
/// [`Silent`] drops it. Implementations must not block for long.
pub trait Progress: Debug + Send + Sync {
    /// A task begins; `total` is its whole amount in `unit`s, if known.
    fn start(&self, label: &str, unit: Unit, total: Option<u64>) -> TaskId;
    /// `amount` more of the task is done.
    fn advance(&self, task: TaskId, amount: u64);
    /// The task has ended, well or not.
    fn finish(&self, task: TaskId);
    /// A line that a person should see between the bars (a warning, a script's output).
    fn note(&self, line: &str);
    /// A line for the log only (what a package's script printed).
    fn detail(&self, line: &str) {
        tracing::debug!("{line}");
    }
}

/// Shows nothing.
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
