//! Damage on disk, in words.

use std::fmt;
use std::path::PathBuf;

/// Something that the disk has damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// What it is, in words.
    pub kind: &'static str,
    /// Where it lies.
    pub path: PathBuf,
    /// What is damaged in it, in words.
    pub details: String,
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, path, details } = self;
        write!(f, "{kind} {} was damaged on disk ({details})", path.display())
    }
}

/// Describes all of `found`, in words.
pub fn told(found: &[Damaged]) -> String {
    let lines: Vec<_> = found.iter().map(Damaged::to_string).collect();
    lines.join("; ")
}
