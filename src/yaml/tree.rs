//! The values of a YAML document, each with its place.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// A named text.
pub struct Source {
    /// File name, as shown in messages.
    pub name: PathBuf,
    /// The whole text.
    pub text: String,
    /// Whether places in it have lines: the text of an argument has none.
    has_lines: bool,
}

// The text may hold a password.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.name.display(), self.text.len())
    }
}

impl Source {
    /// Makes a source of a text and its name.
    pub fn new(name: impl Into<PathBuf>, text: impl Into<String>) -> Arc<Self> {
        Self::build(name.into(), text.into(), true)
    }

    /// Makes a source of a value that is no part of a file: places in it have its name only. `name` says where it comes
    /// from.
    pub fn argument(name: impl Into<PathBuf>, text: impl Into<String>) -> Arc<Self> {
        Self::build(name.into(), text.into(), false)
    }

    fn build(name: PathBuf, text: String, has_lines: bool) -> Arc<Self> {
        Arc::new(Self { name, text, has_lines })
    }
}

/// A range of bytes in a [`Source`].
#[derive(Clone)]
pub struct Span {
    source: Arc<Source>,
    start: usize,
    end: usize,
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.position();
        write!(f, "{}:{line}:{column}", self.source.name.display())
    }
}

impl Span {
    /// Gives the start of a source, for findings that concern all of it.
    pub fn start_of(source: &Arc<Source>) -> Self {
        Self {
            source: Arc::clone(source),
            start: 0,
            end: 0,
        }
    }

    /// Gives all of a source.
    pub fn whole(source: &Arc<Source>) -> Self {
        Self {
            source: Arc::clone(source),
            start: 0,
            end: source.text.len(),
        }
    }

    /// Makes the range from byte `start` to byte `end` of `source`.
    pub(in crate::yaml) fn new(source: &Arc<Source>, start: usize, end: usize) -> Self {
        Self {
            source: Arc::clone(source),
            start,
            end,
        }
    }

    /// Gives the text that it points into.
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// Computes line and column (in characters), both counted from 1; 0 and 0 in a source without lines.
    pub fn position(&self) -> (usize, usize) {
        if !self.source.has_lines {
            return (0, 0);
        }
        let before = self.source.text.get(..self.start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        (line, column)
    }

    /// Names the place for people: `file:line`, or the name alone of a source without lines.
    pub fn place(&self) -> String {
        let name = self.source.name.display();
        match self.position() {
            (0, _) => name.to_string(),
            (line, _) => format!("{name}:{line}"),
        }
    }

    /// Gives the line that it starts on, without the line break.
    pub(in crate::yaml) fn line_text(&self) -> &str {
        let text = &self.source.text;
        let start = text
            .get(..self.start)
            .and_then(|before| before.rfind('\n'))
            .map_or(0, |at| at + 1);
        text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or("")
    }

    /// Gives the exact text.
    pub(crate) fn text(&self) -> &str {
        self.source.text.get(self.start..self.end).unwrap_or_default()
    }

    /// Counts the characters on its first line.
    pub(in crate::yaml) fn line_chars(&self) -> usize {
        self.text()
            .lines()
            .next()
            .map_or(0, |line| line.trim_end().chars().count())
    }
}

/// A value and its place.
#[derive(Debug, Clone)]
pub struct Node {
    /// The place; for lists and maps their first byte.
    pub span: Span,
    /// The value.
    pub value: Value,
}

/// A YAML value, resolved by the core schema (YAML 1.2.2, 10.3).
#[derive(Debug, Clone)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Another number.
    Float(f64),
    /// Anything else, and any quoted text.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping; keys are unique.
    Map(Vec<(Key, Node)>),
}

/// A key of a map and its place.
#[derive(Debug, Clone)]
pub struct Key {
    /// The key.
    pub text: String,
    /// The place.
    pub span: Span,
}

impl Node {
    /// Gives the value below `key`. Code outside of this module names a [`Field`], so that the
    /// compiler refuses a key that no table has.
    pub(in crate::yaml) fn value_of(&self, key: &str) -> Option<&Self> {
        self.entries()
            .iter()
            .find(|(k, _)| k.text == key)
            .map(|(_, node)| node)
            .filter(|node| !matches!(node.value, Value::Null))
    }

    /// Gives the text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Gives the truth value, if it is one.
    pub fn bool(&self) -> Option<bool> {
        match self.value {
            Value::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// Gives the whole number, if it is one.
    pub fn int(&self) -> Option<i64> {
        match self.value {
            Value::Int(value) => Some(value),
            _ => None,
        }
    }

    /// Gives the items, if it is a list.
    pub fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// Gives the entries, if it is a map.
    pub fn entries(&self) -> &[(Key, Self)] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// Puts `node` below `key`, in the place of an earlier value; without effect if this is no map.
    pub fn set(&mut self, key: &str, node: Self) {
        let Value::Map(entries) = &mut self.value else { return };
        match entries.iter_mut().find(|(k, _)| k.text == key) {
            Some((_, old)) => *old = node,
            None => {
                let key = Key {
                    text: key.to_owned(),
                    span: node.span.clone(),
                };
                entries.push((key, node));
            }
        }
    }

    /// Removes the value below `key`.
    pub fn remove(&mut self, key: &str) {
        if let Value::Map(entries) = &mut self.value {
            entries.retain(|(k, _)| k.text != key);
        }
    }

    /// Names the kind of value, in words.
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a truth value",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// Counts the values in it, and how deep they nest.
    pub(in crate::yaml) fn measure(&self) -> (usize, usize) {
        let children: Vec<&Self> = match &self.value {
            Value::List(items) => items.iter().collect(),
            Value::Map(entries) => entries.iter().map(|(_, node)| node).collect(),
            _ => return (1, 0),
        };
        children.iter().fold((1, 1), |(count, height), child| {
            let (c, h) = child.measure();
            (count + c, height.max(h + 1))
        })
    }
}
