//! Debian's copyright files in their machine-readable form ("Machine-readable debian/copyright file" 1.0, DEP-5).

use std::collections::HashMap;

/// The largest file that is parsed, in bytes.
pub const COPYRIGHT_BYTES_MAX: usize = 8 << 20;
/// The most licences of a package.
const LICENCES_MAX: usize = 500;
/// The directory with the texts of common licences.
const COMMON: &str = "/usr/share/common-licenses/";

/// What a machine-readable file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Copyright {
    /// The names of the licences, each once, in the order of the file.
    pub licences: Vec<String>,
    /// The texts of licences, by their names in lower case.
    texts: HashMap<String, String>,
}

impl Copyright {
    /// Parses the file `bytes`; `None` if it is of another form, which most people write in free words.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > COPYRIGHT_BYTES_MAX {
            return None;
        }
        let text = String::from_utf8_lossy(bytes);
        let mut found = Self::default();
        let mut is_first = true;
        for stanza in stanzas(&text) {
            if is_first {
                let format = field(&stanza, "Format")?;
                if !format.contains("copyright-format/1") && !format.contains("dep5") && !format.contains("dep-5") {
                    return None;
                }
                is_first = false;
            }
            let Some(licence) = field(&stanza, "License") else {
                continue;
            };
            let (name, body) = licence.split_once('\n').unwrap_or((licence, ""));
            let name = name.trim();
            if name.is_empty() {
                continue;
            }
            if !body.trim().is_empty() {
                found.texts.entry(name.to_lowercase()).or_insert_with(|| unfolded(body));
            }
            // A stanza without files only gives a text.
            let has_files = field(&stanza, "Files").is_some() || field(&stanza, "Format").is_some();
            if has_files && found.licences.len() < LICENCES_MAX && !found.licences.iter().any(|own| own == name) {
                found.licences.push(name.to_owned());
            }
        }
        (!found.licences.is_empty()).then_some(found)
    }

    /// Returns the text of the licence `name`, if the file has it.
    pub fn text(&self, name: &str) -> Option<String> {
        self.texts.get(&name.to_lowercase()).cloned()
    }
}

/// Returns the texts below `/usr/share/common-licenses` that the file `bytes` names, sorted.
pub fn common_licences(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes.get(..COPYRIGHT_BYTES_MAX).unwrap_or(bytes));
    let name = |at: usize| {
        let rest = text.get(at + COMMON.len()..)?;
        let is_end = |letter: char| !letter.is_ascii_alphanumeric() && !matches!(letter, '.' | '-');
        let name = rest.split(is_end).next()?.trim_end_matches('.');
        (!name.is_empty()).then(|| name.to_owned())
    };
    let mut found: Vec<String> = text.match_indices(COMMON).filter_map(|(at, _)| name(at)).collect();
    found.sort();
    found.dedup();
    found
}

/// Fields of a stanza, each with its value and the lines that continue it.
type Stanza<'a> = Vec<(&'a str, &'a str)>;

/// Divides `text` into stanzas (deb822(5)).
fn stanzas(text: &str) -> impl Iterator<Item = Stanza<'_>> {
    let mut lines = offsets(text).peekable();
    std::iter::from_fn(move || {
        while lines.next_if(|(_, line)| line.trim().is_empty()).is_some() {}
        lines.peek()?;
        // Start and end of each value; lines that continue it move the end.
        let mut found: Vec<(&str, usize, usize)> = Vec::new();
        while let Some((at, line)) = lines.next_if(|(_, line)| !line.trim().is_empty()) {
            let end = at + line.len();
            if line.starts_with([' ', '\t']) {
                if let Some((_, _, last)) = found.last_mut() {
                    *last = end;
                }
            } else if let Some((name, _)) = line.split_once(':') {
                found.push((name, at + name.len() + 1, end));
            }
        }
        let value = |(name, start, end)| (name, text.get(start..end).unwrap_or_default());
        Some(found.into_iter().map(value).collect())
    })
}

/// Returns the lines of `text`, each with its offset in bytes.
fn offsets(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    text.split_inclusive('\n').map(move |line| {
        let start = at;
        at += line.len();
        (start, line.trim_end_matches(['\n', '\r']))
    })
}

fn field<'a>(stanza: &Stanza<'a>, name: &str) -> Option<&'a str> {
    let found = stanza.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.trim_start_matches([' ', '\t']))
}

/// Removes what folding has added to each line: the first space, and the dot of an empty line.
fn unfolded(body: &str) -> String {
    let line = |line: &str| {
        let line = line.strip_prefix([' ', '\t']).unwrap_or(line).trim_end();
        if line == "." { String::new() } else { line.to_owned() }
    };
    body.lines().map(line).collect::<Vec<_>>().join("\n").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: x

Files: *
Copyright: 2020 A
 2021 B
License: GPL-2+ or custom

Files: debian/*
Copyright: 2022 C
License: Expat
 Permission is hereby granted
 .
 to all.

Files: c
License: GPL-2+ or custom

License: custom
 Do as
 .
  you like.
";

    #[test]
    fn licences_and_their_texts_are_found() {
        let found = Copyright::parse(FILE.as_bytes()).unwrap();
        assert_eq!(found.licences, ["GPL-2+ or custom", "Expat"]);
        assert_eq!(found.text("Custom").unwrap(), "Do as\n\n you like.");
        assert_eq!(found.text("expat").unwrap(), "Permission is hereby granted\n\nto all.");
        assert_eq!(found.text("GPL-2+"), None);
    }

    #[test]
    fn other_files_are_of_another_form() {
        let free = "This is x, under the GPL;\nsee /usr/share/common-licenses/GPL-3.\nAnd `/usr/share/common-licenses/LGPL-2.1'.";
        assert_eq!(Copyright::parse(free.as_bytes()), None);
        assert_eq!(common_licences(free.as_bytes()), ["GPL-3", "LGPL-2.1"]);
        for text in [
            "",
            "\n\n",
            "Format: y\nLicense: z\n",
            "Format: copyright-format/1.0\n",
            " x\n y",
        ] {
            assert_eq!(Copyright::parse(text.as_bytes()), None, "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_fine(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            let file = [FILE.as_bytes(), &bytes].concat();
            proptest::prop_assert!(Copyright::parse(&file).is_some());
            common_licences(&bytes);
        }
    }
}
