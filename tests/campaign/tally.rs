//! What a chapter counts, and the table at the end.

use std::fmt;
use std::time::Duration;

use crate::ground::Scale;

/// The kinds of what must not happen; each is a column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A build gave another image, or something outside of its place was changed.
    WrongBytes,
    /// A mount, loop device, temporary or process was left.
    Leftover,
    /// A command did not end in time.
    Hang,
    /// A command panicked.
    Panic,
    /// A command ended with a code, or without a message, that is not documented for this.
    WrongCode,
}

const FAULTS: [(Fault, &str); 5] = [
    (Fault::WrongBytes, "wrong bytes"),
    (Fault::Leftover, "leftovers"),
    (Fault::Hang, "hangs"),
    (Fault::Panic, "panics"),
    (Fault::WrongCode, "wrong codes"),
];

/// The counts of one chapter.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    attempts: u64,
    planned: u64,
    faults: Vec<Fault>,
}

impl Tally {
    /// Starts to count towards `planned` attempts.
    pub fn of(planned: u64) -> Self {
        Self {
            planned,
            ..Self::default()
        }
    }

    /// Returns whether there is time for another attempt; there always is for the first.
    pub fn goes_on(&self, scale: &Scale) -> bool {
        self.attempts == 0 || scale.has_time()
    }

    /// Counts attempts.
    pub fn attempts(&mut self, count: u64) {
        self.attempts += count;
    }

    /// Notes a fault, and prints what happened.
    pub fn fault(&mut self, fault: Fault, what: impl fmt::Display) {
        println!("  {fault:?}: {what}");
        self.faults.push(fault);
    }

    fn count(&self, fault: Fault) -> usize {
        self.faults.iter().filter(|found| **found == fault).count()
    }

    /// Returns what keeps the chapter from being good, in words.
    pub fn verdict(&self) -> Result<(), String> {
        match (self.faults.len(), self.attempts) {
            (0, 0) => Err("nothing was tried".to_owned()),
            (0, _) => Ok(()),
            (count, _) => Err(format!("{count} of the numbers that should be zero are not")),
        }
    }
}

/// One line of the table.
#[derive(Debug)]
pub struct Line {
    /// The name of the chapter.
    pub chapter: String,
    /// Its counts.
    pub tally: Tally,
    /// The time that it took.
    pub took: Duration,
}

/// Prints the table, in Markdown, for `docs/security.md`.
pub fn print(lines: &[Line]) {
    let columns: Vec<_> = FAULTS.iter().map(|(_, name)| *name).collect();
    println!("\n| chapter | attempts | planned | {} | seconds |", columns.join(" | "));
    println!("|---|---|---|{}---|", "---|".repeat(FAULTS.len()));
    for Line { chapter, tally, took } in lines {
        let counts: Vec<_> = FAULTS
            .iter()
            .map(|(fault, _)| tally.count(*fault).to_string())
            .collect();
        println!(
            "| {chapter} | {} | {} | {} | {} |",
            tally.attempts,
            tally.planned,
            counts.join(" | "),
            took.as_secs()
        );
    }
    println!();
}
