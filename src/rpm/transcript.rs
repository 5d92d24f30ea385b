//! Follows an rpm transaction by its lines: rpm names a package when it unpacks it, and the output of scriptlets stands
//! between.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::package::ResolvedPackage;
use crate::progress::{Progress, Task, Unit};
use crate::sandbox::{ScriptFailure, ScriptOutput};

/// Number of complaints that are kept.
const KEPT_COMPLAINTS: usize = 50;

/// A reader of a run's lines: it reports progress, and keeps what explains a failure.
#[derive(Debug)]
pub struct Transcript<'a> {
    task: Task<'a>,
    /// The packages that rpm has yet to begin with.
    awaited: HashSet<String>,
    installed: u64,
    output: ScriptOutput,
    failures: Vec<ScriptFailure>,
    complaints: Vec<String>,
}

impl<'a> Transcript<'a> {
    /// Starts a task on `progress` with a step for each of `packages`.
    pub fn new<'p>(
        progress: &'a dyn Progress,
        label: &str,
        packages: impl IntoIterator<Item = &'p ResolvedPackage>,
    ) -> Self {
        let awaited: HashSet<_> = packages.into_iter().map(label_of).collect();
        Self {
            task: Task::start(progress, label, Unit::Items, Some(awaited.len() as u64)),
            awaited,
            installed: 0,
            output: ScriptOutput::default(),
            failures: Vec::new(),
            complaints: Vec::new(),
        }
    }

    /// Takes the next line.
    pub fn line(&mut self, line: &str) {
        if self.awaited.remove(without_epoch(line).as_ref()) {
            self.output = ScriptOutput::default();
            self.installed += 1;
            self.task.advance(1);
        } else if let Some((package, message)) = scriptlet(line) {
            self.failures.push(ScriptFailure {
                package: package.to_owned(),
                message: message.to_owned(),
                output: self.output.take(),
            });
        } else if let Some(complaint) = complaint(line, self.complaints.is_empty()) {
            if self.complaints.len() < KEPT_COMPLAINTS {
                self.complaints.push(complaint.to_owned());
            }
        } else {
            self.output.push(line);
        }
    }

    /// Counts the packages that rpm has begun with.
    pub fn installed(&self) -> u64 {
        self.installed
    }

    /// Lists the scriptlets that failed. rpm continues after most of them: only one that runs before its package is
    /// unpacked ends the transaction.
    pub fn failures(&self) -> &[ScriptFailure] {
        &self.failures
    }

    /// Gives the errors of rpm itself.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }
}

/// Gives the package's name, version and architecture in one word.
fn label_of(package: &ResolvedPackage) -> String {
    let label = format!("{}-{}.{}", package.name, package.version, package.architecture);
    without_epoch(&label).into_owned()
}

/// Gives a package's label without its epoch, which only newer versions of rpm write.
fn without_epoch(label: &str) -> Cow<'_, str> {
    let Some((before, after)) = label.split_once(':') else {
        return label.into();
    };
    match before.rsplit_once('-') {
        Some((name, epoch)) if epoch.bytes().all(|byte| byte.is_ascii_digit()) => format!("{name}-{after}").into(),
        _ => label.into(),
    }
}

/// Splits a line such as `warning: %post(a-1-1.noarch) scriptlet failed, exit status 1` into package and message.
fn scriptlet(line: &str) -> Option<(&str, &str)> {
    let message = line.strip_prefix("warning: ").or(line.strip_prefix("error: "))?;
    let (kind, rest) = message.split_once('(')?;
    let (package, end) = rest.rsplit_once(") ")?;
    let is_scriptlet = kind.starts_with('%') && kind[1..].bytes().all(|byte| byte.is_ascii_lowercase());
    (is_scriptlet && end.contains("failed")).then_some((package, message))
}

/// Gives the text of an `error:` line, or of a line that is indented below one.
fn complaint(line: &str, is_first: bool) -> Option<&str> {
    match line.strip_prefix("error: ") {
        Some(complaint) => Some(complaint),
        None => line.strip_prefix('\t').filter(|_| !is_first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::Sha256;
    use crate::progress::Silent;

    fn package(name: &str, version: &str) -> ResolvedPackage {
        ResolvedPackage {
            name: name.into(),
            version: version.into(),
            architecture: "noarch".into(),
            repository: "r".into(),
            path: format!("{name}.rpm"),
            size_bytes: 1,
            installed_size_bytes: 1,
            checksum: Sha256::of(name).into(),
            stanza: String::new(),
        }
    }

    /// Lines of real runs of rpm 4.18 (without epochs) and 4.20 (with them).
    #[test]
    fn a_failure_gets_the_lines_of_its_package() {
        let packages = [
            package("good", "1:2-1"),
            package("other", "3:4-5"),
            package("bad", "1-1"),
        ];
        let mut transcript = Transcript::new(&Silent, "Install", &packages);
        let run = "Verifying packages...
Preparing packages...
good-2-1.noarch
fine
other-3:4-5.noarch
bad-1-1.noarch
no such thing
warning: %post(bad-1-1.noarch) scriptlet failed, exit status 3";
        run.lines().for_each(|line| transcript.line(line));
        assert_eq!(transcript.installed(), 3);
        let [failure] = transcript.failures() else { panic!() };
        assert_eq!(failure.package, "bad-1-1.noarch");
        assert_eq!(
            failure.to_string(),
            "package bad-1-1.noarch: %post(bad-1-1.noarch) scriptlet failed, exit status 3\n    no such thing"
        );
        assert!(transcript.complaints().is_empty());
    }

    #[test]
    fn complaints_are_those_of_rpm() {
        let mut transcript = Transcript::new(&Silent, "Install", &[]);
        let run = "\tset in\nerror: Failed dependencies:\n\tabsent is needed by lonely-1-1.noarch\nelse";
        run.lines().for_each(|line| transcript.line(line));
        assert_eq!(
            transcript.complaints(),
            ["Failed dependencies:", "absent is needed by lonely-1-1.noarch"]
        );
    }
}
