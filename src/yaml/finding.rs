//! What is wrong with a file, where, and what to do about it.

use std::fmt::{self, Write as _};
use std::path::PathBuf;

use serde::{Serialize, Serializer};

use super::tree::Span;
use crate::terminal;

/// Largest number of findings. A longer list helps no reader, and a hostile file could ask for millions.
const MAX_FINDINGS: usize = 200;
/// Longest line that is shown, in bytes. The excerpt of a longer line would cost more than it helps.
const MAX_LINE_BYTES: usize = 16 << 10;
/// Number of characters of a source line that are shown; a longer line is cut around the fault.
const SHOWN_CHARS: usize = 120;

/// Whether a finding stops the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, but something in it is probably not what was meant.
    Warning,
}

/// One thing that is wrong, with its place.
///
/// `Display` renders it as compilers do: place, message, source line, caret, hint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Error or warning.
    pub severity: Severity,
    /// The file, or another source of the value (`OIC_WORKERS`, `--workers`).
    #[serde(serialize_with = "lossy")]
    pub file: PathBuf,
    /// Line, counted from 1; 0 if there is no position in a file.
    pub line: usize,
    /// Column in characters, counted from 1; 0 if there is no position in a file.
    pub column: usize,
    /// The field, such as `disk.partitions[1].fsType`; empty for the file as a whole.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// The values that the field takes, if they are few.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<String>,
    /// What the user can do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    #[serde(skip)]
    excerpt: Option<Excerpt>,
}

// JSON has no bytes; the file name in it is for people.
fn lossy<S: Serializer>(path: &std::path::Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

/// The source line as shown, and the marked part of it in characters from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Excerpt {
    line: String,
    start: usize,
    width: usize,
}

impl Finding {
    /// Makes an error at a place in a file.
    pub fn error(at: &Span, field: impl Into<String>, message: impl Into<String>) -> Self {
        let (line, column) = at.position();
        Self {
            line,
            column,
            excerpt: excerpt(at, column),
            ..Self::without_position(&at.source().name, field, message)
        }
    }

    /// Makes a warning at a place in a file.
    pub fn warning(at: &Span, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(at, field, message)
        }
    }

    /// Makes an error about something without a position: a whole file, an environment variable, a flag.
    pub fn without_position(file: impl Into<PathBuf>, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            file: file.into(),
            line: 0,
            column: 0,
            field: field.into(),
            message: message.into(),
            allowed: Vec::new(),
            hint: None,
            excerpt: None,
        }
    }

    /// Makes it a warning.
    #[must_use]
    pub fn as_warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Adds what the user can do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the values that the field takes.
    #[must_use]
    pub fn allowed<'a>(mut self, values: impl IntoIterator<Item = &'a str>) -> Self {
        self.allowed = values.into_iter().map(str::to_owned).collect();
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        f.write_str(match self.severity {
            Severity::Error => " error: ",
            Severity::Warning => " warning: ",
        })?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)?;
        if let Some(excerpt) = &self.excerpt {
            let number = self.line.to_string();
            let gutter = " ".repeat(number.len());
            let (before, marks) = (" ".repeat(excerpt.start), "^".repeat(excerpt.width));
            write!(f, "\n  {number} | {}\n  {gutter} | {before}{marks}", excerpt.line)?;
        }
        if !self.allowed.is_empty() {
            write!(f, "\n  allowed: {}", self.allowed.join(", "))?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// Makes the line at `at` safe to print.
fn excerpt(at: &Span, column: usize) -> Option<Excerpt> {
    let line = at.line_text();
    if column == 0 || line.trim().is_empty() || line.len() > MAX_LINE_BYTES {
        return None;
    }
    let start = column.saturating_sub(1);
    let mut chars: Vec<char> = line.chars().map(printable).collect();
    // The value of anything like a password must not reach a log.
    if line.to_lowercase().contains("pas")
        && let Some(colon) = chars.iter().position(|c| *c == ':')
    {
        chars.truncate(colon + 1);
        chars.extend(" …".chars());
    }
    let skipped = if start + 40 > SHOWN_CHARS { start - 40 } else { 0 };
    let rest = chars.len().saturating_sub(start).max(1);
    let is_cut = chars.len() - skipped.min(chars.len()) > SHOWN_CHARS;
    let mut shown: Vec<char> = chars.into_iter().skip(skipped).take(SHOWN_CHARS).collect();
    if let Some(first) = shown.first_mut().filter(|_| skipped > 0) {
        *first = '…';
    }
    if let Some(last) = shown.last_mut().filter(|_| is_cut) {
        *last = '…';
    }
    Some(Excerpt {
        line: shown.into_iter().collect(),
        start: start - skipped,
        width: at.line_chars().clamp(1, rest.min(SHOWN_CHARS - 40)),
    })
}

/// Replaces a control character, which a terminal would obey, or a tab, which would shift the caret.
fn printable(c: char) -> char {
    match c {
        '\t' => ' ',
        c if terminal::is_hidden(c) => '\u{fffd}',
        c => c,
    }
}

/// All findings of one check, in the order of their places.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// Starts without findings.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a finding, unless the very same was found before. The last one that fits is
    /// followed by an error that says so, however mild they were: what comes after is unknown.
    pub fn push(&mut self, finding: Finding) {
        if self.is_full() || self.0.contains(&finding) {
            return;
        }
        let file = finding.file.clone();
        self.0.push(finding);
        if self.is_full() {
            let message = format!("there is more to find than {MAX_FINDINGS} things: the rest is not listed");
            self.0.push(Finding::without_position(file, "", message));
        }
    }

    /// Says whether further findings are dropped, so that the search for them is a waste of time.
    pub fn is_full(&self) -> bool {
        self.0.len() >= MAX_FINDINGS
    }

    /// Adds the findings of another check.
    pub fn extend(&mut self, other: Self) {
        for finding in other.0 {
            self.push(finding);
        }
    }

    /// Says whether the work must stop.
    pub fn has_errors(&self) -> bool {
        self.errors() > 0
    }

    /// Counts the errors.
    pub fn errors(&self) -> usize {
        self.0.iter().filter(|f| f.severity == Severity::Error).count()
    }

    /// Says whether the list has no findings.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives the findings in the order of their places.
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        let mut sorted: Vec<_> = self.0.iter().collect();
        sorted.sort_by_key(|f| (&f.file, f.line, f.column));
        sorted.into_iter()
    }

    /// Makes all of them errors.
    #[must_use]
    pub fn as_errors(mut self) -> Self {
        self.0.iter_mut().for_each(|finding| finding.severity = Severity::Error);
        self
    }

    /// Gives `Err` with all findings if one of them is an error, else the warnings.
    ///
    /// # Errors
    /// The findings themselves.
    pub fn into_result(self) -> Result<Self, Self> {
        if self.has_errors() { Err(self) } else { Ok(self) }
    }
}

impl From<Finding> for Findings {
    fn from(finding: Finding) -> Self {
        Self(vec![finding])
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for finding in self.iter() {
            if !std::mem::take(&mut first) {
                f.write_char('\n')?;
            }
            write!(f, "{finding}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Findings {}
