//! The course of a build, for machines: one JSON object per line. `docs/user-guide.md` describes them.
//!
//! Each has `version`, `event` and `seconds` since the start. A field or event may be added at any
//! time; [`VERSION`] changes when one changes its meaning or goes.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::durable;
use crate::pipeline::report::BuildReport;
use crate::progress::{Progress, TaskId, Unit};
use crate::sync::{Mutex, lock};
use crate::terminal;

use super::error::CommandError;

/// Version of all events.
const VERSION: u32 = 1;
/// Least time between two reports on the progress of a running task.
const INTERVAL: Duration = Duration::from_millis(200);

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event<'a> {
    Started {
        program: &'static str,
        template: &'a str,
    },
    TaskStarted {
        task: u64,
        label: &'a str,
        unit: &'static str,
        total: Option<u64>,
    },
    TaskProgress {
        task: u64,
        done: u64,
    },
    TaskFinished {
        task: u64,
        done: u64,
    },
    Note {
        text: &'a str,
    },
    Finished {
        report: &'a BuildReport,
    },
    Failed {
        exit_code: u8,
        message: &'a str,
        hints: &'a [String],
    },
}

#[derive(Serialize)]
struct Line<'a> {
    version: u32,
    #[serde(flatten)]
    event: Event<'a>,
    seconds: f64,
}

/// The target of events.
pub struct Events {
    begun: Instant,
    writer: Mutex<Box<dyn Write + Send>>,
    lost: AtomicBool,
}

impl Events {
    /// Opens the target: `-` is standard output, everything else a file, which is replaced.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn open(target: &Path) -> Result<Self, CommandError> {
        let writer: Box<dyn Write + Send> = if target == Path::new("-") {
            Box::new(io::stdout())
        } else {
            let file = durable::create_private(target);
            let failed = |error| CommandError::failed(format!("cannot open {}: {error}", target.display()));
            Box::new(file.map_err(failed)?)
        };
        Ok(Self {
            begun: Instant::now(),
            writer: Mutex::new(writer),
            lost: AtomicBool::new(false),
        })
    }

    /// Writes the first event.
    pub fn started(&self, template: &str) {
        self.send(Event::Started {
            program: super::version::SHORT,
            template,
        });
    }

    /// Writes the last event of a build that made an image.
    pub fn finished(&self, report: &BuildReport) {
        self.send(Event::Finished { report });
    }

    /// Writes the last event of a build that failed.
    pub fn failed(&self, error: &CommandError) {
        let (exit_code, message, hints) = error.parts();
        self.send(Event::Failed {
            exit_code,
            message: &message,
            hints,
        });
    }

    fn send(&self, event: Event<'_>) {
        let line = Line {
            version: VERSION,
            event,
            seconds: self.begun.elapsed().as_secs_f64(),
        };
        let mut text = match serde_json::to_string(&line) {
            Ok(text) => terminal::visible_json(&text).into_owned(),
            Err(error) => return tracing::warn!(%error, "an event has no JSON form"),
        };
        text.push('\n');
        let mut writer = lock(&self.writer);
        let written = writer.write_all(text.as_bytes()).and_then(|()| writer.flush());
        // A reader that has closed the pipe is no reason to stop a build.
        if let Err(error) = written
            && !self.lost.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(%error, "events are lost");
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

/// A progress that passes everything on to `people` and writes events to `machines`.
#[derive(Debug)]
pub struct Watched<'a> {
    machines: &'a Events,
    people: Box<dyn Progress>,
    running: Mutex<HashMap<TaskId, Running>>,
}

#[derive(Debug)]
struct Running {
    done: u64,
    told: Instant,
}

impl<'a> Watched<'a> {
    /// Combines the two progresses.
    pub fn new(machines: &'a Events, people: Box<dyn Progress>) -> Self {
        Self {
            machines,
            people,
            running: Mutex::default(),
        }
    }
}

impl Progress for Watched<'_> {
    fn start(&self, label: &str, unit: Unit, total: Option<u64>) -> TaskId {
        let task = self.people.start(label, unit, total);
        let running = Running {
            done: 0,
            told: Instant::now(),
        };
        let mut tasks = lock(&self.running);
        tasks.insert(task, running);
        drop(tasks);
        self.machines.send(Event::TaskStarted {
            task: task.0,
            label,
            unit: match unit {
                Unit::Bytes => "bytes",
                Unit::Items => "items",
            },
            total,
        });
        task
    }

    fn advance(&self, task: TaskId, amount: u64) {
        self.people.advance(task, amount);
        let mut tasks = lock(&self.running);
        let Some(running) = tasks.get_mut(&task) else { return };
        running.done = running.done.saturating_add(amount);
        if running.told.elapsed() < INTERVAL {
            return;
        }
        running.told = Instant::now();
        let done = running.done;
        drop(tasks);
        self.machines.send(Event::TaskProgress { task: task.0, done });
    }

    fn finish(&self, task: TaskId) {
        self.people.finish(task);
        let ended = lock(&self.running).remove(&task);
        if let Some(Running { done, .. }) = ended {
            self.machines.send(Event::TaskFinished { task: task.0, done });
        }
    }

    fn note(&self, line: &str) {
        self.people.note(line);
        self.machines.send(Event::Note { text: line });
    }
}
