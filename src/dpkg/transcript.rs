//! Follows a dpkg run by its status lines (dpkg(1), `--status-fd`), which stand
//! between the lines that maintainer scripts write.

use std::collections::HashSet;

use crate::progress::{Progress, Task, Unit};
use crate::sandbox::{ScriptFailure, ScriptOutput};

/// A reader of a run's lines: it reports progress, and keeps what explains a failure.
#[derive(Debug)]
pub struct Transcript<'a> {
    task: Task<'a>,
    output: ScriptOutput,
    failures: Vec<ScriptFailure>,
    unpacked: HashSet<String>,
    configured: HashSet<String>,
}

impl<'a> Transcript<'a> {
    /// Starts a task of `2 × packages` steps (unpack and configure) on `progress`.
    pub fn new(progress: &'a dyn Progress, label: &str, packages: u64) -> Self {
        let task = Task::start(progress, label, Unit::Items, Some(packages.saturating_mul(2)));
        Self {
            task,
            output: ScriptOutput::default(),
            failures: Vec::new(),
            unpacked: HashSet::new(),
            configured: HashSet::new(),
        }
    }

    /// Takes the next line. It counts status lines, and keeps all others until dpkg goes on to the next package.
    pub fn line(&mut self, line: &str) {
        if let Some(status) = line.strip_prefix("status: ") {
            self.status(status);
        } else if line.starts_with("processing: ") {
            self.output = ScriptOutput::default();
        } else {
            self.output.push(line);
        }
    }

    /// Counts the packages that became configured.
    pub fn configured(&self) -> u64 {
        self.configured.len() as u64
    }

    /// Counts the packages that were unpacked.
    pub fn unpacked(&self) -> u64 {
        self.unpacked.len() as u64
    }

    /// Lists the packages that failed, the first (and mostly the cause of the others) first.
    pub fn failures(&self) -> &[ScriptFailure] {
        &self.failures
    }

    fn count(seen: &mut HashSet<String>, package: &str, task: &Task<'_>) {
        if seen.insert(package.to_owned()) {
            task.advance(1);
        }
    }

    fn status(&mut self, status: &str) {
        let Some((package, state)) = status.split_once(": ") else {
            return;
        };
        match state.trim() {
            // dpkg writes both lines again when it configures the package, or handles its triggers.
            "unpacked" => Self::count(&mut self.unpacked, package, &self.task),
            // Packages that were installed before have this line when their triggers ran.
            "installed" if !self.unpacked.contains(package) => {}
            "installed" => Self::count(&mut self.configured, package, &self.task),
            _ => {
                // `status: package : error : message`
                if let Some(message) = state.strip_prefix("error : ") {
                    self.failures.push(ScriptFailure {
                        package: package.trim().to_owned(),
                        message: message.trim().to_owned(),
                        output: self.output.take(),
                    });
                }
            }
        }
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
