//! Debian package versions and their order (deb-version(7)).
//!
//! Invariant: the order is total on every string, well-formed or not, and equals
//! that of `dpkg --compare-versions` on well-formed ones. Comparing allocates nothing.

use std::cmp::Ordering;
use std::fmt;

/// A version `[epoch:]upstream[-revision]`, borrowed from the text it was read from.
///
/// Equality is that of the order: `1.0`, `0:1.0` and `1.0-0` are equal.
#[derive(Debug, Clone, Copy)]
pub struct DebVersion<'a>(&'a str);

impl<'a> DebVersion<'a> {
    /// Takes `text` as a version; any text has a place in the order.
    pub fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// Returns the text as it was given to [`Self::new`].
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// Splits into epoch (empty if absent), upstream version, revision (empty if absent).
    fn parts(self) -> (&'a str, &'a str, &'a str) {
        let (epoch, rest) = match self.0.split_once(':') {
            Some((epoch, rest)) if epoch.bytes().all(|byte| byte.is_ascii_digit()) => (epoch, rest),
            _ => ("", self.0),
        };
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        (epoch, upstream, revision)
    }
}

impl Ord for DebVersion<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.0 == other.0 {
            return Ordering::Equal;
        }
        let (a, b) = (self.parts(), other.parts());
        compare_part(a.0, b.0)
            .then_with(|| compare_part(a.1, b.1))
            .then_with(|| compare_part(a.2, b.2))
    }
}

compared_by_ord!(DebVersion);

impl fmt::Display for DebVersion<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Compares two upstream versions or revisions: runs of non-digits and of digits in turn.
fn compare_part(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while !a.is_empty() || !b.is_empty() {
        let text_a = take_while(&mut a, |byte| !byte.is_ascii_digit());
        let text_b = take_while(&mut b, |byte| !byte.is_ascii_digit());
        let number_a = trim_zeros(take_while(&mut a, |byte| byte.is_ascii_digit()));
        let number_b = trim_zeros(take_while(&mut b, |byte| byte.is_ascii_digit()));
        let order = compare_text(text_a, text_b)
            .then_with(|| number_a.len().cmp(&number_b.len()))
            .then_with(|| number_a.cmp(number_b));
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

/// Compares two runs of non-digits; a run that has ended counts like a digit: after `~`, before all else.
fn compare_text(a: &[u8], b: &[u8]) -> Ordering {
    let weight = |byte: Option<&u8>| match byte {
        Some(b'~') => -1,
        None => 0,
        Some(byte) if byte.is_ascii_alphabetic() => i32::from(*byte),
        Some(byte) => i32::from(*byte) + 256,
    };
    (0..a.len().max(b.len()))
        .map(|at| weight(a.get(at)).cmp(&weight(b.get(at))))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// Splits off the longest head of `rest` of bytes that are `wanted`.
fn take_while<'a>(rest: &mut &'a [u8], wanted: impl Fn(u8) -> bool) -> &'a [u8] {
    let end = rest.iter().position(|byte| !wanted(*byte)).unwrap_or(rest.len());
    let (head, tail) = rest.split_at(end);
    *rest = tail;
    head
}

fn trim_zeros(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    &digits[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cmp(a: &str, b: &str) -> Ordering {
        DebVersion::new(a).cmp(&DebVersion::new(b))
    }

    #[test]
    fn examples_of_the_manual() {
        for (smaller, larger) in [
            ("1.0~beta1~svn1245", "1.0~beta1"),
            ("1.0~beta1", "1.0"),
            ("1.0", "1.0+b1"),
            ("1.0-9", "1.0-10"),
            ("9.9", "1:0.1"),
            ("1.0a", "1.0+"),
            ("1.0~~", "1.0~~a"),
            ("1.0~~a", "1.0~"),
        ] {
            assert_eq!(cmp(smaller, larger), Ordering::Less, "{smaller} {larger}");
            assert_eq!(cmp(larger, smaller), Ordering::Greater, "{larger} {smaller}");
        }
        for (a, b) in [("1.0", "0:1.0"), ("1.0", "1.0-0"), ("1.02", "1.2"), ("1.", "1.0")] {
            assert_eq!(cmp(a, b), Ordering::Equal, "{a} {b}");
        }
    }

    /// Makes a deterministic stream of plausible versions that differ little, so that ties and near ties abound.
    fn versions(count: usize) -> Vec<String> {
        let pieces = [
            "", "0", "1", "01", "10", "a", "b", "~", "~rc", ".", "+", "+b1", "-", "-1", ".0", "~~",
        ];
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = |limit: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % limit as u64).unwrap()
        };
        (0..count)
            .map(|_| {
                let epoch = ["", "", "0:", "1:", "02:"][next(5)];
                let tail: String = (0..next(5)).map(|_| pieces[next(pieces.len())]).collect();
                format!("{epoch}{}{}", next(3), tail.trim_end_matches('-'))
            })
            .collect()
    }

    /// `dpkg --compare-versions` decides (package dpkg).
    #[test]
    fn orders_as_dpkg_does() {
        let versions = versions(800);
        for pair in versions.chunks(2) {
            let order = cmp(&pair[0], &pair[1]);
            let operator = match order {
                Ordering::Less => "lt",
                Ordering::Equal => "eq",
                Ordering::Greater => "gt",
            };
            let output = std::process::Command::new("dpkg")
                .args(["--compare-versions", &pair[0], operator, &pair[1]])
                .output()
                .expect("this test needs dpkg (package dpkg)");
            assert!(
                output.status.success(),
                "{} {operator} {}: {output:?}",
                pair[0],
                pair[1]
            );
        }
    }

    proptest! {
        #[test]
        fn is_a_total_order(a in "[0-2a~.+:-]{0,6}", b in "[0-2a~.+:-]{0,6}", c in "[0-2a~.+:-]{0,6}") {
            prop_assert_eq!(cmp(&a, &b), cmp(&b, &a).reverse());
            if cmp(&a, &b).is_le() && cmp(&b, &c).is_le() {
                prop_assert!(cmp(&a, &c).is_le());
            }
            if cmp(&a, &b).is_eq() {
                prop_assert_eq!(cmp(&a, &c), cmp(&b, &c));
            }
        }

        #[test]
        fn never_panics(a in ".*", b in ".*") {
            let _ = cmp(&a, &b);
        }
    }
}
