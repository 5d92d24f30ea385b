//! Sequences that a terminal obeys: links behind paths, and notifications of the desktop. Only this module writes them; all
//! other text is shown escaped.

use std::ffi::OsStr;
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
    match takes_links(stdout.is_terminal(), AutoStream::choice(&stdout)) && path.is_absolute() {
        true => link(path, &shown, &host()),
        false => shown.into_owned(),
    }
}

/// Returns whether an output gets links: a terminal does, unless a variable that forbids colours (NO_COLOR, TERM=dumb)
/// has made this the `choice` of colours.
fn takes_links(is_terminal: bool, choice: ColorChoice) -> bool {
    is_terminal && choice != ColorChoice::Never
}

/// Asks the desktop, by way of the terminal at standard error, to say `text`, if the user `asked` for it and the work
/// took at least ten seconds.
pub fn notify(asked: bool, text: &str, took: Duration) {
    let mut stderr = io::stderr().lock();
    let term = std::env::var_os("TERM");
    if asked && is_noticed(took, stderr.is_terminal(), term.as_deref()) {
        let _ = stderr.write_all(notification(text).as_bytes());
    }
}

/// Returns whether a terminal of the kind `term` gets a notification at the end of work that took so long.
fn is_noticed(took: Duration, is_terminal: bool, term: Option<&OsStr>) -> bool {
    took >= NOTICED_FROM && is_terminal && term.is_some_and(|term| term != "dumb")
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
    fn links_are_for_terminals_that_may_have_colours() {
        assert!(takes_links(true, ColorChoice::Always) && takes_links(true, ColorChoice::AlwaysAnsi));
        assert!(!takes_links(true, ColorChoice::Never), "NO_COLOR");
        // CLICOLOR_FORCE makes no terminal of a file.
        assert!(!takes_links(false, ColorChoice::Always) && !takes_links(false, ColorChoice::Never));
    }

    #[test]
    fn work_of_ten_seconds_is_noticed_at_a_terminal() {
        let xterm = Some(OsStr::new("xterm"));
        let seconds = Duration::from_secs;
        assert!(is_noticed(seconds(10), true, xterm) && is_noticed(seconds(3600), true, xterm));
        assert!(!is_noticed(seconds(10) - Duration::from_nanos(1), true, xterm));
        assert!(!is_noticed(seconds(60), false, xterm), "no terminal");
        assert!(!is_noticed(seconds(60), true, Some(OsStr::new("dumb"))));
        assert!(!is_noticed(seconds(60), true, None));
    }

    #[test]
    fn a_notification_is_one_sequence() {
        assert_eq!(notification("a\x07b\nc\x1b\\"), "\x1b]9;a\\u{7}b c\\u{1b}\\\x07");
    }
}
