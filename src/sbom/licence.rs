//! Licences in the words of SPDX: expressions of identifiers (SPDX 2.3, annex D), made of what Debian's copyright files and
//! rpm's headers say.
//!
//! A licence that has no identifier becomes a `LicenseRef-` with the text that the package gives it.

use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;

use crate::package::Sha256;

use super::names;

/// The longest text that is understood, in bytes; longer ones become one licence without an identifier.
const TEXT_BYTES_MAX: usize = 8 << 10;
/// The deepest brackets of an expression.
const DEPTH_MAX: usize = 16;
/// The longest text of a licence that a document repeats, in bytes.
const QUOTED_BYTES_MAX: usize = 64 << 10;
/// The digits of a digest that tell licences of one name apart.
const DIGEST_DIGITS: usize = 8;

/// A licence without an identifier of SPDX.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Its name in the package.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// The licences without identifiers that documents refer to, by `LicenseRef-`.
pub type References = BTreeMap<String, Reference>;

/// An expression.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Expression {
    /// An identifier, with its exception if it has one.
    One(String),
    /// All of them.
    And(Vec<Expression>),
    /// Any of them.
    Or(Vec<Expression>),
}

/// Returns the expression for `text`, a name or several with `and`, `or`, commas and brackets (Debian's "Machine-readable
/// debian/copyright file" 1.0, section 7.2; Fedora's "Licensing Guidelines"). `full_text` returns the text that the package
/// gives a licence; licences without an identifier are added to `references`.
pub fn expression(text: &str, full_text: &dyn Fn(&str) -> Option<String>, references: &mut References) -> String {
    let found = parse(text, &mut Names { full_text, references });
    found.to_string()
}

/// Returns the expression that all of `expressions` hold; `None` if there are none.
pub fn all_of<'a>(expressions: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for expression in expressions {
        // Where all of it must hold anyway, each part is told once.
        let is_flat = !expression.contains(" OR ");
        let own: Vec<&str> = if is_flat {
            expression.split(" AND ").collect()
        } else {
            vec![expression]
        };
        for part in own {
            if !parts.contains(&part) {
                parts.push(part);
            }
        }
    }
    let bracketed = |part: &&str| match parts.len() > 1 && part.contains(" OR ") {
        true => format!("({part})"),
        false => (*part).to_owned(),
    };
    let parts: Vec<String> = parts.iter().map(bracketed).collect();
    (!parts.is_empty()).then(|| parts.join(" AND "))
}

struct Names<'a> {
    full_text: &'a dyn Fn(&str) -> Option<String>,
    references: &'a mut References,
}

impl Names<'_> {
    /// Returns the identifier of the licence `name`, or of one that is added.
    fn one(&mut self, name: &str) -> Expression {
        if let Some(id) = known(name) {
            return Expression::One(id);
        }
        let text = (self.full_text)(name).filter(|text| !text.trim().is_empty());
        let mut text =
            text.unwrap_or_else(|| format!("The package calls its licence {name:?} and has no text under this name."));
        if text.len() > QUOTED_BYTES_MAX {
            let end = (0..=QUOTED_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end));
            text.truncate(end.unwrap_or_default());
        }
        let digest = Sha256::of(format!("{name}\0{text}")).to_string();
        let digest = digest.get(..DIGEST_DIGITS).unwrap_or_default();
        let id = format!("LicenseRef-{}-{digest}", identifier(name));
        self.references.entry(id.clone()).or_insert(Reference {
            name: name.to_owned(),
            text,
        });
        Expression::One(id)
    }
}

/// Returns `name` in the letters of identifiers: `[A-Za-z0-9.-]`.
pub(super) fn identifier(name: &str) -> String {
    let letter = |letter: char| match letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-') {
        true => letter,
        false => '-',
    };
    name.chars().take(100).map(letter).collect()
}

/// Returns the expression of a licence that SPDX knows; `None` for others.
fn known(name: &str) -> Option<String> {
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
    let lower = name.to_ascii_lowercase();
    if let Some(at) = lower.find(" with ") {
        let licence = known(name.get(..at)?)?;
        let exception = exception(lower.get(at + " with ".len()..)?)?;
        return Some(format!("{licence} WITH {exception}"));
    }
    gnu(&lower)
        .or_else(|| {
            names::LICENCES
                .iter()
                .find(|(own, _)| *own == lower)
                .map(|(_, id)| (*id).to_owned())
        })
        .or_else(|| listed(&lower))
        .or_else(|| or_later(&lower))
}

/// Returns the expression for a licence that is not of GNU, or any later version of it.
fn or_later(lower: &str) -> Option<String> {
    let id = listed(lower.strip_suffix('+')?)?;
    let is_of_gnu = spdx::license_id(&id).is_none_or(spdx::LicenseId::is_gnu);
    (!is_of_gnu).then(|| format!("{id}+"))
}

/// Returns the identifier that is `lower` in any case, unless it is out of use.
fn listed(lower: &str) -> Option<String> {
    static LISTED: OnceLock<HashMap<String, &'static str>> = OnceLock::new();
    let listed = LISTED.get_or_init(|| {
        let names = spdx::identifiers::LICENSES.iter().map(|licence| licence.name);
        let current = names.filter(|name| spdx::license_id(name).is_some_and(|id| !id.is_deprecated()));
        current.map(|name| (name.to_ascii_lowercase(), name)).collect()
    });
    listed.get(lower).map(|id| (*id).to_owned())
}

fn exception(lower: &str) -> Option<&'static str> {
    let known = names::EXCEPTIONS
        .iter()
        .find(|(own, _)| *own == lower)
        .map(|(_, id)| *id);
    let all = spdx::identifiers::EXCEPTIONS.iter();
    let mut listed = all
        .map(|exception| exception.name)
        .filter(|name| spdx::exception_id(name).is_some_and(|id| !id.is_deprecated()));
    known.or_else(|| listed.find(|name| name.eq_ignore_ascii_case(lower)))
}

/// Returns the identifier of a licence of GNU, which has a version and `only` or `or later`: `gpl-2+`, `LGPLv2.1`.
fn gnu(lower: &str) -> Option<String> {
    let (family, rest) = ["lgpl", "agpl", "gpl", "gfdl"]
        .iter()
        .find_map(|family| Some((*family, lower.strip_prefix(family)?)))?;
    let (rest, invariants) = match rest.strip_prefix("-niv") {
        Some(rest) => (rest, "-no-invariants"),
        None => (rest, ""),
    };
    let rest = rest.strip_prefix(['-', ' ']).unwrap_or(rest);
    let rest = rest.strip_prefix('v').unwrap_or(rest);
    let later = ["-or-later", "+"].iter().find_map(|end| rest.strip_suffix(end));
    let version = later.or_else(|| rest.strip_suffix("-only")).unwrap_or(rest);
    let version = match (version, family) {
        ("", "gpl") => "1.0".to_owned(),
        ("", "lgpl") => "2.0".to_owned(),
        (version, _) if version.contains('.') => version.to_owned(),
        (version, _) => format!("{version}.0"),
    };
    // Any version is meant where none is given.
    let is_later = later.is_some() || rest.is_empty();
    let end = if is_later { "or-later" } else { "only" };
    let id = format!("{}-{version}{invariants}-{end}", family.to_ascii_uppercase());
    spdx::license_id(&id).map(|_| id)
}

/// Divides `text` into names and operators, and parses them.
fn parse(text: &str, names: &mut Names<'_>) -> Expression {
    if text.len() > TEXT_BYTES_MAX {
        return names.one(&format!("{}…", text.chars().take(40).collect::<String>()));
    }
    let spaced = text.replace('(', " ( ").replace(')', " ) ").replace([',', ';'], " , ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut parser = Parser {
        words: &words,
        names,
        depth: 0,
    };
    let found = parser.commas();
    match parser.words.is_empty() {
        true => found.unwrap_or_else(|| parser.names.one(text.trim())),
        // Brackets that do not fit.
        false => parser.names.one(text.trim()),
    }
}

struct Parser<'a, 'b, 'c> {
    words: &'a [&'a str],
    names: &'b mut Names<'c>,
    depth: usize,
}

impl<'a> Parser<'a, '_, '_> {
    fn take(&mut self, word: &str) -> bool {
        match self.words.split_first() {
            Some((first, rest)) if first.eq_ignore_ascii_case(word) => {
                self.words = rest;
                true
            }
            _ => false,
        }
    }

    /// Parses parts between commas, which bind loosest: `a, or b`.
    fn commas(&mut self) -> Option<Expression> {
        let mut found = self.either()?;
        while self.take(",") {
            let is_or = self.take("or") || self.take("and/or");
            if !is_or {
                self.take("and");
            }
            let Some(next) = self.either() else { continue };
            found = match is_or {
                true => Expression::Or(vec![found, next]),
                false => Expression::And(vec![found, next]),
            };
        }
        Some(found)
    }

    fn either(&mut self) -> Option<Expression> {
        let mut parts = vec![self.both()?];
        while self.take("or") || self.take("and/or") || self.take("|") {
            parts.push(self.both()?);
        }
        Some(one_of(parts, Expression::Or))
    }

    fn both(&mut self) -> Option<Expression> {
        let mut parts = vec![self.term()?];
        while self.take("and") || self.take("&") {
            parts.push(self.term()?);
        }
        Some(one_of(parts, Expression::And))
    }

    fn term(&mut self) -> Option<Expression> {
        if self.take("(") {
            self.depth += 1;
            if self.depth > DEPTH_MAX {
                return None;
            }
            let found = self.commas();
            self.depth -= 1;
            return found.filter(|_| self.take(")"));
        }
        let ends = |word: &&str| ["(", ")", ",", "|", "&"].contains(word) || is_operator(word);
        let length = self.words.iter().position(ends).unwrap_or(self.words.len());
        let (name, rest): (&'a [&'a str], _) = self.words.split_at(length);
        self.words = rest;
        (!name.is_empty()).then(|| self.names.one(&name.join(" ")))
    }
}

fn is_operator(word: &str) -> bool {
    ["and", "or", "and/or"]
        .iter()
        .any(|operator| word.eq_ignore_ascii_case(operator))
}

/// Joins `parts` with `of`, unless there is only one.
fn one_of(mut parts: Vec<Expression>, of: fn(Vec<Expression>) -> Expression) -> Expression {
    match parts.len() {
        1 => parts.remove(0),
        _ => of(parts),
    }
}

impl std::fmt::Display for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (parts, operator) = match self {
            Self::One(id) => return f.write_str(id),
            Self::And(parts) => (parts, " AND "),
            Self::Or(parts) => (parts, " OR "),
        };
        let mut texts: Vec<String> = Vec::new();
        for part in parts {
            let is_other = matches!((self, part), (Self::And(_), Self::Or(_)) | (Self::Or(_), Self::And(_)));
            let text = if is_other {
                format!("({part})")
            } else {
                part.to_string()
            };
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        f.write_str(&texts.join(operator))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> String {
        expression(text, &|_| None, &mut References::new())
    }

    #[test]
    fn names_of_debian_and_of_rpm_become_identifiers() {
        for (text, expected) in [
            ("GPL-2+", "GPL-2.0-or-later"),
            ("GPL-3", "GPL-3.0-only"),
            ("LGPL-2.1+", "LGPL-2.1-or-later"),
            ("Expat", "MIT"),
            ("BSD-3-clause", "BSD-3-Clause"),
            ("GFDL-NIV-1.3+", "GFDL-1.3-no-invariants-or-later"),
            ("Artistic or GPL-1+", "Artistic-1.0-Perl OR GPL-1.0-or-later"),
            (
                "GPL-2+ and BSD-3-clause or Expat",
                "(GPL-2.0-or-later AND BSD-3-Clause) OR MIT",
            ),
            (
                "GPL-2+ or Artistic-2.0, and BSD-3-clause",
                "(GPL-2.0-or-later OR Artistic-2.0) AND BSD-3-Clause",
            ),
            (
                "GPLv2+ and (LGPLv2.1 or MPLv2.0)",
                "GPL-2.0-or-later AND (LGPL-2.1-only OR MPL-2.0)",
            ),
            (
                "GPLv3+ with GCC-exception-3.1",
                "GPL-3.0-or-later WITH GCC-exception-3.1",
            ),
            ("ASL 2.0", "Apache-2.0"),
            ("GPL+ or Artistic", "GPL-1.0-or-later OR Artistic-1.0-Perl"),
            ("MIT AND MIT", "MIT"),
            ("Apache-2.0 OR MIT", "Apache-2.0 OR MIT"),
            ("MPL-1.1+", "MPL-1.1+"),
        ] {
            assert_eq!(of(text), expected, "{text}");
            assert!(spdx::Expression::parse(expected).is_ok(), "{expected}");
        }
    }

    #[test]
    fn what_has_no_identifier_is_referred_to_with_its_text() {
        let mut references = References::new();
        let text = |name: &str| (name == "custom one").then(|| "Do as you like.".to_owned());
        let found = expression("GPL-2+ with OpenSSL exception, and custom one", &text, &mut references);
        assert_eq!(references.len(), 2, "{references:?}");
        let parts: Vec<&str> = found.split(" AND ").collect();
        assert!(
            parts[0].starts_with("LicenseRef-GPL-2--with-OpenSSL-exception-"),
            "{found}"
        );
        assert_eq!(references[parts[1]].text, "Do as you like.");
        assert!(spdx::Expression::parse(&found).is_ok(), "{found}");
    }

    #[test]
    fn any_text_becomes_an_expression() {
        for text in [
            "",
            "(",
            "((((",
            ")",
            "and",
            "or or or",
            ",,,",
            "a with",
            "gpl-99",
            "GPL-2+ )(",
            "a | & b",
        ] {
            let found = of(text);
            assert!(spdx::Expression::parse(&found).is_ok(), "{text:?} {found:?}");
        }
        assert!(spdx::Expression::parse(&of(&"(".repeat(2000))).is_ok());
        assert!(spdx::Expression::parse(&of(&"a or ".repeat(20_000))).is_ok());
    }

    proptest::proptest! {
        #[test]
        fn any_words_become_an_expression(text in "([a-zA-Z0-9.+-]{1,4}|[ (),]| and | or | with ){0,20}") {
            let found = of(&text);
            proptest::prop_assert!(spdx::Expression::parse(&found).is_ok(), "{:?} {:?}", text, found);
        }
    }
}
