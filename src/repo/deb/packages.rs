//! `Packages` indexes to records.
//!
//! Invariant: a record's name, version and architecture are safe as parts of a
//! file name, and its path stays below the repository when appended to a URL.

use std::ops::Range;
use std::sync::Arc;

use super::deb822::{Field, ParseError, Scanner, Token};
use crate::package::{MultiArch, PackageRecord, Sha256, Stanza};

/// Longest file name that Linux file systems take, in bytes.
const NAME_MAX: usize = 255;

/// Less than this is not worth a thread.
const PART_BYTES: usize = 1 << 20;

/// Parses the text of a `Packages` index; `repository` and `pin` go into each record.
///
/// # Errors
/// [`ParseError`] with line and package if a stanza lacks `Package`, `Version`,
/// `Architecture`, `Filename`, `Size` or `SHA256`, has one of the fields that
/// matter twice, or has a value that is malformed or unsafe.
pub fn parse_packages(text: Arc<str>, repository: Arc<str>, pin: i32) -> Result<Vec<PackageRecord>, ParseError> {
    parse_part(&text, 0..text.len(), &repository, pin)
}

/// As [`parse_packages`], on up to `threads` threads. The result is the same.
///
/// # Errors
/// As there: the first in the order of the text.
pub fn parse_packages_on(
    threads: usize,
    text: Arc<str>,
    repository: Arc<str>,
    pin: i32,
) -> Result<Vec<PackageRecord>, ParseError> {
    let parts = parts(&text, threads.min(text.len() / PART_BYTES));
    let parse = |range| parse_part(&text, range, &repository, pin);
    let parse = &parse;
    let parsed: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = parts
            .into_iter()
            .map(|range| scope.spawn(move || parse(range)))
            .collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined
            .map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let mut records = Vec::new();
    for part in parsed {
        records.append(&mut part?);
    }
    Ok(records)
}

/// `text` in at most `count` parts of about the same size (one, if that is 0), none of which ends inside a stanza: an
/// empty line ends one, whatever stands before it.
fn parts(text: &str, count: usize) -> Vec<Range<usize>> {
    let (mut parts, mut start) = (Vec::new(), 0);
    for number in 1..count {
        let from = start.max(text.len() / count * number);
        let empty_line = text
            .as_bytes()
            .get(from..)
            .and_then(|rest| rest.windows(2).position(|two| two == b"\n\n"));
        let Some(length) = empty_line else { break };
        let end = from + length + 2;
        parts.push(start..end);
        start = end;
    }
    parts.push(start..text.len());
    parts
}

/// Parses the stanzas of `part` of `text`.
fn parse_part(
    text: &Arc<str>,
    part: Range<usize>,
    repository: &Arc<str>,
    pin: i32,
) -> Result<Vec<PackageRecord>, ParseError> {
    let (before, here) = (text.get(..part.start), text.get(part.clone()));
    // Parts end at line ends, so there are no others.
    let (before, here) = (before.unwrap_or_default(), here.unwrap_or_default());
    let mut records = Vec::with_capacity(here.len() / 1024);
    let mut scanner = Scanner::new(here);
    let mut draft = Draft::default();
    let mut parse = || {
        while let Some(token) = scanner.token()? {
            match token {
                Token::Field(field) => draft.take(field)?,
                Token::End { range } => {
                    let range = part.start + range.start..part.start + range.end;
                    let stanza = Stanza::new(Arc::clone(text), range);
                    records.push(std::mem::take(&mut draft).finish(stanza, repository, pin)?);
                }
            }
        }
        Ok::<_, ParseError>(())
    };
    match parse() {
        Ok(()) => Ok(records),
        Err(error) => Err(ParseError {
            line: error.line + before.bytes().filter(|byte| *byte == b'\n').count(),
            ..error
        }),
    }
}

/// The fields of one stanza that matter, by slot.
#[derive(Default)]
struct Draft<'a> {
    slots: [Option<Field<'a>>; Slot::COUNT],
    first_line: usize,
}

/// Declares the fields that matter, each with its name in lower case.
macro_rules! slots {
    ($($slot:ident = $name:literal),* $(,)?) => {
        #[derive(Clone, Copy)]
        enum Slot { $($slot),* }

        impl Slot {
            const NAMES: &'static [&'static str] = &[$($name),*];
            const COUNT: usize = Self::NAMES.len();

            fn of(name: &str) -> Option<Self> {
                $(if name.len() == $name.len() && name.eq_ignore_ascii_case($name) {
                    return Some(Self::$slot);
                })*
                None
            }
        }
    };
}

slots! {
    Package = "package", Version = "version", Architecture = "architecture", MultiArch = "multi-arch",
    Essential = "essential", Priority = "priority", Depends = "depends", PreDepends = "pre-depends",
    Recommends = "recommends", Provides = "provides", Conflicts = "conflicts", Breaks = "breaks",
    Replaces = "replaces", Filename = "filename", Size = "size", InstalledSize = "installed-size", Sha256 = "sha256",
}

impl<'a> Draft<'a> {
    fn take(&mut self, field: Field<'a>) -> Result<(), ParseError> {
        if self.first_line == 0 {
            self.first_line = field.line;
        }
        let Some(slot) = Slot::of(field.name) else {
            return Ok(());
        };
        let place = self.slots.get_mut(slot as usize);
        if place.and_then(|place| place.replace(field)).is_some() {
            return Err(self.error(field.line, format!("field {} appears twice", field.name)));
        }
        Ok(())
    }

    fn get(&self, slot: Slot) -> Option<Field<'a>> {
        self.slots.get(slot as usize).copied().flatten()
    }

    fn error(&self, line: usize, reason: impl Into<String>) -> ParseError {
        let package = self
            .get(Slot::Package)
            .map(|field| field.value.chars().take(80).collect());
        ParseError {
            line,
            package,
            reason: reason.into(),
        }
    }

    /// The value of a field that every stanza has, if `valid` accepts it.
    fn needed(&self, slot: Slot, valid: fn(&str) -> bool) -> Result<&'a str, ParseError> {
        let name = Slot::NAMES.get(slot as usize).copied().unwrap_or_default();
        match self.get(slot) {
            None => Err(self.error(self.first_line, format!("field {name} is missing"))),
            Some(field) if valid(field.value) => Ok(field.value),
            Some(field) => Err(self.malformed(field)),
        }
    }

    fn malformed(&self, field: Field<'a>) -> ParseError {
        let value: String = field.value.chars().take(80).collect();
        self.error(field.line, format!("{} {value:?} is malformed", field.name))
    }

    /// A value as is, unfolded; empty if absent.
    fn text(&self, slot: Slot) -> Box<str> {
        match self.get(slot) {
            None => Box::default(),
            Some(field) if field.value.contains('\n') => {
                field.value.lines().map(str::trim).collect::<Vec<_>>().join(" ").into()
            }
            Some(field) => field.value.into(),
        }
    }

    fn number(&self, slot: Slot) -> Result<u64, ParseError> {
        match self.get(slot) {
            None => Ok(0),
            Some(field) => field.value.parse().map_err(|_| self.malformed(field)),
        }
    }

    fn multi_arch(&self) -> Result<MultiArch, ParseError> {
        Ok(match self.get(Slot::MultiArch) {
            None => MultiArch::No,
            Some(field) => match field.value {
                "no" => MultiArch::No,
                "same" => MultiArch::Same,
                "foreign" => MultiArch::Foreign,
                "allowed" => MultiArch::Allowed,
                _ => return Err(self.malformed(field)),
            },
        })
    }

    fn finish(self, stanza: Stanza, repository: &Arc<str>, pin: i32) -> Result<PackageRecord, ParseError> {
        let name = self.needed(Slot::Package, is_name)?;
        let version = self.needed(Slot::Version, is_version)?;
        let architecture = self.needed(Slot::Architecture, is_architecture)?;
        let escapes = version.bytes().filter(|&byte| byte == b':').count() * 2;
        if name.len() + version.len() + escapes + architecture.len() + "__.deb".len() > NAME_MAX {
            return Err(self.error(self.first_line, "name and version are too long for a file name"));
        }
        let digest = self.needed(Slot::Sha256, |_| true)?;
        let sha256: Sha256 = digest
            .parse()
            .map_err(|_| self.error(self.first_line, "field sha256 is malformed"))?;
        let path = self.needed(Slot::Filename, is_path)?;
        self.needed(Slot::Size, |text| !text.is_empty())?;
        Ok(PackageRecord {
            name: name.into(),
            version: version.into(),
            architecture: architecture.into(),
            multi_arch: self.multi_arch()?,
            essential: self
                .get(Slot::Essential)
                .is_some_and(|field| field.value.eq_ignore_ascii_case("yes")),
            priority: self.text(Slot::Priority),
            depends: self.text(Slot::Depends),
            pre_depends: self.text(Slot::PreDepends),
            recommends: self.text(Slot::Recommends),
            provides: self.text(Slot::Provides),
            conflicts: self.text(Slot::Conflicts),
            breaks: self.text(Slot::Breaks),
            replaces: self.text(Slot::Replaces),
            path: path.strip_prefix("./").unwrap_or(path).into(),
            size_bytes: self.number(Slot::Size)?,
            installed_size_bytes: self.number(Slot::InstalledSize)?.saturating_mul(1024),
            sha256,
            repository: Arc::clone(repository),
            priority_pin: pin,
            stanza,
        })
    }
}

/// As dpkg takes names: letters, digits and `-+._`, beginning with a letter or digit
/// (Debian policy 5.6.1 is stricter; archives of others are not).
fn is_name(text: &str) -> bool {
    starts_alphanumeric(text)
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-+._".contains(&byte))
}

/// `[epoch:]upstream[-revision]` (Debian policy 5.6.12).
fn is_version(text: &str) -> bool {
    let upstream = match text.split_once(':') {
        Some((epoch, rest)) if !epoch.is_empty() && epoch.bytes().all(|byte| byte.is_ascii_digit()) => rest,
        Some(_) => return false,
        None => text,
    };
    starts_alphanumeric(upstream)
        && upstream
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".+-~:".contains(&byte))
}

/// Lower-case letters, digits and `-` (Debian policy 5.6.8).
fn is_architecture(text: &str) -> bool {
    starts_alphanumeric(text)
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn starts_alphanumeric(text: &str) -> bool {
    text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
}

/// Relative, without `..` (also percent-encoded), and without bytes that would change the URL's meaning.
fn is_path(text: &str) -> bool {
    let climbs =
        |part: &str| part == ".." || (part.contains('%') && part.to_ascii_lowercase().replace("%2e", ".") == "..");
    !text.is_empty()
        && !text.starts_with('/')
        && !text.ends_with('/')
        && text
            .bytes()
            .all(|byte| byte > b' ' && byte != 0x7f && !b"\\?#".contains(&byte))
        && !text.split('/').any(climbs)
        && !text.to_ascii_lowercase().contains("%2f")
}

#[cfg(test)]
mod tests;
