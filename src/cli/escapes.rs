//! Sequences that a terminal obeys: links behind paths, and notifications of the desktop. Only this module writes them; all
//! other text is shown escaped.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};

use crate::terminal;

/// The shortest build whose end is worth a notification: users look away from longer ones.
const NOTICED_FROM: Duration = Duration::from_secs(10);

/// Returns `path` as text that standard output shows: as a link to its file where a terminal reads it.
pub fn path(path: &Path) -> String {
    let text = path.display().to_string();
    let shown = terminal::visible(&text);
    let stdout = io::stdout();
    // The variables that forbid colours forbid this too: NO_COLOR, TERM=dumb.
    match stdout.is_terminal() && AutoStream::choice(&stdout) != ColorChoice::Never && path.is_absolute() {
        true => link(path, &shown, &host()),
        false => shown.into_owned(),
    }
}

/// Asks the desktop, by way of the terminal at standard error, to say `text`, if the work took at least ten seconds.
pub fn notify(text: &str, took: Duration) {
    let mut stderr = io::stderr().lock();
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    if took >= NOTICED_FROM && stderr.is_terminal() && !is_dumb {
        let _ = stderr.write_all(notification(text).as_bytes());
    }
}

/// Makes the sequence that says `text` (OSC 9, as iTerm2, Windows Terminal and others take it).
fn notification(text: &str) -> String {
    format!("\x1b]9;{}\x07", terminal::visible(text).replace('\n', " "))
}

/// Makes a link to `path` on `host` with the text `shown` (OSC 8, "Hyperlinks in terminal emulators"). Its address is of
/// the file scheme (RFC 8089).
fn link(path: &Path, shown: &str, host: &str) -> String {
    let mut address = format!("file://{host}");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                address.push(char::from(*byte))
            }
            // Writing to a String cannot fail.
            other => drop(write!(address, "%{other:02X}")),
        }
    }
    format!("\x1b]8;;{address}\x1b\\{shown}\x1b]8;;\x1b\\")
}

/// Returns the name of this host, which tells a terminal of another one that the file is not there.
fn host() -> String {
    let name = nix::unistd::gethostname().unwrap_or_default();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    name.into_string()
        .ok()
        .filter(|name| name.chars().all(is_plain))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn no_path_ends_its_link_or_begins_another() {
        let path = Path::new(OsStr::from_bytes(b"/a b/\x1b]8;;http://evil\x07/\xff%"));
        let shown = terminal::visible(&path.display().to_string()).into_owned();
        let linked = link(path, &shown, "h");
        assert_eq!(
            linked,
            "\x1b]8;;file://h/a%20b/%1B%5D8%3B%3Bhttp%3A//evil%07/%FF%25\x1b\\/a b/\\u{1b}]8;;http://evil\\u{7}/\u{fffd}%\x1b]8;;\x1b\\"
        );
        assert!(host().is_ascii());
    }

    #[test]
    fn a_notification_is_one_sequence() {
        assert_eq!(notification("a\x07b\nc\x1b\\"), "\x1b]9;a\\u{7}b c\\u{1b}\\\x07");
    }
}
