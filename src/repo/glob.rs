//! Name patterns of `allowPackages` (glob(7), without `/` being special).

/// Whether an entry of `allowPackages` allows the package `name`: as a pattern, or as how the
/// name begins, which is how the templates of the older tool name a family of packages.
pub(super) fn allows(entry: &str, name: &str) -> bool {
    matches(entry, name) || (!entry.contains(['*', '?', '[']) && name.starts_with(entry))
}

/// Whether `name` matches `pattern`, in which `*`, `?` and `[a-z]`, `[!a-z]` are special.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where to resume when what followed the last `*` did not match: one character later.
    let mut resume: Option<(usize, usize)> = None;
    while n < name.len() || p < pattern.len() {
        if pattern.get(p) == Some(&'*') {
            resume = Some((p + 1, n));
            p += 1;
            continue;
        }
        let step = name
            .get(n)
            .and_then(|&c| pattern.get(p..).and_then(|rest| matches_one(rest, c)));
        match (step, resume) {
            (Some(used), _) => (p, n) = (p + used, n + 1),
            (None, Some((star, from))) if from < name.len() => {
                resume = Some((star, from + 1));
                (p, n) = (star, from + 1);
            }
            (None, _) => return false,
        }
    }
    true
}

/// How many characters of `pattern` match the character `c`, if they do.
fn matches_one(pattern: &[char], c: char) -> Option<usize> {
    match pattern.first()? {
        '?' => Some(1),
        '[' => match pattern.iter().skip(2).position(|&p| p == ']') {
            None => (c == '[').then_some(1),
            Some(end) => {
                let set = pattern.get(1..end + 2)?;
                let (set, negated) = match set.split_first() {
                    Some(('!' | '^', rest)) if !rest.is_empty() => (rest, true),
                    _ => (set, false),
                };
                (in_set(set, c) != negated).then_some(end + 3)
            }
        },
        literal => (*literal == c).then_some(1),
    }
}

fn in_set(mut set: &[char], c: char) -> bool {
    loop {
        match set {
            [from, '-', to, rest @ ..] => {
                if (*from..=*to).contains(&c) {
                    return true;
                }
                set = rest;
            }
            [one, rest @ ..] => {
                if *one == c {
                    return true;
                }
                set = rest;
            }
            [] => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;

    const PATTERNS: [&str; 16] = [
        "linux-image-*",
        "*",
        "?",
        "a*b*c",
        "[a-c]x",
        "[!a-c]x",
        "[]]",
        "[",
        "[a",
        "**x",
        "lib?6",
        "",
        "a-[0-9]*",
        "[a-]x",
        "*-dev",
        "abc",
    ];
    const NAMES: [&str; 14] = [
        "linux-image-amd64",
        "",
        "a",
        "abc",
        "aXbYc",
        "aXbYcZ",
        "bx",
        "dx",
        "]",
        "[",
        "libc6",
        "a-1.2",
        "-x",
        "libx-dev",
    ];

    #[test]
    fn entries_are_names_beginnings_or_patterns() {
        assert!(allows("curl", "curl") && allows("linux-image", "linux-image-amd64") && allows("lib*6", "libc6"));
        assert!(!allows("curl", "libcurl") && !allows("lib?", "libc6"));
    }

    #[test]
    #[allow(unsafe_code)]
    fn agrees_with_fnmatch() {
        for pattern in PATTERNS {
            for name in NAMES {
                let (p, n) = (CString::new(pattern).unwrap(), CString::new(name).unwrap());
                // SAFETY: both are valid C strings that outlive the call.
                let expected = unsafe { libc::fnmatch(p.as_ptr(), n.as_ptr(), 0) } == 0;
                assert_eq!(matches(pattern, name), expected, "{pattern:?} on {name:?}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        #[allow(unsafe_code)]
        fn agrees_with_fnmatch_anywhere(pattern in "[ab*?]{0,8}", name in "[ab]{0,8}") {
            let (p, n) = (CString::new(pattern.clone()).unwrap(), CString::new(name.clone()).unwrap());
            // SAFETY: both are valid C strings that outlive the call.
            let expected = unsafe { libc::fnmatch(p.as_ptr(), n.as_ptr(), 0) } == 0;
            proptest::prop_assert_eq!(matches(&pattern, &name), expected);
        }

        #[test]
        fn any_pattern_ends_without_panic(pattern in "[a\\[\\]!^*?-]{0,12}", name in "[ab\\[\\]-]{0,12}") {
            matches(&pattern, &name);
        }
    }
}
