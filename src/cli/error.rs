//! From a module's error to what a person reads: one message, its cause, and what to do next.

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

use anstream::eprintln;
use serde::Serialize;

use super::interrupt;

/// Why a command ended without success.
#[derive(Debug)]
pub struct CommandError {
    exit_code: u8,
    /// What stands before the message.
    label: &'static str,
    message: String,
    hints: Vec<String>,
}

impl CommandError {
    /// The work failed: exit code 1.
    pub fn failed(message: impl Display) -> Self {
        Self {
            exit_code: 1,
            label: "error",
            message: message.to_string(),
            hints: Vec::new(),
        }
    }

    /// The command was used wrongly: exit code 2.
    pub fn usage(message: impl Display) -> Self {
        Self {
            exit_code: 2,
            label: "error",
            message: message.to_string(),
            hints: Vec::new(),
        }
    }

    /// The user asked to stop: exit code 130.
    pub fn interrupted() -> Self {
        Self {
            exit_code: interrupt::EXIT_CODE,
            label: "error",
            message: "interrupted; everything was cleaned up".into(),
            hints: Vec::new(),
        }
    }

    /// The work was done, and this is what it says: no error, but not exit code 0.
    pub fn verdict(exit_code: u8, label: &'static str, message: impl Display) -> Self {
        Self {
            exit_code,
            label,
            message: message.to_string(),
            hints: Vec::new(),
        }
    }

    /// With a next step, if there is one.
    pub fn hint(mut self, hint: Option<impl Display>) -> Self {
        self.hints.extend(hint.map(|hint| hint.to_string()));
        self
    }

    /// Exit code, message and hints, for machines.
    pub fn parts(&self) -> (u8, &str, &[String]) {
        (self.exit_code, &self.message, &self.hints)
    }

    /// Prints it to standard error and gives the exit code.
    pub fn report(&self) -> ExitCode {
        eprintln!("\x1b[1;31m{}:\x1b[0m {}", self.label, self.message);
        for hint in &self.hints {
            eprintln!("\x1b[1;36mhint:\x1b[0m {hint}");
        }
        ExitCode::from(self.exit_code)
    }
}

/// Prints a line to standard output; a reader that went away is not an error.
///
/// # Errors
/// If standard output cannot be written for another reason.
pub fn print_line(line: &str) -> Result<(), CommandError> {
    match writeln!(anstream::stdout().lock(), "{line}") {
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
    print_line(&text)
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
