//! Parses `Packages` indexes into records.
//!
//! Invariant: a record's name, version and architecture are safe as parts of a
//! file name, and its path stays below the repository when appended to a URL.

use std::ops::Range;
use std::sync::Arc;

use super::deb822::{Field, ParseError, Scanner, Token};
use crate::package::{Algorithm, Checksum, MultiArch, PackageRecord, Stanza};
use crate::parallel;

/// Longest file name that Linux file systems take, in bytes.
const NAME_MAX: usize = 255;

/// The smallest part that is worth a thread, in bytes.
const PART_BYTES: usize = 1 << 20;

/// The content of a `Packages` index. As apt does, oic uses an index in which some stanzas are odd.
#[derive(Debug, Default)]
pub struct Parsed {
    /// The packages that can be used, in the order of the text.
    pub records: Vec<PackageRecord>,
    /// Why stanzas are left out: each lacks what a package needs, or has a value that is malformed or unsafe.
    pub skipped: Vec<ParseError>,
    /// Oddities in stanzas that are used all the same.
    pub repaired: Vec<ParseError>,
}

impl Parsed {
    /// Appends the content of the following part of the text, which `lines` lines precede.
    fn append(&mut self, mut part: Self, lines: usize) {
        self.records.append(&mut part.records);
        for (all, more) in [(&mut self.skipped, part.skipped), (&mut self.repaired, part.repaired)] {
            all.extend(more.into_iter().map(|error| ParseError {
                line: error.line + lines,
                ..error
            }));
        }
    }
}

/// Parses the text of a `Packages` index; `repository` and `pin` go into each record.
///
/// A stanza is left out if it lacks `Package`, `Version`, `Architecture`, `Filename`, `Size` or `SHA256`, or one of
/// these is malformed or unsafe. Of a field that appears twice the last one counts, as in apt.
pub fn parse_packages(text: Arc<str>, repository: Arc<str>, pin: i32) -> Parsed {
    parse_part(&text, 0..text.len(), &repository, pin)
}

/// Does the same as [`parse_packages`], on up to `threads` threads. The result is the same.
pub fn parse_packages_on(threads: usize, text: Arc<str>, repository: Arc<str>, pin: i32) -> Parsed {
    let parts = parts(&text, threads.min(text.len() / PART_BYTES));
    let starts: Vec<usize> = parts.iter().map(|part| part.start).collect();
    let results = parallel::map(threads, parts, |range| parse_part(&text, range, &repository, pin));
    let mut parsed = Parsed::default();
    for (part, start) in results.into_iter().zip(starts) {
        let is_odd = !part.skipped.is_empty() || !part.repaired.is_empty();
        let before = text.get(..start).filter(|_| is_odd).unwrap_or_default();
        parsed.append(part, before.bytes().filter(|byte| *byte == b'\n').count());
    }
    parsed
}

/// Divides `text` into at most `count` parts of about the same size (one, if that is 0). No part ends inside a stanza:
/// every empty line ends a stanza.
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

/// Parses the stanzas of `part` of `text`; lines count from the start of the part.
fn parse_part(text: &Arc<str>, part: Range<usize>, repository: &Arc<str>, pin: i32) -> Parsed {
    // Parts end at line ends, so the range is valid.
    let here = text.get(part.clone()).unwrap_or_default();
    let mut parsed = Parsed {
        records: Vec::with_capacity(here.len() / 1024),
        ..Parsed::default()
    };
    let mut scanner = Scanner::new(here);
    let mut draft = Draft::default();
    loop {
        match scanner.token() {
            Ok(Some(Token::Field(field))) => draft.take(field),
            Ok(Some(Token::End { range })) => {
                let range = part.start + range.start..part.start + range.end;
                let stanza = Stanza::new(Arc::clone(text), range);
                std::mem::take(&mut draft).finish(stanza, (repository, pin), &mut parsed);
            }
            // apt ignores such a line, too.
            Err(error) => draft.note(error),
            Ok(None) => return parsed,
        }
    }
}

/// The relevant fields of one stanza, by slot.
#[derive(Default)]
struct Draft<'a> {
    slots: [Option<Field<'a>>; Slot::COUNT],
    first_line: usize,
    /// The first thing in it that is odd.
    odd: Option<ParseError>,
}

/// Declares the relevant fields, each with its name in lower case.
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
    Sha512 = "sha512",
}

impl<'a> Draft<'a> {
    fn take(&mut self, field: Field<'a>) {
        if self.first_line == 0 {
            self.first_line = field.line;
        }
        let place = Slot::of(field.name).and_then(|slot| self.slots.get_mut(slot as usize));
        if place.and_then(|place| place.replace(field)).is_some() {
            let reason = format!("field {} appears twice, and the last one counts", field.name);
            self.note(ParseError::at(field.line, reason));
        }
    }

    /// Remembers the first oddity of the stanza.
    fn note(&mut self, error: ParseError) {
        self.odd.get_or_insert(error);
    }

    fn get(&self, slot: Slot) -> Option<Field<'a>> {
        self.slots.get(slot as usize).copied().flatten()
    }

    fn error(&self, line: usize, reason: impl Into<String>) -> ParseError {
        self.named(ParseError::at(line, reason))
    }

    /// Adds the name of the stanza's package to `error`.
    fn named(&self, error: ParseError) -> ParseError {
        let name = self.get(Slot::Package);
        ParseError {
            package: name.map(|field| field.value.chars().take(80).collect()),
            ..error
        }
    }

    /// Returns the value of a field that every stanza has, if `valid` accepts it.
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

    /// Returns a value as is, unfolded; empty if absent.
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

    /// Returns a number that no decision depends on; 0, with a note, if it is malformed.
    fn rough_number(&mut self, slot: Slot) -> u64 {
        self.number(slot).unwrap_or_else(|error| {
            self.note(error);
            0
        })
    }

    /// Returns `Multi-Arch`; a value that is unknown counts as absent, as in apt.
    fn multi_arch(&mut self) -> MultiArch {
        let Some(field) = self.get(Slot::MultiArch) else {
            return MultiArch::No;
        };
        match field.value {
            "no" => MultiArch::No,
            "same" => MultiArch::Same,
            "foreign" => MultiArch::Foreign,
            "allowed" => MultiArch::Allowed,
            _ => {
                self.note(self.malformed(field));
                MultiArch::No
            }
        }
    }

    /// Adds the stanza's record to `parsed`, or the reason why it has none.
    fn finish(mut self, stanza: Stanza, source: (&Arc<str>, i32), parsed: &mut Parsed) {
        match self.record(stanza, source) {
            Ok(record) => {
                parsed.records.push(record);
                let odd = self.odd.take();
                parsed.repaired.extend(odd.map(|error| self.named(error)));
            }
            Err(error) => parsed.skipped.push(error),
        }
    }

    /// Returns the digest of the package file: the SHA-256, or the SHA-512 of a repository that lists no other. As apt,
    /// oic trusts no third algorithm.
    fn checksum(&self) -> Result<Checksum, ParseError> {
        let (slot, algorithm) = match (self.get(Slot::Sha256), self.get(Slot::Sha512)) {
            (None, Some(_)) => (Slot::Sha512, Algorithm::Sha512),
            _ => (Slot::Sha256, Algorithm::Sha256),
        };
        let digits = self.needed(slot, |_| true)?;
        let malformed = |_| self.error(self.first_line, format!("field {} is malformed", algorithm.name()));
        Checksum::parse(algorithm, digits).map_err(malformed)
    }

    fn record(&mut self, stanza: Stanza, (repository, pin): (&Arc<str>, i32)) -> Result<PackageRecord, ParseError> {
        let name = self.needed(Slot::Package, is_name)?;
        let version = self.needed(Slot::Version, is_version)?;
        let architecture = self.needed(Slot::Architecture, is_architecture)?;
        let escapes = version.bytes().filter(|&byte| byte == b':').count() * 2;
        if name.len() + version.len() + escapes + architecture.len() + "__.deb".len() > NAME_MAX {
            return Err(self.error(self.first_line, "name and version are too long for a file name"));
        }
        let checksum = self.checksum()?;
        let path = self.needed(Slot::Filename, is_path)?;
        self.needed(Slot::Size, |text| !text.is_empty())?;
        Ok(PackageRecord {
            name: name.into(),
            version: version.into(),
            architecture: architecture.into(),
            multi_arch: self.multi_arch(),
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
            path: path.strip_prefix("./").unwrap_or(path).replace(' ', "%20").into(),
            size_bytes: self.number(Slot::Size)?,
            installed_size_bytes: self.rough_number(Slot::InstalledSize).saturating_mul(1024),
            checksum,
            repository: Arc::clone(repository),
            priority_pin: pin,
            stanza,
        })
    }
}

/// Returns whether dpkg takes `text` as a name: letters, digits and `-+._`, beginning with a letter or digit (Debian
/// policy 5.6.1 is stricter; third-party archives are not).
fn is_name(text: &str) -> bool {
    starts_alphanumeric(text)
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-+._".contains(&byte))
}

/// Returns whether `text` is `[epoch:]upstream[-revision]` (Debian policy 5.6.12).
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

/// Returns whether `text` is lower-case letters, digits and `-` (Debian policy 5.6.8).
fn is_architecture(text: &str) -> bool {
    starts_alphanumeric(text)
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn starts_alphanumeric(text: &str) -> bool {
    text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
}

/// Returns whether `text` is relative, without `..` (also percent-encoded), and without bytes that would change the
/// URL's meaning. Blanks are fine: a URL has them percent-encoded.
fn is_path(text: &str) -> bool {
    let climbs =
        |part: &str| part == ".." || (part.contains('%') && part.to_ascii_lowercase().replace("%2e", ".") == "..");
    !text.is_empty()
        && !text.starts_with('/')
        && !text.ends_with('/')
        && text
            .bytes()
            .all(|byte| byte >= b' ' && byte != 0x7f && !b"\\?#".contains(&byte))
        && !text.split('/').any(climbs)
        && !text.to_ascii_lowercase().contains("%2f")
}

#[cfg(test)]
mod tests;
