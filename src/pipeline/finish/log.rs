//! `build.log`: what was done, and what packages' scripts and the template's commands printed. A terminal can show it:
//! hidden characters are escaped.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::durable::{self, PathError};
use crate::progress::{Progress, TaskId, Unit};
use crate::terminal;

/// A log that passes everything on, and writes it down. What cannot be written is lost: a log is no reason to fail.
#[derive(Debug)]
pub struct BuildLog<'a> {
    shown: &'a dyn Progress,
    file: Mutex<File>,
    tasks: Mutex<HashMap<TaskId, String>>,
}

impl<'a> BuildLog<'a> {
    /// Creates the log at `path`, in the place of an older one.
    pub fn create(path: &Path, shown: &'a dyn Progress) -> Result<Self, PathError> {
        let file = durable::create_private(path).map_err(PathError::on("create", path))?;
        Ok(Self {
            shown,
            file: Mutex::new(file),
            tasks: Mutex::default(),
        })
    }

    fn write(&self, line: &str) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writeln!(file, "{}", terminal::visible(line));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    #[test]
    fn a_terminal_can_show_the_log() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("build.log");
        let log = BuildLog::create(&path, &Silent).unwrap();
        log.note("\x1b]0;title\x07 \x1b[2J and \u{202e}backwards\u{2069} Größe");
        log.detail("\u{200b}\u{9b}31m");
        let task = log.start("\x1bc", Unit::Items, None);
        log.finish(task);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("\\u{202e}backwards\\u{2069} Größe"), "{text}");
        assert_eq!(text.lines().count(), 4);
        assert!(!text.contains(|c| terminal::is_hidden(c) && c != '\n'), "{text:?}");
    }
}
