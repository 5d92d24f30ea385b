//! Progress for people: bars with rate and ETA on a terminal, plain lines elsewhere.

use std::collections::HashMap;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};

use crate::progress::{Progress, TaskId, Unit};
use crate::sync::{Mutex, lock};
use crate::terminal;

/// Least time between two lines about a running task in a plain log.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// Makes the progress for standard error: bars if it is a terminal, else lines.
pub fn for_stderr() -> Box<dyn Progress> {
    if std::io::stderr().is_terminal() {
        Box::new(Bars::default())
    } else {
        Box::new(Lines::default())
    }
}

/// The bars on a terminal.
#[derive(Debug, Default)]
pub struct Bars {
    screen: MultiProgress,
    running: Mutex<Running<ProgressBar>>,
}

/// The lines of a plain log: one when a task starts, sometimes one while it runs, one when it ends.
#[derive(Debug, Default)]
pub struct Lines {
    running: Mutex<Running<LineTask>>,
}

#[derive(Debug)]
struct Running<T> {
    next: u64,
    tasks: HashMap<TaskId, T>,
}

impl<T> Default for Running<T> {
    fn default() -> Self {
        Self {
            next: 0,
            tasks: HashMap::new(),
        }
    }
}

impl<T> Running<T> {
    fn add(&mut self, task: T) -> TaskId {
        self.next += 1;
        self.tasks.insert(TaskId(self.next), task);
        TaskId(self.next)
    }
}

#[derive(Debug)]
struct LineTask {
    label: String,
    unit: Unit,
    total: Option<u64>,
    done: u64,
    started: Instant,
    told: Instant,
}

impl LineTask {
    /// Words the state of a task: `Download packages: 12.50 MiB of 80.00 MiB, 10.40 MiB/s`.
    fn describe(&self) -> String {
        let amount = |value| match self.unit {
            Unit::Bytes => HumanBytes(value).to_string(),
            Unit::Items => value.to_string(),
        };
        let mut line = format!("{}: {}", self.label, amount(self.done));
        if let Some(total) = self.total.filter(|total| *total != self.done) {
            line += &format!(" of {}", amount(total));
        }
        let seconds = self.started.elapsed().as_secs_f64();
        if self.unit == Unit::Bytes && seconds > 0.05 {
            // Precision does not matter for a rate that people read.
            let rate = self.done as f64 / seconds;
            line += &format!(", {}/s", HumanBytes(rate as u64));
        }
        line
    }
}

impl Progress for Bars {
    fn start(&self, label: &str, unit: Unit, total: Option<u64>) -> TaskId {
        let bar = self.screen.add(match total {
            Some(total) => ProgressBar::new(total),
            None => ProgressBar::new_spinner(),
        });
        let template = match (unit, total) {
            (Unit::Bytes, Some(_)) => "{msg:28} [{bar:24}] {bytes:>10}/{total_bytes} {bytes_per_sec:>12} eta {eta}",
            (Unit::Items, Some(_)) => "{msg:28} [{bar:24}] {pos:>10}/{len} eta {eta}",
            (Unit::Bytes, None) => "{msg:28} {spinner} {bytes} {bytes_per_sec} {elapsed}",
            (Unit::Items, None) => "{msg:28} {spinner} {pos} {elapsed}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(terminal::visible(label).into_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        lock(&self.running).add(bar)
    }

    fn advance(&self, task: TaskId, amount: u64) {
        if let Some(bar) = lock(&self.running).tasks.get(&task) {
            bar.inc(amount);
        }
    }

    fn finish(&self, task: TaskId) {
        if let Some(bar) = lock(&self.running).tasks.remove(&task) {
            bar.finish_and_clear();
        }
    }

    fn note(&self, line: &str) {
        // A terminal that was closed is no reason to stop a build.
        let _ = self.screen.println(terminal::visible(line));
    }
}

impl Progress for Lines {
    fn start(&self, label: &str, unit: Unit, total: Option<u64>) -> TaskId {
        let now = Instant::now();
        let task = LineTask {
            label: label.to_owned(),
            unit,
            total,
            done: 0,
            started: now,
            told: now,
        };
        lock(&self.running).add(task)
    }

    fn advance(&self, task: TaskId, amount: u64) {
        let line = {
            let mut running = lock(&self.running);
            let Some(task) = running.tasks.get_mut(&task) else {
                return;
            };
            task.done = task.done.saturating_add(amount);
            if task.told.elapsed() < PLAIN_INTERVAL {
                return;
            }
            task.told = Instant::now();
            task.describe()
        };
        self.note(&line);
    }

    fn finish(&self, task: TaskId) {
        let ended = lock(&self.running).tasks.remove(&task);
        if let Some(task) = ended {
            let seconds = task.started.elapsed().as_secs_f64();
            self.note(&format!("{} ({seconds:.1} s)", task.describe()));
        }
    }

    fn note(&self, line: &str) {
        let _ = writeln!(std::io::stderr().lock(), "{}", terminal::visible(line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_amount_total_and_rate() {
        let started = Instant::now() - Duration::from_secs(2);
        let task = LineTask {
            label: "Downloading packages".into(),
            unit: Unit::Bytes,
            total: Some(8 << 20),
            done: 4 << 20,
            started,
            told: started,
        };
        let line = task.describe();
        assert!(
            line.starts_with("Downloading packages: 4.00 MiB of 8.00 MiB, "),
            "{line}"
        );
        assert!(line.ends_with("MiB/s"), "{line}");
    }
}
