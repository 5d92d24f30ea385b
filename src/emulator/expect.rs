//! The search for texts in what a console says.

use regex::bytes::{Regex, RegexBuilder};

/// The longest line that is searched, in bytes; a longer one is cut.
const LINE_BYTES_MAX: usize = 64 << 10;
/// The byte that begins the control sequences of terminals (ECMA-48, section 5.3).
const ESCAPE: u8 = 0x1b;

/// Looks for regular expressions in the lines of a stream, one after the other. The control sequences of terminals are no
/// part of a line, and neither are its carriage returns. The last line is searched before it is complete: a prompt never is.
#[derive(Debug)]
pub struct Expect {
    /// The expressions that were not seen yet, the next one last.
    left: Vec<Regex>,
    line: Vec<u8>,
    state: State,
    /// Where the search of the current line begins, in bytes.
    from: usize,
}

/// The place in a control sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Outside of any.
    Text,
    /// Behind the escape.
    Escape,
    /// In a control sequence, which ends with a byte from `@` to `~`.
    Control,
    /// In a command string, which ends with BEL or another escape.
    String,
}

impl Expect {
    /// Looks for `patterns`, in this order.
    ///
    /// # Errors
    /// If one of them is no regular expression.
    pub fn new(patterns: &[String]) -> Result<Self, regex::Error> {
        let compile = |pattern: &String| RegexBuilder::new(pattern).unicode(false).build();
        Ok(Self {
            left: patterns.iter().rev().map(compile).collect::<Result<_, _>>()?,
            line: Vec::new(),
            state: State::Text,
            from: 0,
        })
    }

    /// Takes the next `bytes` of the stream. Returns whether all expressions were seen.
    pub fn feed(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            self.take(*byte);
        }
        self.search();
        self.left.is_empty()
    }

    /// Names the expression that is looked for.
    pub fn missing(&self) -> Option<&str> {
        self.left.last().map(Regex::as_str)
    }

    fn take(&mut self, byte: u8) {
        self.state = match (self.state, byte) {
            (State::Text | State::String, ESCAPE) => State::Escape,
            (State::Text, b'\n') => {
                self.search();
                self.line.clear();
                self.from = 0;
                State::Text
            }
            (State::Text, b'\r') => State::Text,
            (State::Text, byte) => {
                if self.line.len() < LINE_BYTES_MAX {
                    self.line.push(byte);
                }
                State::Text
            }
            (State::Escape, b'[') => State::Control,
            (State::Escape, b']' | b'P') => State::String,
            (State::Control, byte) if !(0x40..0x7f).contains(&byte) => State::Control,
            (State::String, byte) if byte != 0x07 => State::String,
            _ => State::Text,
        };
    }

    fn search(&mut self) {
        while let Some(found) = self
            .left
            .last()
            .and_then(|wanted| wanted.find_at(&self.line, self.from))
        {
            self.from = found.end();
            self.left.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expect(patterns: &[&str]) -> Expect {
        let patterns: Vec<String> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        Expect::new(&patterns).unwrap()
    }

    #[test]
    fn lines_are_searched_however_the_stream_is_cut() {
        let stream =
            b"\x1b[2J\x1b[01;01HBdsDxe\r\n[\x1b[0;32m  OK  \x1b[0m] Reached target \x1b[0;1;39mLogin\x1b[0m.\r\n\
            \x1b]0;title\x07box login: ";
        for cut in 1..stream.len() {
            let mut expect = expect(&[r"^\[  OK  \] Reached target Login\.$", r"^box login: $"]);
            let seen: Vec<bool> = stream.chunks(cut).map(|chunk| expect.feed(chunk)).collect();
            assert_eq!(seen.iter().position(|seen| *seen), Some(seen.len() - 1), "{cut}");
        }
    }

    #[test]
    fn texts_are_expected_in_their_order() {
        let mut one = expect(&["a", "b"]);
        assert!(!one.feed(b"b then "));
        assert_eq!(one.missing(), Some("a"));
        assert!(!one.feed(b"a"));
        assert_eq!(one.missing(), Some("b"));
        // The `b` came before.
        assert!(!one.feed(b"\n"));
        assert!(one.feed(b"b"));
        assert!(expect(&["a", "a"]).feed(b"aa"));
        assert!(!expect(&["a", "a"]).feed(b"a"));
        assert!(!expect(&["first.*second"]).feed(b"first\nsecond\n"));
    }

    #[test]
    fn no_stream_takes_memory_or_panics() {
        let mut one = expect(&["x$"]);
        for _ in 0..100 {
            one.feed(&[b'y'; 10_000]);
        }
        assert!(one.line.len() <= LINE_BYTES_MAX);
        assert!(!one.feed(b"\x1b"));
        assert!(!one.feed(&(0..=255).collect::<Vec<u8>>()));
        assert!(Expect::new(&["(".to_owned()]).is_err());
        // Bytes that are no text, and classes that depend on Unicode.
        assert!(expect(&[r"^\xff\d\w$"]).feed(b"\n\xff1a"));
    }
}
