//! RPM's epoch, version and release, and their order (rpm-version(7)).
//!
//! Invariant: the order equals that of `rpm` itself; comparing allocates nothing.

use std::cmp::Ordering;
use std::fmt;

/// `[epoch:]version[-release]`, borrowed from the text it was read from. Any text has a place in the order.
///
/// As the version of a package it is complete. As the bound of a dependency it may lack the release;
/// see [`Evr::cmp_bound`].
#[derive(Debug, Clone, Copy)]
pub struct Evr<'a> {
    /// Digits; empty if absent, which means 0.
    pub epoch: &'a str,
    /// The version.
    pub version: &'a str,
    /// The part after the last hyphen.
    pub release: Option<&'a str>,
}

impl<'a> Evr<'a> {
    /// Splits `text` as rpm does: the epoch is the part before a colon if that has only digits.
    pub fn new(text: &'a str) -> Self {
        let (epoch, rest) = match text.split_once(':') {
            Some((epoch, rest)) if epoch.bytes().all(|byte| byte.is_ascii_digit()) => (epoch, rest),
            _ => ("", text),
        };
        let (version, release) = match rest.rsplit_once('-') {
            Some((version, release)) => (version, Some(release)),
            None => (rest, None),
        };
        Self {
            epoch,
            version,
            release,
        }
    }

    /// Compares two versions, either of which may be the bound of a dependency: a release counts only if both have one
    /// (rpm-dependencies(7)).
    pub fn cmp_bound(&self, other: &Self) -> Ordering {
        match (self.release, other.release) {
            (Some(_), Some(_)) => self.cmp(other),
            _ => compare(
                &Self { release: None, ..*self },
                &Self {
                    release: None,
                    ..*other
                },
            ),
        }
    }
}

/// Compares epochs, then versions, then releases.
fn compare(a: &Evr<'_>, b: &Evr<'_>) -> Ordering {
    // Numbers of any length: the longer one is greater.
    let (first, second) = (a.epoch.trim_start_matches('0'), b.epoch.trim_start_matches('0'));
    (first.len(), first)
        .cmp(&(second.len(), second))
        .then_with(|| compare_part(a.version, b.version))
        .then_with(|| compare_part(a.release.unwrap_or_default(), b.release.unwrap_or_default()))
}

/// Compares two versions, or two releases, segment by segment.
fn compare_part(a: &str, b: &str) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    rpm_version::Evr::new("", a, "").cmp(&rpm_version::Evr::new("", b, ""))
}

impl Ord for Evr<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(self, other)
    }
}

compared_by_ord!(Evr);

impl fmt::Display for Evr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.epoch.is_empty() {
            write!(f, "{}:", self.epoch)?;
        }
        f.write_str(self.version)?;
        match self.release {
            Some(release) => write!(f, "-{release}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fmt::Write as _;

    fn cmp(a: &str, b: &str) -> Ordering {
        Evr::new(a).cmp(&Evr::new(b))
    }

    #[test]
    fn parts_are_told_apart_as_rpm_does() {
        let parts = |text| {
            let Evr {
                epoch,
                version,
                release,
            } = Evr::new(text);
            (epoch, version, release)
        };
        assert_eq!(parts("1:2.0-3"), ("1", "2.0", Some("3")));
        assert_eq!(parts("2.0"), ("", "2.0", None));
        assert_eq!(parts(":2.0"), ("", "2.0", None));
        assert_eq!(parts("a:2.0-1"), ("", "a:2.0", Some("1")));
        assert_eq!(parts("1-2-3"), ("", "1-2", Some("3")));
        assert_eq!(Evr::new("1:2.0-3").to_string(), "1:2.0-3");
    }

    #[test]
    fn a_bound_without_release_takes_every_release() {
        let bound = |a, b| Evr::new(a).cmp_bound(&Evr::new(b));
        assert_eq!(bound("1.0-5", "1.0"), Ordering::Equal);
        assert_eq!(bound("1.0-5", "1.0-6"), Ordering::Less);
        assert_eq!(bound("1:1.0-5", "1.0"), Ordering::Greater);
        assert_eq!(bound("0:1.0-5", "1.0"), Ordering::Equal);
    }

    /// Makes plausible versions that differ little, so that ties and near ties abound; deterministic.
    fn versions(count: usize) -> Vec<String> {
        let pieces = [
            "", "0", "1", "01", "10", "a", "b", "~", "~rc", ".", "_", "+b1", "^", "^git1", ".0", "~~", "..", "A",
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
                let mut part = |limit| -> String { (0..next(limit)).map(|_| pieces[next(pieces.len())]).collect() };
                let (version, release) = (part(6), part(3));
                let (epoch, first) = (["", "", "0:", "1:", "01:"][next(5)], ["0", "1", "2", "x"][next(4)]);
                format!("{epoch}{first}{version}-{}{release}", ["1", "2.a"][next(2)])
            })
            .collect()
    }

    /// rpm's own comparison decides (package rpm): 8,000 pairs in one run of its Lua interpreter.
    #[test]
    fn orders_as_rpm_does() {
        let mut versions = versions(16_000);
        // Every fourth pair differs in nothing that counts, or nearly so.
        for pair in versions.chunks_mut(2).step_by(4) {
            pair[1] = pair[0].replace('.', "_").replace('1', "01");
        }
        let mut script = String::new();
        for pair in versions.chunks(2) {
            writeln!(script, "print(rpm.vercmp({:?}, {:?}) .. \"\\n\")", pair[0], pair[1]).unwrap();
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("compare.lua");
        std::fs::write(&path, script).unwrap();
        let output = std::process::Command::new("rpm")
            .arg("--eval")
            .arg(format!("%{{lua: dofile({:?}) }}", path.to_str().unwrap()))
            .env("LC_ALL", "C.UTF-8")
            .output()
            .expect("this test needs rpm (package rpm)");
        assert!(output.status.success(), "{output:?}");
        let answers = String::from_utf8(output.stdout).unwrap();
        let answers: Vec<i32> = answers.lines().filter_map(|line| line.parse().ok()).collect();
        assert_eq!(answers.len(), versions.len() / 2);
        let mut seen = [0; 3];
        for (pair, answer) in versions.chunks(2).zip(answers) {
            let order = cmp(&pair[0], &pair[1]);
            assert_eq!(order as i32, answer, "{:?} {:?}", pair[0], pair[1]);
            seen[usize::try_from(answer + 1).unwrap()] += 1;
        }
        assert!(seen.iter().all(|count| *count > 100), "{seen:?}");
    }

    proptest! {
        #[test]
        fn is_reflexive_and_antisymmetric(a in "[0-2a~.^:-]{0,6}", b in "[0-2a~.^:-]{0,6}") {
            prop_assert_eq!(cmp(&a, &a), Ordering::Equal);
            prop_assert_eq!(cmp(&a, &b), cmp(&b, &a).reverse());
        }

        #[test]
        fn never_panics(a in ".*", b in ".*") {
            let _ = cmp(&a, &b);
            let _ = Evr::new(&a).cmp_bound(&Evr::new(&b));
        }
    }
}
