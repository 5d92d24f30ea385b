//! Text in GRUB's scripts and in files of a shell (GRUB manual, "Shell-like scripting"; POSIX.1-2024, "Shell Command
//! Language", 2.2).

/// The reason why GRUB cannot hand a command line to a kernel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unpassable {
    /// It has a character before which GRUB puts a backslash.
    #[error("GRUB changes {0:?} on its way to the kernel")]
    Character(char),
    /// A quotation mark is neither around a word nor around its value.
    #[error("{0:?} is not quoted as a kernel reads it: \"a word\" or key=\"a value\"")]
    Quotes(String),
}

/// Writes the kernel command line `text` as words of a GRUB script.
///
/// GRUB takes the words, puts quotation marks around those with spaces, and a backslash before each of `"`, `'` and `\`
/// (`grub-core/lib/cmdline.c`). So `key="a value"` becomes one word without quotation marks; the kernel reads
/// `"key=a value"` as the same (`next_arg` in its `lib/cmdline.c`).
///
/// # Errors
/// [`Unpassable`] if the kernel would get another text.
pub fn command_line(text: &str) -> Result<String, Unpassable> {
    if let Some(changed) = text.chars().find(|c| matches!(c, '\'' | '\\')) {
        return Err(Unpassable::Character(changed));
    }
    let words: Result<Vec<String>, Unpassable> = kernel_words(text).map(|word| Ok(self::word(plain(word)?))).collect();
    Ok(words?.join(" "))
}

/// Splits `text` at blanks outside of quotation marks.
fn kernel_words(text: &str) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    let words = text.split(move |c: char| {
        is_quoted ^= c == '"';
        !is_quoted && c.is_ascii_whitespace()
    });
    words.filter(|word| !word.is_empty())
}

/// Returns `word` without its quotation marks.
fn plain(word: &str) -> Result<String, Unpassable> {
    let refuse = || Unpassable::Quotes(word.to_owned());
    let Some((before, rest)) = word.split_once('"') else {
        return Ok(word.to_owned());
    };
    let is_value = |key: &str| key.strip_suffix('=').is_some_and(|key| !key.contains('='));
    let inner = rest.strip_suffix('"').filter(|inner| !inner.contains('"'));
    match inner {
        Some(inner) if before.is_empty() || is_value(before) => Ok(format!("{before}{inner}")),
        _ => Err(refuse()),
    }
}

/// Writes `text` as one word of a GRUB script, quoted only if that is needed.
pub fn word(text: impl AsRef<str>) -> String {
    let text = text.as_ref();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,+@%".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_owned(),
        false => single(text),
    }
}

/// Writes `text` between single quotation marks, which scripts of GRUB and of a shell read in the same way.
pub fn single(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Writes `text` as the value of a variable in a file of a shell.
pub fn shell(text: &str) -> String {
    match text.contains(['"', '$', '`', '\\', '!']) {
        true => single(text),
        false => format!("\"{text}\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_gets_the_same_words() {
        for (text, expected) in [
            ("", ""),
            ("  quiet   console=ttyS0,115200n8 ", "quiet console=ttyS0,115200n8"),
            ("a=$(reboot);b|c&d>e<f{g}#h", "'a=$(reboot);b|c&d>e<f{g}#h'"),
            ("dyndbg=\"file a.c +p\" ro", "'dyndbg=file a.c +p' ro"),
            ("\"key=a b\"", "'key=a b'"),
            ("a=\"b\"", "a=b"),
            ("a=b=\"c\"", "Quotes(\"a=b=\\\"c\\\"\")"),
            ("a\"b\"", "Quotes(\"a\\\"b\\\"\")"),
            ("a=\"b\"c", "Quotes(\"a=\\\"b\\\"c\")"),
            ("a=\"b c", "Quotes(\"a=\\\"b c\")"),
            ("a='b'", "Character('\\'')"),
            ("a=\\x20", "Character('\\\\')"),
            ("x=*?[a] ~", "'x=*?[a]' '~'"),
        ] {
            let got = command_line(text).unwrap_or_else(|error| format!("{error:?}"));
            assert_eq!(got, expected, "{text}");
        }
    }

    /// A shell gives back what was quoted.
    #[test]
    fn a_shell_reads_it_back() {
        for text in ["", "a b", "$(touch x) `y` \\ \" ' !z", "'; reboot; '", "ä\t#"] {
            for quoted in [single(text), shell(text)] {
                let script = format!("v={quoted}; printf '%s' \"$v\"");
                let output = std::process::Command::new("/bin/sh")
                    .args(["-c", &script])
                    .output()
                    .unwrap();
                assert_eq!(String::from_utf8_lossy(&output.stdout), text, "{quoted}");
            }
        }
    }
}
