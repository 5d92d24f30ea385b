//! The syntax that Debian's control files share (deb822(5)): stanzas of
//! `Name: value` fields, continued by lines that begin with a blank.

/// A syntax error with its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}{}: {reason}", of(.package))]
pub struct ParseError {
    /// Line of the text, counted from 1.
    pub line: usize,
    /// Name of the package of the stanza, if it was already known.
    pub package: Option<String>,
    /// The mistake, in words.
    pub reason: String,
}

fn of(package: &Option<String>) -> String {
    package
        .as_ref()
        .map(|name| format!(" (package {name:?})"))
        .unwrap_or_default()
}

impl ParseError {
    /// Makes an error at `line` that belongs to no package.
    pub fn at(line: usize, reason: impl Into<String>) -> Self {
        Self {
            line,
            package: None,
            reason: reason.into(),
        }
    }
}

/// One field of a stanza.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// Line that it begins on, counted from 1.
    pub line: usize,
    /// Its name as written; compared without case.
    pub name: &'a str,
    /// Its value without surrounding blanks; continuation lines keep their line ends.
    pub value: &'a str,
}

/// A piece of a control file, as a [`Scanner`] returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token<'a> {
    /// A field of the current stanza.
    Field(Field<'a>),
    /// The current stanza, which had at least one field, is over.
    End {
        /// Its bytes in the text, without the empty line that ends it.
        range: std::ops::Range<usize>,
    },
}

/// Splits a text into fields and stanzas, without copying.
#[derive(Debug, Clone)]
pub struct Scanner<'a> {
    text: &'a str,
    position: usize,
    line: usize,
    stanza: Option<usize>,
    comments: bool,
}

impl<'a> Scanner<'a> {
    /// Makes a scanner of `text`, in which comments are an error.
    pub fn new(text: &'a str) -> Self {
        Self {
            text,
            position: 0,
            line: 0,
            stanza: None,
            comments: false,
        }
    }

    /// Makes a scanner of `text` that skips lines that begin with `#`.
    pub fn with_comments(text: &'a str) -> Self {
        Self {
            comments: true,
            ..Self::new(text)
        }
    }

    /// Returns the number of the line that was read last, counted from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Returns the next token, or `None` at the end of the text.
    ///
    /// # Errors
    /// [`ParseError`] for a line that is neither a field, a continuation nor empty.
    pub fn token(&mut self) -> Result<Option<Token<'a>>, ParseError> {
        loop {
            let start = self.position;
            let Some(line) = self.take_line() else {
                return Ok(self.end_stanza(self.text.len()));
            };
            if is_blank(line) {
                match self.end_stanza(start) {
                    None => continue,
                    end => return Ok(end),
                }
            }
            if self.comments && line.starts_with('#') {
                continue;
            }
            self.stanza.get_or_insert(start);
            return self.field(start, line).map(|field| Some(Token::Field(field)));
        }
    }

    fn end_stanza(&mut self, end: usize) -> Option<Token<'a>> {
        self.stanza.take().map(|start| Token::End { range: start..end })
    }

    fn field(&mut self, start: usize, first: &'a str) -> Result<Field<'a>, ParseError> {
        let line = self.line;
        let colon = first.bytes().position(|byte| byte == b':');
        let name = colon
            .and_then(|colon| first.get(..colon))
            .filter(|name| is_field_name(name));
        let Some(name) = name else {
            let shown: String = first.chars().take(60).collect();
            return Err(ParseError::at(
                line,
                format!("expected \"Field: value\", found {shown:?}"),
            ));
        };
        while self.next_continues() {
            self.take_line();
        }
        let value = self.text.get(start + name.len() + 1..self.position).unwrap_or_default();
        Ok(Field {
            line,
            name,
            value: trim(value),
        })
    }

    /// Returns whether the next line belongs to the field before it.
    fn next_continues(&self) -> bool {
        match self.text.as_bytes().get(self.position) {
            Some(b' ' | b'\t') => !is_blank(
                self.text
                    .get(self.position..)
                    .and_then(|t| t.lines().next())
                    .unwrap_or(""),
            ),
            Some(b'#') => self.comments,
            _ => false,
        }
    }

    fn take_line(&mut self) -> Option<&'a str> {
        let rest = self.text.get(self.position..).filter(|rest| !rest.is_empty())?;
        let length = rest.find('\n').unwrap_or(rest.len());
        self.position = self.text.len().min(self.position + length + 1);
        self.line += 1;
        rest.get(..length)
    }
}

fn is_blank(line: &str) -> bool {
    line.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
}

/// Removes surrounding ASCII blanks; other Unicode blanks are content.
fn trim(value: &str) -> &str {
    value.trim_matches([' ', '\t', '\r', '\n'])
}

/// Returns whether `name` is printable ASCII without `:`, not beginning with `#` or `-` (deb822(5), "Fields").
fn is_field_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with(['#', '-']) && name.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(mut scanner: Scanner<'_>) -> Result<Vec<String>, ParseError> {
        let mut found = Vec::new();
        while let Some(token) = scanner.token()? {
            found.push(match token {
                Token::Field(field) => format!("{}:{}={}", field.line, field.name, field.value),
                Token::End { range } => format!("{}..{}", range.start, range.end),
            });
        }
        Ok(found)
    }

    #[test]
    fn splits_fields_and_stanzas() {
        let text = "\n\nA: 1\nB:\n two\n .\n\tthree \n\n \t\nC:x\r\n";
        let found = tokens(Scanner::new(text)).unwrap();
        assert_eq!(found, ["3:A=1", "4:B=two\n .\n\tthree", "2..26", "10:C=x", "30..35"]);
        assert_eq!(tokens(Scanner::new("")).unwrap(), Vec::<String>::new());
        assert_eq!(tokens(Scanner::new("A: 1")).unwrap(), ["1:A=1", "0..4"]);
    }

    #[test]
    fn comments_only_where_they_are_allowed() {
        let text = "# x\nA: 1\n# y\n 2\n";
        assert_eq!(
            tokens(Scanner::with_comments(text)).unwrap(),
            ["2:A=1\n# y\n 2", "4..16"]
        );
        assert_eq!(tokens(Scanner::new(text)).unwrap_err().line, 1);
    }

    #[test]
    fn names_the_line_of_nonsense() {
        for (text, line) in [
            ("A: 1\nnonsense\n", 2),
            (" x\n", 1),
            (": v", 1),
            ("A b: v", 1),
            ("-A: v", 1),
            ("é: v", 1),
        ] {
            assert_eq!(tokens(Scanner::new(text)).unwrap_err().line, line, "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_ends_without_panic(text in "[ -~\\n\\t\\r#:é]{0,200}") {
            let _ = tokens(Scanner::new(&text));
            let _ = tokens(Scanner::with_comments(&text));
        }
    }
}
