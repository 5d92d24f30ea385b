//! `build.log`: what was done, and what packages' scripts and the template's commands printed.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::durable::PathError;
use crate::progress::{Progress, TaskId, Unit};

/// Passes everything on, and writes it down. What cannot be written is lost: a log is no
/// reason to fail.
#[derive(Debug)]
pub(super) struct BuildLog<'a> {
    shown: &'a dyn Progress,
    file: Mutex<File>,
    tasks: Mutex<HashMap<TaskId, String>>,
}

impl<'a> BuildLog<'a> {
    /// Writes to `path`, which is made anew.
    pub fn create(path: &Path, shown: &'a dyn Progress) -> Result<Self, PathError> {
        let file = File::create(path).map_err(PathError::on("create", path))?;
        Ok(Self {
            shown,
            file: Mutex::new(file),
            tasks: Mutex::default(),
        })
    }

    fn write(&self, line: &str) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writeln!(file, "{line}");
    }
}

impl Progress for BuildLog<'_> {
    fn start(&self, label: &str, unit: Unit, total: Option<u64>) -> TaskId {
        self.write(&format!("=== {label}"));
        let task = self.shown.start(label, unit, total);
        self.tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(task, label.to_owned());
        task
    }

    fn advance(&self, task: TaskId, amount: u64) {
        self.shown.advance(task, amount);
    }

    fn finish(&self, task: TaskId) {
        if let Some(label) = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).remove(&task) {
            self.write(&format!("=== {label}: done"));
        }
        self.shown.finish(task);
    }

    fn note(&self, line: &str) {
        self.write(line);
        self.shown.note(line);
    }

    fn detail(&self, line: &str) {
        self.write(line);
        self.shown.detail(line);
    }
}
