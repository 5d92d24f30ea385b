//! Shell patterns over package names: `*`, `?`, `[a-z]`, `[!a-z]` (glob(7), without a meaning for `/`).

/// Returns whether `text` has any of the characters that make it a pattern.
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Returns whether the whole of `name` matches `pattern`. An unclosed `[` stands for itself.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut done) = (0, 0);
    // Where to go on when a star has to take one more byte.
    let mut retry = None;
    while done < name.len() {
        match step(&pattern[at..], name[done]) {
            Step::Star => {
                at += 1;
                retry = Some((at, done));
            }
            Step::Taken(length) => {
                at += length;
                done += 1;
            }
            Step::Differs => {
                let Some((star, taken)) = retry else { return false };
                (at, done) = (star, taken + 1);
                retry = Some((star, taken + 1));
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// The answer of the head of a pattern to one byte.
enum Step {
    Star,
    /// It matches; the number is the length of this head in bytes.
    Taken(usize),
    Differs,
}

fn step(pattern: &[u8], byte: u8) -> Step {
    match pattern {
        [] => Step::Differs,
        [b'*', ..] => Step::Star,
        [b'?', ..] => Step::Taken(1),
        [b'[', rest @ ..] => match class(rest, byte) {
            Some((length, true)) => Step::Taken(length + 1),
            Some((_, false)) => Step::Differs,
            None if byte == b'[' => Step::Taken(1),
            None => Step::Differs,
        },
        [literal, ..] if *literal == byte => Step::Taken(1),
        _ => Step::Differs,
    }
}

/// Returns the length in bytes of the class with its `]`, and whether it has `byte`.
fn class(rest: &[u8], byte: u8) -> Option<(usize, bool)> {
    let negated = matches!(rest, [b'!' | b'^', ..]);
    let body = &rest[usize::from(negated)..];
    // A `]` in the first place is a member.
    let end = 1 + body.get(1..)?.iter().position(|other| *other == b']')?;
    let (mut members, mut found) = (&body[..end], false);
    while let [first, tail @ ..] = members {
        (found, members) = match tail {
            [b'-', last, tail @ ..] => (found || (*first..=*last).contains(&byte), tail),
            _ => (found || *first == byte, tail),
        };
    }
    Some((usize::from(negated) + end + 1, found != negated))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::ffi::CString;

    const PATTERNS: [&str; 22] = [
        "linux-image-*",
        "linux-image-*-amd64",
        "python3.?",
        "*",
        "?",
        "a*b*c",
        "[a-c]x",
        "[!a-c]x",
        "[^a-c]x",
        "[]]",
        "[]]x",
        "[",
        "[a",
        "a[",
        "**x",
        "lib?6",
        "lib[!a-c]z",
        "",
        "a-[0-9]*",
        "[a-]x",
        "*-dev",
        "abc",
    ];
    const NAMES: [&str; 20] = [
        "linux-image-amd64",
        "linux-image-6.12-amd64",
        "linux-image-6.12-arm64",
        "python3.1",
        "python3.13",
        "",
        "a",
        "a[",
        "abc",
        "aXbYc",
        "aXbYcZ",
        "bx",
        "dx",
        "]",
        "]x",
        "[",
        "libc6",
        "libdz",
        "a-1.2",
        "libx-dev",
    ];

    /// Returns the answer of fnmatch(3).
    #[allow(unsafe_code)]
    fn oracle(pattern: &str, name: &str) -> bool {
        let (p, n) = (CString::new(pattern).unwrap(), CString::new(name).unwrap());
        // SAFETY: both are valid C strings that outlive the call.
        unsafe { libc::fnmatch(p.as_ptr(), n.as_ptr(), 0) == 0 }
    }

    #[test]
    fn agrees_with_fnmatch() {
        for pattern in PATTERNS {
            for name in NAMES {
                assert_eq!(matches(pattern, name), oracle(pattern, name), "{pattern:?} on {name:?}");
            }
        }
        assert!(is_pattern("a*") && !is_pattern("a+b.c"));
    }

    proptest! {
        #[test]
        fn agrees_with_fnmatch_anywhere(pattern in "[ab*?]{0,8}", name in "[ab]{0,8}") {
            prop_assert_eq!(matches(&pattern, &name), oracle(&pattern, &name));
        }

        #[test]
        fn never_panics_and_stars_take_all(pattern in "[a\\[\\]!^*?-]{0,12}", name in "[ab]{0,10}") {
            let _ = matches(&pattern, &name);
            let everything = format!("*{}*", name);
            prop_assert!(matches(&everything, &name));
        }
    }
}
