//! Text from outside, safe to show: names in packages, output of scripts, answers of servers. A terminal obeys control
//! characters, and others are invisible or turn the order of a line around, so that it reads as something else.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};

/// Characters that no terminal shows, beside the control characters: the general categories Cf, Zl and Zp without the
/// marks that have a shape, and the other ones with the property `Default_Ignorable_Code_Point` (Unicode 16, UAX #44).
const INVISIBLE: &[(char, char)] = &[
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{2028}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffb}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
];

/// Returns whether a terminal obeys `character` or does not show it. Line ends and tabs are among them.
pub fn is_hidden(character: char) -> bool {
    let within = |(first, last): &(char, char)| (*first..=*last).contains(&character);
    // The table is for the few characters that are not common.
    character.is_control() || character >= '\u{ad}' && INVISIBLE.iter().any(within)
}

/// Returns `text` with its hidden characters as `\u{202e}`, except for line ends and tabs.
pub fn visible(text: &str) -> Cow<'_, str> {
    replaced(text, |character, out| {
        out.extend(character.escape_default());
    })
}

/// Returns the JSON text `json` with its hidden characters as `\u202e`, which means the same.
pub fn visible_json(json: &str) -> Cow<'_, str> {
    replaced(json, |character, out| {
        for unit in character.encode_utf16(&mut [0; 2]) {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\u{unit:04x}");
        }
    })
}

/// Replaces the hidden characters of `text`, except for line ends and tabs, by what `escape` appends.
fn replaced(text: &str, escape: impl Fn(char, &mut String)) -> Cow<'_, str> {
    let is_escaped = |character: char| is_hidden(character) && !matches!(character, '\n' | '\t');
    if !text.contains(is_escaped) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match is_escaped(character) {
            true => escape(character, &mut out),
            false => out.push(character),
        }
    }
    out.into()
}

/// Passes text on as [`visible`] makes it. Each call of `write` takes whole characters.
#[derive(Debug)]
pub struct Visible<W> {
    writer: W,
    keeps_colours: bool,
}

impl<W> Visible<W> {
    /// Makes all text for `writer` visible. With `keeps_colours`, sequences that select a colour pass: the text must
    /// not have any from outside.
    pub fn new(writer: W, keeps_colours: bool) -> Self {
        Self { writer, keeps_colours }
    }
}

impl<W: Write> Write for Visible<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let mut rest = &*text;
        while !rest.is_empty() {
            let colour = if self.keeps_colours { colour_bytes(rest) } else { 0 };
            if colour > 0 {
                let (sequence, behind) = rest.split_at(colour);
                self.writer.write_all(sequence.as_bytes())?;
                rest = behind;
                continue;
            }
            // Up to the next sequence; what only looks like one is text.
            let next = rest.char_indices().skip(1).find(|(_, character)| *character == '\x1b');
            let (part, behind) = rest.split_at(next.map_or(rest.len(), |(at, _)| at));
            self.writer.write_all(visible(part).as_bytes())?;
            rest = behind;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Returns the length of the sequence at the start of `text` that selects a colour (ECMA-48, SGR); 0 without one.
fn colour_bytes(text: &str) -> usize {
    let Some(rest) = text.strip_prefix("\x1b[") else {
        return 0;
    };
    let digits = rest
        .bytes()
        .take_while(|byte| byte.is_ascii_digit() || *byte == b';')
        .count();
    match rest.as_bytes().get(digits) {
        Some(b'm') => digits + 3,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn hidden_characters_are_escaped_and_others_stay() {
        for (text, expected) in [
            ("Größe 日本 e\u{301} 👍\tend\n", "Größe 日本 e\u{301} 👍\tend\n"),
            ("\x1b[2J\x07\r", "\\u{1b}[2J\\u{7}\\r"),
            ("\x7f\u{9b}2J", "\\u{7f}\\u{9b}2J"),
            ("a\u{202e}cod.exe", "a\\u{202e}cod.exe"),
            ("\u{2066}x\u{2069}", "\\u{2066}x\\u{2069}"),
            ("pass\u{200b}word\u{feff}", "pass\\u{200b}word\\u{feff}"),
            ("\u{e0041}", "\\u{e0041}"),
        ] {
            assert_eq!(visible(text), expected);
            let json = serde_json::to_string(text).unwrap();
            let shown = visible_json(&json);
            assert!(!shown.contains(is_hidden), "{shown}");
            assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
        }
    }

    #[test]
    fn a_writer_keeps_colours_only_where_it_may() {
        let written = |text: &str, keeps_colours| {
            let mut writer = Visible::new(Vec::new(), keeps_colours);
            writer.write_all(text.as_bytes()).unwrap();
            String::from_utf8(writer.writer).unwrap()
        };
        let text = "\x1b[1;33mWARN\x1b[0m \x1b]0;title\x07 \x1b[2J\u{202e}\x1b";
        let escaped = "\\u{1b}]0;title\\u{7} \\u{1b}[2J\\u{202e}\\u{1b}";
        assert_eq!(written(text, true), format!("\x1b[1;33mWARN\x1b[0m {escaped}"));
        assert_eq!(
            written(text, false),
            format!("\\u{{1b}}[1;33mWARN\\u{{1b}}[0m {escaped}")
        );
    }

    /// Compares the table with the categories in Python's database. The marks of Arabic, Syriac and Kaithi that it calls
    /// format characters have a shape.
    #[test]
    fn the_table_has_all_format_characters() {
        let script = "import sys, unicodedata
shaped = {*range(0x600, 0x606), 0x6dd, 0x70f, 0x890, 0x891, 0x8e2, 0x110bd, 0x110cd}
print(*[c for c in range(0x110000) if unicodedata.category(chr(c)) in ('Cc', 'Cf', 'Zl', 'Zp') and c not in shaped])";
        let output = Command::new("python3").args(["-c", script]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let listed: Vec<char> = text
            .split_whitespace()
            .map(|number| char::from_u32(number.parse().unwrap()).unwrap())
            .collect();
        assert!(listed.len() > 200, "{output:?}", output = listed.len());
        assert_eq!(listed.iter().find(|character| !is_hidden(**character)), None);
    }
}
