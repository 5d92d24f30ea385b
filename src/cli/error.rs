//! Why a command ended: a person reads one message, its cause, and the next step.

mod conversions;
mod hints;

use std::error::Error;
use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anstream::stderr;
use serde::Serialize;

use super::{escapes, limits};
use crate::durable::FullDisk;
use crate::hint::Hint;
use crate::terminal;
use crate::yaml::{Findings, did_you_mean};

/// Exit code after an interruption, as shells report SIGINT.
pub(super) const INTERRUPTED: u8 = 130;

/// The next step where root may do what the user may not.
pub(super) const AS_ROOT: &str = "run the same command with sudo";

/// Why a command ended without success.
#[derive(Debug)]
pub struct CommandError {
    kind: Kind,
    source: Box<dyn Error + Send + Sync>,
    hints: Vec<String>,
}

/// The kind of end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The work failed.
    Failed,
    /// The command was used wrongly.
    Usage,
    /// The user asked to stop.
    Interrupted,
    /// The work was done, and its result is a bad one.
    Verdict { exit_code: u8, label: &'static str },
}

impl Kind {
    /// Gives the exit code of the process.
    fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Interrupted => INTERRUPTED,
            Self::Verdict { exit_code, .. } => exit_code,
        }
    }

    /// Gives the word that stands before the message.
    fn label(self) -> &'static str {
        match self {
            Self::Verdict { label, .. } => label,
            _ => "error",
        }
    }
}

impl CommandError {
    /// Makes an error without hints.
    fn new(kind: Kind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let source = source.into();
        Self {
            kind,
            hints: limits::hint(&*source).map(str::to_owned).into_iter().collect(),
            source,
        }
    }

    /// Makes the error of work that failed: exit code 1.
    pub fn failed(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Kind::Failed, source)
    }

    /// Makes the error of a command that was used wrongly: exit code 2.
    pub fn usage(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Kind::Usage, source)
    }

    /// Makes the error of work that the user stopped: exit code 130.
    pub fn interrupted() -> Self {
        if limits::is_processor_time_over() {
            let message = "the limit of processor time is reached; everything was cleaned up";
            return Self::failed(message).hint(Some("raise it: ulimit -t"));
        }
        Self::new(Kind::Interrupted, "interrupted; everything was cleaned up")
    }

    /// Makes the end of work that was done and whose result is a bad one.
    pub fn verdict(exit_code: u8, label: &'static str, message: String) -> Self {
        Self::new(Kind::Verdict { exit_code, label }, message)
    }

    /// Makes one error of all findings in a file.
    pub fn findings(what: &str, findings: &Findings) -> Self {
        let count = findings.errors();
        let things = if count == 1 { "finding" } else { "findings" };
        let findings = findings.to_string();
        Self::failed(format!("{what}: {count} {things}\n\n{}", findings.trim_end()))
    }

    /// Adds a next step of the command line, where one exists.
    pub fn hint(mut self, hint: Option<impl Into<String>>) -> Self {
        self.hints.extend(hint.map(Into::into));
        self
    }

    /// Adds the one of `known` that `word` is most like, where one is like it.
    pub fn near<'a>(self, word: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let near = did_you_mean(word, known);
        self.hint(near.map(|near| format!("did you mean {near}?")))
    }

    /// Adds a next step from the library, in the words of the command line.
    pub fn advise(self, hint: Option<Hint>) -> Self {
        self.hint(hint.map(|hint| hints::words(&hint)))
    }

    /// Returns the full disk that is the cause, if it is one.
    pub fn full_disk(&self) -> Option<&FullDisk> {
        FullDisk::behind(&*self.source)
    }

    /// Replaces all next steps by one from the library.
    pub fn instead(mut self, hint: Hint) -> Self {
        self.hints.clear();
        self.advise(Some(hint))
    }

    /// Says whether the work failed, in contrast to a wrong use or a verdict.
    pub fn is_failure(&self) -> bool {
        self.kind == Kind::Failed
    }

    /// Gives exit code, message and hints, for machines.
    pub fn parts(&self) -> (u8, String, &[String]) {
        (self.kind.exit_code(), self.source.to_string(), &self.hints)
    }

    /// Prints it to standard error and gives the exit code. Its causes, which its message sums up,
    /// go to the log.
    pub fn report(&self) -> ExitCode {
        let message = self.source.to_string();
        let message = terminal::visible(&message);
        let _ = writeln!(stderr().lock(), "\x1b[1;31m{}:\x1b[0m {message}", self.kind.label());
        for hint in &self.hints {
            let _ = writeln!(stderr().lock(), "\x1b[1;36mhint:\x1b[0m {}", terminal::visible(hint));
        }
        let mut cause = self.source.source();
        while let Some(error) = cause {
            tracing::debug!("caused by: {error}");
            cause = error.source();
        }
        ExitCode::from(self.kind.exit_code())
    }
}

/// Prints a line, a note or a warning, to standard error, its hidden characters escaped. A terminal that was closed is no
/// reason to panic, as `eprintln` would.
pub fn tell(line: &dyn Display) {
    let _ = writeln!(stderr().lock(), "{}", terminal::visible(&line.to_string()));
}

/// Prints a line to standard output, its hidden characters escaped; a reader that went away is not an error.
///
/// # Errors
/// If standard output cannot be written for another reason.
pub fn print_line(line: &str) -> Result<(), CommandError> {
    print_exactly(&terminal::visible(line))
}

/// Prints `label` and a path, which a terminal shows as a link to its file.
///
/// # Errors
/// As [`print_line`].
pub fn print_path(label: &str, path: &Path) -> Result<(), CommandError> {
    print_exactly(&format!("{label:<10} {}", escapes::path(path)))
}

/// Prints a text that a program reads: unchanged, unless a person reads it on a terminal.
///
/// # Errors
/// As [`print_line`].
pub fn print_data(text: &str) -> Result<(), CommandError> {
    match std::io::stdout().is_terminal() {
        true => print_line(text),
        false => print_exactly(text),
    }
}

fn print_exactly(line: &str) -> Result<(), CommandError> {
    match writeln!(std::io::stdout().lock(), "{line}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(CommandError::failed(format!(
            "cannot write to standard output: {error}"
        ))),
        _ => Ok(()),
    }
}

/// Prints `value` as JSON.
///
/// # Errors
/// As [`print_line`], or if it has no JSON form.
pub fn print_json(value: &impl Serialize) -> Result<(), CommandError> {
    let text = serde_json::to_string_pretty(value).map_err(CommandError::failed)?;
    print_exactly(&terminal::visible_json(&text))
}

/// Version of the JSON that [`print_versioned`] prints; changes when a field changes its meaning or goes.
const SCHEMA_VERSION: u32 = 1;

/// Prints a structure as JSON, with the field `schema_version` in front.
///
/// # Errors
/// As [`print_json`].
pub fn print_versioned(content: &impl Serialize) -> Result<(), CommandError> {
    #[derive(Serialize)]
    struct Versioned<'a, T> {
        schema_version: u32,
        #[serde(flatten)]
        content: &'a T,
    }
    print_json(&Versioned {
        schema_version: SCHEMA_VERSION,
        content,
    })
}
