//! Follows a dpkg run by its status lines (dpkg(1), `--status-fd`), which stand
//! between the lines that maintainer scripts write.

use std::collections::HashSet;

use crate::progress::{Progress, TaskId, Unit};
use crate::sandbox::ScriptFailure;

/// How much of one package's output is kept for an error.
const KEPT_LINES: usize = 200;

/// Takes a run's lines one by one, tells progress, and keeps what explains a failure.
#[derive(Debug)]
pub struct Transcript<'a> {
    progress: &'a dyn Progress,
    task: TaskId,
    output: Vec<String>,
    failures: Vec<ScriptFailure>,
    unpacked: HashSet<String>,
    configured: HashSet<String>,
}

impl<'a> Transcript<'a> {
    /// Starts a task of `2 × packages` steps (unpack and configure) on `progress`.
    pub fn new(progress: &'a dyn Progress, label: &str, packages: u64) -> Self {
        let task = progress.start(label, Unit::Items, Some(packages.saturating_mul(2)));
        Self {
            progress,
            task,
            output: Vec::new(),
            failures: Vec::new(),
            unpacked: HashSet::new(),
            configured: HashSet::new(),
        }
    }

    /// Takes the next line. Status lines are counted, all others
    /// kept until dpkg goes on to the next package.
    pub fn line(&mut self, line: &str) {
        if let Some(status) = line.strip_prefix("status: ") {
            self.status(status);
        } else if line.starts_with("processing: ") {
            self.output.clear();
        } else {
            if self.output.len() < KEPT_LINES {
                self.output.push(line.to_owned());
            }
        }
    }

    /// How many packages became configured.
    pub fn configured(&self) -> u64 {
        self.configured.len() as u64
    }

    /// How many packages were unpacked.
    pub fn unpacked(&self) -> u64 {
        self.unpacked.len() as u64
    }

    /// The packages that failed, the first (and mostly the cause of the others) first.
    pub fn failures(&self) -> &[ScriptFailure] {
        &self.failures
    }

    fn count(seen: &mut HashSet<String>, package: &str, progress: &dyn Progress, task: TaskId) {
        if seen.insert(package.to_owned()) {
            progress.advance(task, 1);
        }
    }

    fn status(&mut self, status: &str) {
        let Some((package, state)) = status.split_once(": ") else {
            return;
        };
        match state.trim() {
            // dpkg says both again when it configures the package, or handles its triggers.
            "unpacked" => Self::count(&mut self.unpacked, package, self.progress, self.task),
            // What was there before says it when its triggers ran.
            "installed" if !self.unpacked.contains(package) => {}
            "installed" => Self::count(&mut self.configured, package, self.progress, self.task),
            _ => {
                // `status: package : error : message`
                if let Some(message) = state.strip_prefix("error : ") {
                    self.failures.push(ScriptFailure {
                        package: package.trim().to_owned(),
                        message: message.trim().to_owned(),
                        output: std::mem::take(&mut self.output),
                    });
                }
            }
        }
    }
}

impl Drop for Transcript<'_> {
    fn drop(&mut self) {
        self.progress.finish(self.task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    /// Lines of a real run of dpkg 1.22 whose second package's postinst fails.
    #[test]
    fn a_failure_gets_the_lines_of_its_package() {
        let mut transcript = Transcript::new(&Silent, "Install", 2);
        let run = "processing: install: good
status: good: half-installed
status: good: unpacked
Unpacking good (1) ...
processing: install: bad
status: bad: unpacked
processing: configure: good
Setting up good (1) ...
fine
status: good: unpacked
status: good: half-configured
status: good: installed
processing: configure: bad
Setting up bad (1) ...
no such thing
dpkg: error processing package bad (--configure):
status: bad : error : installed bad package post-installation script subprocess returned error exit status 3";
        run.lines().for_each(|line| transcript.line(line));
        assert_eq!((transcript.unpacked(), transcript.configured()), (2, 1));
        let [failure] = transcript.failures() else { panic!() };
        assert_eq!(failure.package, "bad");
        assert!(failure.message.ends_with("exit status 3"));
        assert_eq!(failure.output.get(1).map(String::as_str), Some("no such thing"));
        assert!(failure.to_string().contains("\n    no such thing\n"));
    }
}
