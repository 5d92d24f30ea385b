//! Capabilities that RPM packages provide and need: `name`, or `name op [epoch:]version[-release]`
//! (rpm-dependencies(7)), and rich dependencies over them.

use std::fmt;

use super::{Evr, Operator};

/// A name with a range of versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capability<'a> {
    /// A package name, a soname such as `libc.so.6(GLIBC_2.4)(64bit)`, a path, or any other word.
    pub name: &'a str,
    /// The accepted versions; all if absent.
    pub range: Option<(Operator, Evr<'a>)>,
}

/// The error for a malformed dependency.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason} in {text:?}")]
pub struct CapabilityError {
    /// The dependency as written.
    pub text: String,
    /// The mistake in it.
    pub reason: &'static str,
}

impl<'a> Capability<'a> {
    /// Reads `name` or `name op evr`.
    ///
    /// # Errors
    /// If the text has neither one word nor three, or an unknown operator.
    pub fn parse(text: &'a str) -> Result<Self, CapabilityError> {
        let error = |reason| CapabilityError {
            text: text.to_owned(),
            reason,
        };
        let mut words = text.split_ascii_whitespace();
        let name = words.next().ok_or_else(|| error("no name"))?;
        let range = match (words.next(), words.next()) {
            (None, _) => None,
            (Some(operator), Some(version)) => {
                let operator = operator_of(operator).ok_or_else(|| error("expected one of < <= = >= >"))?;
                Some((operator, Evr::new(version)))
            }
            (Some(_), None) => return Err(error("expected a version")),
        };
        match words.next() {
            None => Ok(Self { name, range }),
            Some(_) => Err(error("unexpected text")),
        }
    }

    /// Returns whether both have the same name and some version is in both ranges: what a package provides then
    /// satisfies (or hits) what another needs (or excludes).
    pub fn overlaps(&self, other: &Self) -> bool {
        self.name == other.name && self.ranges_overlap(other)
    }

    /// Returns whether some version is in both ranges; the names are not compared. Without a version on either side all
    /// match, as in rpm.
    pub fn ranges_overlap(&self, other: &Self) -> bool {
        let (Some((ours, own)), Some((theirs, bound))) = (&self.range, &other.range) else {
            return true;
        };
        let order = own.cmp_bound(bound);
        if order.is_lt() {
            reaches_up(*ours) || reaches_down(*theirs)
        } else if order.is_gt() {
            reaches_down(*ours) || reaches_up(*theirs)
        } else {
            (includes_bound(*ours) && includes_bound(*theirs))
                || (reaches_up(*ours) && reaches_up(*theirs))
                || (reaches_down(*ours) && reaches_down(*theirs))
        }
    }
}

impl fmt::Display for Capability<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        match &self.range {
            Some((operator, evr)) => write!(f, " {} {evr}", rpm_sign(*operator)),
            None => Ok(()),
        }
    }
}

/// Returns rpm's sign for an operator.
fn rpm_sign(operator: Operator) -> &'static str {
    match operator {
        Operator::Less => "<",
        Operator::LessEqual => "<=",
        Operator::Equal => "=",
        Operator::GreaterEqual => ">=",
        Operator::Greater => ">",
    }
}

fn operator_of(sign: &str) -> Option<Operator> {
    Some(match sign {
        "<" => Operator::Less,
        "<=" | "=<" => Operator::LessEqual,
        "=" | "==" => Operator::Equal,
        ">=" | "=>" => Operator::GreaterEqual,
        ">" => Operator::Greater,
        _ => return None,
    })
}

fn reaches_up(operator: Operator) -> bool {
    matches!(operator, Operator::Greater | Operator::GreaterEqual)
}

fn reaches_down(operator: Operator) -> bool {
    matches!(operator, Operator::Less | Operator::LessEqual)
}

fn includes_bound(operator: Operator) -> bool {
    matches!(operator, Operator::Equal | Operator::LessEqual | Operator::GreaterEqual)
}

/// A dependency: a capability, or a boolean expression over them (rpm-dependencies(7),
/// "Boolean dependencies").
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RpmDependency<'a> {
    /// A plain capability.
    Plain(Capability<'a>),
    /// `(a and b and …)`
    And(Vec<Self>),
    /// `(a or b or …)`
    Or(Vec<Self>),
    /// `(then if condition [else otherwise])`
    If {
        /// The dependency that must hold if the condition does.
        then: Box<Self>,
        /// The condition.
        condition: Box<Self>,
        /// The dependency that must hold if the condition does not.
        otherwise: Option<Box<Self>>,
    },
    /// `(then unless condition [else otherwise])`
    Unless {
        /// The dependency that must hold unless the condition does.
        then: Box<Self>,
        /// The condition.
        condition: Box<Self>,
        /// The dependency that must hold if the condition does.
        otherwise: Option<Box<Self>>,
    },
    /// `(a with b with …)`: one package that satisfies all of them.
    With(Vec<Self>),
    /// `(a without b)`: a package that satisfies the first, but not the second.
    Without(Box<Self>, Box<Self>),
}

/// The depth of nesting beyond which expressions are refused; real ones have three levels.
const DEPTH_LIMIT: usize = 24;

impl<'a> RpmDependency<'a> {
    /// Reads a dependency; one that starts with a parenthesis is an expression.
    ///
    /// # Errors
    /// [`CapabilityError`] for what rpm would refuse as well, and for nesting deeper than 24 levels.
    pub fn parse(text: &'a str) -> Result<Self, CapabilityError> {
        let trimmed = text.trim();
        if !trimmed.starts_with('(') {
            return Capability::parse(trimmed).map(Self::Plain);
        }
        let mut parser = Parser { text, rest: trimmed };
        let parsed = parser.expression(0)?;
        match parser.rest.trim_start() {
            "" => Ok(parsed),
            _ => Err(parser.error("unexpected text")),
        }
    }
}

struct Parser<'a> {
    /// The whole dependency, for messages.
    text: &'a str,
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn error(&self, reason: &'static str) -> CapabilityError {
        CapabilityError {
            text: self.text.to_owned(),
            reason,
        }
    }

    /// Splits off the next word, up to a blank; parentheses inside it must match, so `libc.so.6()(64bit))` ends before
    /// the last one.
    fn word(&mut self) -> &'a str {
        self.rest = self.rest.trim_start();
        let mut open = 0_usize;
        let end = self.rest.find(|c: char| match c {
            '(' => {
                open += 1;
                false
            }
            ')' => match open.checked_sub(1) {
                Some(left) => {
                    open = left;
                    false
                }
                None => true,
            },
            _ => c.is_ascii_whitespace(),
        });
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    fn peek(&mut self) -> &'a str {
        let before = self.rest;
        let word = self.word();
        self.rest = before;
        word
    }

    /// Parses `( operand [operator operand …] )`.
    fn expression(&mut self, depth: usize) -> Result<RpmDependency<'a>, CapabilityError> {
        if depth > DEPTH_LIMIT {
            return Err(self.error("too many levels"));
        }
        self.rest = self.rest.strip_prefix('(').ok_or_else(|| self.error("expected ("))?;
        let first = self.operand(depth)?;
        let operator = self.word();
        let parsed = match operator {
            "" => first,
            "and" | "or" | "with" => {
                let mut all = vec![first, self.operand(depth)?];
                while self.peek() == operator {
                    self.word();
                    all.push(self.operand(depth)?);
                }
                match operator {
                    "and" => RpmDependency::And(all),
                    "or" => RpmDependency::Or(all),
                    _ => RpmDependency::With(all),
                }
            }
            "without" => RpmDependency::Without(Box::new(first), Box::new(self.operand(depth)?)),
            "if" | "unless" => {
                let (then, condition) = (Box::new(first), Box::new(self.operand(depth)?));
                let otherwise = match self.peek() {
                    "else" => {
                        self.word();
                        Some(Box::new(self.operand(depth)?))
                    }
                    _ => None,
                };
                match operator {
                    "if" => RpmDependency::If {
                        then,
                        condition,
                        otherwise,
                    },
                    _ => RpmDependency::Unless {
                        then,
                        condition,
                        otherwise,
                    },
                }
            }
            _ => return Err(self.error("expected and, or, if, unless, with or without")),
        };
        self.rest = self.rest.trim_start();
        self.rest = self
            .rest
            .strip_prefix(')')
            .ok_or_else(|| self.error("expected ) (operators cannot be mixed without parentheses)"))?;
        Ok(parsed)
    }

    fn operand(&mut self, depth: usize) -> Result<RpmDependency<'a>, CapabilityError> {
        self.rest = self.rest.trim_start();
        if self.rest.starts_with('(') {
            return self.expression(depth + 1);
        }
        let name = self.word();
        if name.is_empty() {
            return Err(self.error("expected a name"));
        }
        let range = match operator_of(self.peek()) {
            None => None,
            Some(operator) => {
                self.word();
                match self.word() {
                    "" => return Err(self.error("expected a version")),
                    version => Some((operator, Evr::new(version))),
                }
            }
        };
        Ok(RpmDependency::Plain(Capability { name, range }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(text: &str) -> RpmDependency<'_> {
        RpmDependency::Plain(Capability::parse(text).unwrap())
    }

    #[test]
    fn plain_ones() {
        let capability = Capability::parse("libc.so.6(GLIBC_2.4)(64bit)").unwrap();
        assert_eq!(
            (capability.name, capability.range),
            ("libc.so.6(GLIBC_2.4)(64bit)", None)
        );
        let capability = Capability::parse("foo >= 1:2.0-3").unwrap();
        assert_eq!(capability.to_string(), "foo >= 1:2.0-3");
        for bad in ["", "foo >=", "foo 1 2", "foo >= 1 2"] {
            assert!(Capability::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn expressions() {
        assert_eq!(
            RpmDependency::parse("(foo >= 1.0 with foo < 2.0~)").unwrap(),
            RpmDependency::With(vec![plain("foo >= 1.0"), plain("foo < 2.0~")])
        );
        assert_eq!(
            RpmDependency::parse("(a or libx.so()(64bit) or (b and c))").unwrap(),
            RpmDependency::Or(vec![
                plain("a"),
                plain("libx.so()(64bit)"),
                RpmDependency::And(vec![plain("b"), plain("c")])
            ])
        );
        assert_eq!(
            RpmDependency::parse("(langpack-de if (kernel and gui) else none)").unwrap(),
            RpmDependency::If {
                then: Box::new(plain("langpack-de")),
                condition: Box::new(RpmDependency::And(vec![plain("kernel"), plain("gui")])),
                otherwise: Some(Box::new(plain("none"))),
            }
        );
        assert_eq!(
            RpmDependency::parse("(a without b)").unwrap(),
            RpmDependency::Without(Box::new(plain("a")), Box::new(plain("b")))
        );
        assert_eq!(RpmDependency::parse("(a)").unwrap(), plain("a"));
        for bad in [
            "(",
            "()",
            "(a",
            "(a and)",
            "(a and b or c)",
            "(a xor b)",
            "(a >= )",
            "(a) b",
            "(a b)",
            "(a unless)",
        ] {
            assert!(RpmDependency::parse(bad).is_err(), "{bad}");
        }
        let deep = format!("{}a{}", "(".repeat(200_000), ")".repeat(200_000));
        assert!(RpmDependency::parse(&deep).is_err());
    }

    #[test]
    fn ranges_meet_as_in_rpm() {
        for (a, b, expected) in [
            ("x = 1.0-1", "x >= 1.0", true),
            ("x = 1.0-1", "x > 1.0", false),
            ("x = 1.0-1", "x > 1.0-0", true),
            ("x = 1.0-1", "x < 1.0-2", true),
            ("x = 1.0-1", "x < 1.0", false),
            ("x = 1:0.5-1", "x >= 2", true),
            ("x", "x >= 2", true),
            ("x = 1", "x", true),
            ("x >= 3", "x < 2", false),
            ("x >= 3", "x > 2", true),
            ("x < 3", "x > 3", false),
            ("x <= 3", "x >= 3", true),
            ("x = 1", "y = 1", false),
        ] {
            let (first, second) = (Capability::parse(a).unwrap(), Capability::parse(b).unwrap());
            assert_eq!(first.overlaps(&second), expected, "{a} {b}");
            assert_eq!(second.overlaps(&first), expected, "{b} {a}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "[ab()<>=1 .é]{0,30}|\\((a|b| and | or | if | else |\\(|\\)){0,12}\\)") {
            let _ = RpmDependency::parse(&text);
        }
    }
}
