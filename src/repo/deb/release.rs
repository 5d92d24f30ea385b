//! `Release` files, which a signature covers, and which cover every index by its digest. Format: Debian wiki
//! "DebianRepository/Format", and apt-secure(8).

use std::collections::HashMap;

use super::deb822::{ParseError, Scanner, Token};
use crate::date;
use crate::package::{Algorithm, Checksum};

/// The parts of a Release file that loading a repository needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Release {
    /// `Origin`; empty if absent.
    pub origin: String,
    /// `Suite` (`stable`); empty if absent.
    pub suite: String,
    /// `Codename` (`trixie`); empty if absent.
    pub codename: String,
    /// `Date`, seconds since 1970.
    pub date: i64,
    /// `Valid-Until`, seconds since 1970.
    pub valid_until: Option<i64>,
    /// `Acquire-By-Hash: yes`: indexes can be downloaded by their digest.
    pub by_hash: bool,
    /// Every index also has the packages for `all`: there is no architecture `all`, or it has
    /// `No-Support-for-Architecture-all: Packages` (files in `binary-all` are then stale).
    pub all_is_in_each: bool,
    /// `Architectures`.
    pub architectures: Vec<String>,
    /// `Components`.
    pub components: Vec<String>,
    /// The `SHA256` list, or without one the `SHA512` list, by path below the Release file's directory.
    files: HashMap<String, Listed>,
}

/// An entry of the list of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Digest of the file.
    pub checksum: Checksum,
    /// Its size in bytes.
    pub size_bytes: u64,
}

impl Release {
    /// Parses the (verified) text of a Release file.
    ///
    /// # Errors
    /// [`ParseError`] if it is not one stanza, a field appears twice or is
    /// malformed, or `Date` or a list of files is absent.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut release = Self::default();
        let mut seen = Vec::new();
        let (mut scanner, mut ended, mut date) = (Scanner::new(text), false, None);
        let mut stronger = HashMap::new();
        while let Some(token) = scanner.token()? {
            let Token::Field(field) = token else {
                ended = true;
                continue;
            };
            if ended {
                return Err(ParseError::at(field.line, "a Release file has only one stanza"));
            }
            let name = field.name.to_ascii_lowercase();
            let words = || field.value.split_ascii_whitespace().map(str::to_owned).collect();
            let when = || {
                let reason = format!("{} {:?} is not a date in UTC", field.name, field.value);
                date::parse(field.value).ok_or_else(|| ParseError::at(field.line, reason))
            };
            match name.as_str() {
                "origin" => release.origin = field.value.to_owned(),
                "suite" => release.suite = field.value.to_owned(),
                "codename" => release.codename = field.value.to_owned(),
                "date" => date = Some(when()?),
                "valid-until" => release.valid_until = Some(when()?),
                "acquire-by-hash" => release.by_hash = field.value.eq_ignore_ascii_case("yes"),
                "no-support-for-architecture-all" => {
                    release.all_is_in_each = field.value.split_ascii_whitespace().any(|word| word == "Packages");
                }
                "architectures" => release.architectures = words(),
                "components" => release.components = words(),
                "sha256" => release.files = parse_files(field.line, field.value, Algorithm::Sha256)?,
                "sha512" => stronger = parse_files(field.line, field.value, Algorithm::Sha512)?,
                _ => continue,
            }
            if seen.contains(&name) {
                return Err(ParseError::at(
                    field.line,
                    format!("field {} appears twice", field.name),
                ));
            }
            seen.push(name);
        }
        release.date = date.ok_or_else(|| ParseError::at(scanner.line(), "field Date is missing"))?;
        if !seen.iter().any(|name| name == "sha256") {
            if !seen.iter().any(|name| name == "sha512") {
                return Err(ParseError::at(
                    scanner.line(),
                    "field SHA256 is missing, and SHA512 too",
                ));
            }
            release.files = stronger;
        }
        let names_all = release.architectures.is_empty() || release.architectures.iter().any(|name| name == "all");
        release.all_is_in_each |= !names_all;
        Ok(release)
    }

    /// Returns the entry of the file `path` below its directory.
    pub fn file(&self, path: &str) -> Option<&Listed> {
        self.files.get(path)
    }

    /// Returns all digests that it lists.
    pub fn digests(&self) -> impl Iterator<Item = &Checksum> {
        self.files.values().map(|listed| &listed.checksum)
    }

    /// Returns whether it is the Release file of `suite`, by suite name or codename.
    pub fn is_for(&self, suite: &str) -> bool {
        !suite.is_empty() && (self.suite == suite || self.codename == suite)
    }
}

/// Parses lines of digest, size and path; the digests are of `algorithm`.
fn parse_files(first_line: usize, value: &str, algorithm: Algorithm) -> Result<HashMap<String, Listed>, ParseError> {
    let mut files = HashMap::new();
    // Trimming took the line end of a value that begins on a continuation line.
    for (number, line) in (first_line + 1..).zip(value.lines()) {
        let bad = |reason: &str| ParseError::at(number, format!("{algorithm} entry {line:?}: {reason}"));
        let mut words = line.split_ascii_whitespace();
        let (Some(digest), Some(size), Some(path), None) = (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(bad("expected digest, size and path"));
        };
        let checksum = digest.parse().ok();
        let checksum = checksum.filter(|checksum: &Checksum| checksum.algorithm() == algorithm);
        let checksum = checksum.ok_or_else(|| bad("malformed digest"))?;
        let size_bytes = size.parse().map_err(|_| bad("malformed size"))?;
        let listed = Listed { checksum, size_bytes };
        if files.get(path).is_some_and(|other| *other != listed) {
            return Err(bad("listed before with another digest"));
        }
        files.insert(path.to_owned(), listed);
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn text() -> String {
        format!(
            "Origin: Debian\nsuite: stable\nCodename: trixie\nDate: Sat, 11 May 2024 09:23:32 UTC\n\
             Valid-Until: Sat, 18 May 2024 09:23:32 UTC\nAcquire-By-Hash: yes\n\
             No-Support-for-Architecture-all: Packages\nArchitectures: all amd64\nComponents: main contrib\n\
             SHA256:\n {DIGEST}     0 main/binary-amd64/Packages\n {DIGEST} 12 main/binary-amd64/Packages.xz\n"
        )
    }

    #[test]
    fn reads_the_fields() {
        let release = Release::parse(&text()).unwrap();
        assert_eq!(
            (release.date, release.valid_until),
            (1_715_419_412, Some(1_715_419_412 + 7 * 86_400))
        );
        assert!(release.by_hash && release.all_is_in_each);
        assert_eq!(release.components, ["main", "contrib"]);
        assert_eq!(release.architectures, ["all", "amd64"]);
        let listed = release.file("main/binary-amd64/Packages.xz").unwrap();
        assert_eq!((listed.size_bytes, listed.checksum.to_string().as_str()), (12, DIGEST));
        assert!(release.is_for("stable") && release.is_for("trixie"));
        assert!(!release.is_for("bookworm") && !release.is_for(""));
    }

    #[test]
    fn an_index_for_all_counts_only_if_the_release_says_so() {
        let all_is_in_each = |from: &str, to: &str| Release::parse(&text().replace(from, to)).unwrap().all_is_in_each;
        let field = "No-Support-for-Architecture-all: Packages\n";
        assert!(all_is_in_each("", ""));
        assert!(!all_is_in_each(field, ""));
        assert!(all_is_in_each(
            &format!("{field}Architectures: all amd64"),
            "Architectures: amd64"
        ));
        assert!(!all_is_in_each(&format!("{field}Architectures: all amd64\n"), ""));
    }

    #[test]
    fn refuses_what_is_ambiguous_or_missing() {
        let good = text();
        let table = [
            (good.replace("Origin: Debian", "Suite: other"), "twice"),
            (format!("{good}\nOrigin: Evil\n"), "one stanza"),
            (good.replace("Date: Sat", "Dato: Sat"), "Date is missing"),
            (good.replace("11 May", "31 Jun"), "not a date"),
            (good.replace("SHA256:", "SHA1:"), "SHA256 is missing"),
            (good.replace(" 12 ", " x "), "line 12: SHA-256 entry"),
            (good.replace(" 12 ", " "), "expected digest, size and path"),
            (good.replace(&format!("{DIGEST} 12"), "00 12"), "malformed digest"),
            (good.replace("Packages.xz", "Packages"), "another digest"),
            (String::new(), "missing"),
        ];
        for (text, reason) in table {
            let error = Release::parse(&text).unwrap_err().to_string();
            assert!(error.contains(reason), "{error} should contain {reason}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_ends_without_panic(text in "(SHA256|Date|Suite|[ -~é]{0,20})[:\\n ][ -~\\n\\té]{0,200}") {
            let _ = Release::parse(&text);
        }
    }
}
