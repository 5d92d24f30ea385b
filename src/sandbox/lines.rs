//! Cuts a stream of bytes into lines of text, however long they are.

use std::io::{ErrorKind, Read};

/// Longest piece of a line, in bytes; longer lines are cut into pieces of this size.
pub const LIMIT_BYTES: usize = 64 << 10;

/// Reads `source` to its end and calls `emit` for every line: without its end, invalid UTF-8 replaced, and of what a
/// carriage return overwrites only the last.
pub fn read_lines(mut source: impl Read, mut emit: impl FnMut(String)) {
    let mut pending = Vec::new();
    let mut buffer = vec![0; 16 << 10];
    loop {
        let count = match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        for piece in buffer
            .get(..count)
            .unwrap_or_default()
            .split_inclusive(|&byte| byte == b'\n')
        {
            pending.extend_from_slice(piece);
            if piece.ends_with(b"\n") || pending.len() >= LIMIT_BYTES {
                emit(to_line(&pending));
                pending.clear();
            }
        }
    }
    if !pending.is_empty() {
        emit(to_line(&pending));
    }
}

fn to_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end_matches(['\n', '\r']);
    text.rsplit('\r').next().unwrap_or(text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        read_lines(bytes, |line| lines.push(line));
        lines
    }

    #[test]
    fn lines_are_cut_at_newlines_only() {
        assert_eq!(lines(b"a\r\n\n10%\r50%\rdone\nlast"), ["a", "", "done", "last"]);
        assert_eq!(lines(b"\xff\n"), ["\u{fffd}"]);
        assert!(lines(b"").is_empty());
    }

    #[test]
    fn an_endless_line_is_cut() {
        let lines = lines(&vec![b'x'; 200_000]);
        assert!(lines.len() > 1);
        assert_eq!(lines.iter().map(String::len).sum::<usize>(), 200_000);
    }
}
