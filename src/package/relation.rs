//! Relation fields such as `Depends: a (>= 1) | b:any [amd64], c <!nocheck>`
//! (deb-control(5), deb-src-control(5)).
//!
//! While parsing, alternatives whose restriction list excludes the target are left out, so the result holds only
//! relations that apply.

use super::{Arch, DebVersion};

/// The comparison that a relation makes with a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operator {
    /// `<<`
    Less,
    /// `<=` (also the obsolete `<`)
    LessEqual,
    /// `=`
    Equal,
    /// `>=` (also the obsolete `>`)
    GreaterEqual,
    /// `>>`
    Greater,
}

impl Operator {
    /// Returns whether `version` stands in this relation to `bound`.
    pub fn accepts(self, version: &str, bound: &str) -> bool {
        let order = DebVersion::new(version).cmp(&DebVersion::new(bound));
        match self {
            Self::Less => order.is_lt(),
            Self::LessEqual => order.is_le(),
            Self::Equal => order.is_eq(),
            Self::GreaterEqual => order.is_ge(),
            Self::Greater => order.is_gt(),
        }
    }
}

/// One alternative of a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relation<'a> {
    /// The package or virtual package.
    pub name: &'a str,
    /// The part after the colon: `any`, `native` or an architecture.
    pub qualifier: Option<&'a str>,
    /// The bound on the version.
    pub version: Option<(Operator, &'a str)>,
    /// The alternative as written.
    pub text: &'a str,
}

impl Relation<'_> {
    /// Returns whether a package (or versioned `Provides`) of this version satisfies the relation; `None` is an
    /// unversioned `Provides`, which satisfies only unversioned relations (Debian Policy 7.5).
    pub fn accepts(&self, version: Option<&str>) -> bool {
        match (self.version, version) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some((operator, bound)), Some(version)) => operator.accepts(version, bound),
        }
    }
}

/// One element of a relation field; any of its alternatives satisfies it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrGroup<'a> {
    /// The alternatives, preferred first; never empty.
    pub alternatives: Vec<Relation<'a>>,
    /// The element as written.
    pub text: &'a str,
}

/// The error for a malformed relation field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at byte {position}")]
pub struct RelationError {
    /// Position in the field, in bytes from its start.
    pub position: usize,
    /// The mistake there.
    pub reason: &'static str,
}

/// Parses a relation field for a target of architecture `target`.
///
/// Elements and alternatives that an architecture restriction excludes are left
/// out, and so are those that a build profile restriction excludes when no
/// profile is active.
///
/// # Errors
/// [`RelationError`] with the place and kind of the first mistake.
pub fn parse_relations(field: &str, target: Arch) -> Result<Vec<OrGroup<'_>>, RelationError> {
    let mut groups = Vec::new();
    let mut start = 0;
    for element in field.split(',') {
        if !element.trim().is_empty() {
            let alternatives = parse_alternatives(element, start, target)?;
            if !alternatives.is_empty() {
                groups.push(OrGroup {
                    alternatives,
                    text: element.trim(),
                });
            }
        }
        start += element.len() + 1;
    }
    Ok(groups)
}

fn parse_alternatives(element: &str, mut start: usize, target: Arch) -> Result<Vec<Relation<'_>>, RelationError> {
    let mut alternatives = Vec::new();
    for text in element.split('|') {
        let relation = parse_relation(text, target).map_err(|error| RelationError {
            position: start + error.position,
            ..error
        })?;
        alternatives.extend(relation);
        start += text.len() + 1;
    }
    Ok(alternatives)
}

/// Parses one alternative of a relation field; `None` if a restriction excludes it for `target`.
///
/// # Errors
/// [`RelationError`] with the place and kind of the first mistake.
pub fn parse_relation(text: &str, target: Arch) -> Result<Option<Relation<'_>>, RelationError> {
    let mut cursor = Cursor {
        rest: text,
        end: text.len(),
    };
    let (relation, applies) = cursor.relation(target)?;
    let text = text.trim_ascii();
    Ok(applies.then_some(Relation { text, ..relation }))
}

/// The unread rest of an alternative, with the position in the field where it ends.
struct Cursor<'a> {
    rest: &'a str,
    end: usize,
}

impl<'a> Cursor<'a> {
    /// Parses `name[:qualifier] [(op version)] [[arches]] [<profiles>]…`, and returns also whether its restrictions
    /// hold.
    fn relation(&mut self, target: Arch) -> Result<(Relation<'a>, bool), RelationError> {
        self.skip_space();
        let name = self.take_while(is_name_byte);
        if name.is_empty() {
            return self.fail("expected a package name");
        }
        let mut relation = Relation {
            name,
            qualifier: None,
            version: None,
            text: name,
        };
        if self.eat(':') {
            let qualifier = self.take_while(is_name_byte);
            if qualifier.is_empty() {
                return self.fail("expected an architecture after the colon");
            }
            relation.qualifier = Some(qualifier);
        }
        let mut applies = true;
        let mut profiles: Option<bool> = None;
        self.skip_space();
        if self.eat('(') {
            relation.version = Some(self.version()?);
            self.skip_space();
        }
        if self.eat('[') {
            let list = self.until(']', "the architecture list does not end")?;
            applies &= architectures_hold(list, target);
            self.skip_space();
        }
        while self.eat('<') {
            let list = self.until('>', "the build profile list does not end")?;
            let holds = list.split_ascii_whitespace().all(|profile| profile.starts_with('!'));
            profiles = Some(profiles.unwrap_or(false) || holds);
            self.skip_space();
        }
        if !self.rest.is_empty() {
            return self.fail("unexpected text");
        }
        Ok((relation, applies && profiles.unwrap_or(true)))
    }

    /// Parses the inside of the parentheses, after the opening one.
    fn version(&mut self) -> Result<(Operator, &'a str), RelationError> {
        self.skip_space();
        let operator = match self.take_while(|byte| matches!(byte, b'<' | b'>' | b'=')) {
            "<<" => Operator::Less,
            "<=" | "<" => Operator::LessEqual,
            "=" => Operator::Equal,
            ">=" | ">" => Operator::GreaterEqual,
            ">>" => Operator::Greater,
            _ => return self.fail("expected one of << <= = >= >>"),
        };
        self.skip_space();
        let version = self.take_while(|byte| !byte.is_ascii_whitespace() && byte != b')');
        if version.is_empty() {
            return self.fail("expected a version");
        }
        self.skip_space();
        if !self.eat(')') {
            return self.fail("expected a closing parenthesis");
        }
        Ok((operator, version))
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    fn eat(&mut self, expected: char) -> bool {
        let tail = self.rest.strip_prefix(expected);
        self.rest = tail.unwrap_or(self.rest);
        tail.is_some()
    }

    /// Splits off the longest head of ASCII bytes that are `wanted`.
    fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a str {
        let end = self
            .rest
            .bytes()
            .position(|byte| !wanted(byte))
            .unwrap_or(self.rest.len());
        // `wanted` may take parts of a multi-byte character only all at once; otherwise take nothing.
        let (head, tail) = self.rest.split_at_checked(end).unwrap_or(("", self.rest));
        self.rest = tail;
        head
    }

    fn until(&mut self, end: char, reason: &'static str) -> Result<&'a str, RelationError> {
        match self.rest.split_once(end) {
            Some((inside, tail)) => {
                self.rest = tail;
                Ok(inside)
            }
            None => self.fail(reason),
        }
    }

    fn fail<T>(&self, reason: &'static str) -> Result<T, RelationError> {
        Err(RelationError {
            position: self.end - self.rest.len(),
            reason,
        })
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.' | b'_')
}

/// Returns whether an architecture list such as `amd64 linux-any` or `!armhf` admits `target` (deb-src-control(5),
/// "architecture-restriction").
fn architectures_hold(list: &str, target: Arch) -> bool {
    let mut positive = None;
    for word in list.split_ascii_whitespace() {
        match word.strip_prefix('!') {
            Some(excluded) if wildcard_matches(excluded, target) => return false,
            Some(_) => {}
            None => positive = Some(positive.unwrap_or(false) || wildcard_matches(word, target)),
        }
    }
    positive.unwrap_or(true)
}

/// Returns whether an architecture or wildcard (`any`, `linux-any`, `any-arm64`, `gnu-any-any`) covers `target`.
fn wildcard_matches(word: &str, target: Arch) -> bool {
    // ABI, libc, operating system, CPU: the columns of dpkg-architecture(1) for oic's targets.
    let (abi, cpu) = match target {
        Arch::X86_64 => ("base", "amd64"),
        Arch::Aarch64 => ("base", "arm64"),
        Arch::Armv7hl => ("eabihf", "arm"),
    };
    if word == target.deb() || word == "any" {
        return true;
    }
    let own = [abi, "gnu", "linux", cpu];
    let parts: Vec<_> = word.split('-').collect();
    (2..=own.len()).contains(&parts.len())
        && parts.contains(&"any")
        && parts
            .iter()
            .rev()
            .zip(own.iter().rev())
            .all(|(part, own)| *part == "any" || part == own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(field: &str) -> Vec<OrGroup<'_>> {
        parse_relations(field, Arch::X86_64).unwrap()
    }

    #[test]
    fn every_part_of_a_relation() {
        let groups = parse("libc6 (>= 2.38), python3:any (<<3.14) | b [amd64],\n c <!nocheck>, ");
        assert_eq!(groups.len(), 3);
        assert_eq!(
            groups[0].alternatives[0].version,
            Some((Operator::GreaterEqual, "2.38"))
        );
        let python = groups[1].alternatives[0];
        assert_eq!((python.name, python.qualifier), ("python3", Some("any")));
        assert_eq!(
            (python.version, python.text),
            (Some((Operator::Less, "3.14")), "python3:any (<<3.14)")
        );
        assert_eq!(
            (groups[1].alternatives[1].name, groups[2].alternatives[0].name),
            ("b", "c")
        );
        assert_eq!(groups[1].text, "python3:any (<<3.14) | b [amd64]");
    }

    #[test]
    fn restrictions_follow_the_target() {
        let names = |field, target| {
            parse_relations(field, target)
                .unwrap()
                .iter()
                .flat_map(|group| group.alternatives.iter().map(|relation| relation.name.to_owned()))
                .collect::<Vec<_>>()
        };
        let field = "a [amd64], b [!amd64], c [linux-any], d [any-arm64], e [kfreebsd-any] | f [any-arm], g [arm-any], \
                     h <stage1>, i <stage1> <!cross>";
        assert_eq!(names(field, Arch::X86_64), ["a", "c", "i"]);
        assert_eq!(names(field, Arch::Aarch64), ["b", "c", "d", "i"]);
        assert_eq!(names(field, Arch::Armv7hl), ["b", "c", "f", "i"]);
    }

    #[test]
    fn mistakes_have_a_position() {
        for (field, position, reason) in [
            ("a, b (>= )", 9, "expected a version"),
            ("a | , b", 4, "expected a package name"),
            ("a (~ 1)", 3, "expected one of << <= = >= >>"),
            ("a (= 1", 6, "expected a closing parenthesis"),
            ("a: b", 2, "expected an architecture after the colon"),
            ("a b", 2, "unexpected text"),
            ("é", 0, "expected a package name"),
            ("a [amd64", 3, "the architecture list does not end"),
        ] {
            assert_eq!(
                parse_relations(field, Arch::X86_64),
                Err(RelationError { position, reason }),
                "{field}"
            );
        }
    }

    #[test]
    fn unversioned_provides_satisfy_only_unversioned_relations() {
        let groups = parse("a, b (= 1)");
        assert!(groups[0].alternatives[0].accepts(None));
        assert!(!groups[1].alternatives[0].accepts(None));
        assert!(groups[1].alternatives[0].accepts(Some("1")));
    }

    proptest! {
        #[test]
        fn never_panics(field in "[ab1:()<>=|,\\[\\]! é~]{0,24}") {
            let _ = parse_relations(&field, Arch::X86_64);
        }

        #[test]
        fn reads_what_it_would_write(
            name in "[a-z0-9][a-z0-9+.-]{1,8}",
            version in "[0-9][0-9a-z.+~]{0,6}",
            operator in prop::sample::select(vec!["<<", "<=", "=", ">=", ">>"]),
        ) {
            let field = format!("{name}:any ({operator} {version}) | {name}");
            let groups = parse(&field);
            prop_assert_eq!(groups.len(), 1);
            let first = groups[0].alternatives[0];
            prop_assert_eq!(first.name, name.as_str());
            prop_assert_eq!(first.version.map(|(_, bound)| bound), Some(version.as_str()));
            prop_assert_eq!(groups[0].alternatives.len(), 2);
        }
    }
}
