//! The walk over a tree and a table side by side.

use std::collections::HashMap;

use regex::Regex;

use super::{Field, Shape, Text, Unique};
use crate::terminal;
use crate::yaml::{Finding, Findings, Node, Span, Value, did_you_mean};

/// Adds everything in `root` that the table does not allow to `findings`.
pub fn validate(root: &Node, fields: &'static [Field], findings: &mut Findings) {
    let mut walk = Walk {
        findings,
        patterns: HashMap::new(),
    };
    walk.node(root, &root.span, "", &Shape::Map(fields));
}

struct Walk<'a> {
    findings: &'a mut Findings,
    patterns: HashMap<&'static str, Option<Regex>>,
}

impl Walk<'_> {
    /// Checks a value; `at` is its name's place: its key, or the value itself in a list.
    fn node(&mut self, node: &Node, at: &Span, path: &str, shape: &Shape) {
        match (shape, &node.value) {
            (Shape::Text(rule) | Shape::Plain(rule), Value::Text(text)) => self.text(text, &node.span, path, rule),
            (Shape::Any, _)
            | (Shape::Bool, Value::Bool(_))
            | (Shape::Number, Value::Int(_) | Value::Float(_))
            | (Shape::Plain(_), Value::Int(_)) => {}
            (Shape::Int { min, max }, Value::Int(value)) => {
                if value < min || value > max {
                    let message = format!("{value} is out of range: {min} to {max}");
                    self.findings.push(Finding::error(&node.span, path, message));
                }
            }
            (Shape::List { item, unique }, Value::List(items)) => self.list(items, path, item, *unique),
            (Shape::Map(fields), Value::Map(_)) => self.map(node, at, path, fields),
            (Shape::Table { key, value }, Value::Map(entries)) => {
                for (name, node) in entries {
                    if self.findings.is_full() {
                        return;
                    }
                    let path = join(path, &name.text);
                    self.text(&name.text, &name.span, &path, key);
                    self.node(node, &name.span, &path, value);
                }
            }
            _ => self.wrong_kind(node, at, path, shape),
        }
    }

    fn wrong_kind(&mut self, node: &Node, at: &Span, path: &str, shape: &Shape) {
        let expected = match shape {
            Shape::Text(_) | Shape::Plain(_) => "a text",
            Shape::Int { .. } => "a whole number",
            Shape::Number => "a number",
            Shape::Bool => "true or false",
            Shape::Any => "anything",
            Shape::List { .. } => "a list",
            Shape::Map(_) | Shape::Table { .. } => "a map",
        };
        let at = if matches!(node.value, Value::Null) {
            at
        } else {
            &node.span
        };
        let finding = Finding::error(at, path, format!("expected {expected}, found {}", node.kind()));
        self.findings.push(match (shape, &node.value) {
            (Shape::Text(rule) | Shape::Plain(rule), Value::Int(_) | Value::Float(_) | Value::Bool(_))
                if !rule.secret =>
            {
                finding.hint(format!("put it in quotes: \"{}\"", node.span.text()))
            }
            (Shape::Text(_), Value::Int(_) | Value::Float(_) | Value::Bool(_)) => finding.hint("put it in quotes"),
            (Shape::List { .. }, Value::Text(_)) => finding.hint("start each item with \"- \""),
            _ => finding,
        });
    }

    fn map(&mut self, node: &Node, at: &Span, path: &str, fields: &'static [Field]) {
        for (key, value) in node.entries() {
            if self.findings.is_full() {
                return;
            }
            let path = join(path, &key.text);
            match fields.iter().find(|field| field.name == key.text) {
                Some(field) if matches!(value.value, Value::Null) && !field.required => {
                    let message = "has no value, which is the same as if it were not there";
                    self.findings.push(Finding::warning(&key.span, path, message));
                }
                Some(field) => self.node(value, &key.span, &path, &field.shape),
                None => self.findings.push(unknown_field(&key.text, &key.span, path, fields)),
            }
        }
        for field in fields.iter().filter(|field| field.required) {
            if !node.entries().iter().any(|(key, _)| key.text == field.name) {
                let path = join(path, field.name);
                self.findings
                    .push(Finding::error(at, path, "is missing").hint(field.doc));
            }
        }
    }

    fn list(&mut self, items: &[Node], path: &str, shape: &Shape, unique: Unique) {
        let mut seen = HashMap::new();
        for (index, item) in items.iter().enumerate() {
            if self.findings.is_full() {
                return;
            }
            let path = format!("{path}[{index}]");
            self.node(item, &item.span, &path, shape);
            let (identity, path) = match unique {
                Unique::No => continue,
                Unique::Value => (Some(item), path),
                Unique::Key(key) => (item.value_of(key), join(&path, key)),
            };
            let Some((text, node)) = identity.and_then(|node| Some((node.text()?, node))) else {
                continue;
            };
            if let Some(first) = seen.insert(text, node) {
                let message = format!("{text:?} is there twice, first in line {}", first.span.position().0);
                self.findings.push(Finding::error(&node.span, path, message));
            }
        }
    }

    fn text(&mut self, text: &str, at: &Span, path: &str, rule: &Text) {
        if let Err(finding) = self.try_text(text, at, path, rule) {
            self.findings.push(*finding);
        }
    }

    fn try_text(&mut self, text: &str, at: &Span, path: &str, rule: &Text) -> Result<(), Box<Finding>> {
        let error = |message: String| Err(Box::new(Finding::error(at, path, message)));
        if text.is_empty() {
            return if rule.may_be_empty {
                Ok(())
            } else {
                error("must not be empty".to_owned())
            };
        }
        let chars = text.chars().count();
        if chars > rule.max_chars {
            return error(format!("has {chars} characters; {} are allowed", rule.max_chars));
        }
        if let Some(c) = text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
            return error(format!("has the control character U+{:04X} in it", c as u32));
        }
        let shown = if rule.secret {
            "the value".to_owned()
        } else {
            quoted(text)
        };
        if let Some((_, reason)) = rule.refused.iter().find(|(value, _)| *value == text) {
            return error(format!("{shown} is refused: {reason}"));
        }
        if !rule.choices.is_empty() && !rule.choices.contains(&text) {
            let choices = rule.choices.iter().copied();
            let finding = Finding::error(at, path, format!("{shown} is not a known value")).allowed(choices.clone());
            return Err(Box::new(match did_you_mean(text, choices) {
                Some(near) => finding.hint(format!("did you mean {near:?}?")),
                None => finding,
            }));
        }
        if let Some((pattern, words)) = rule.pattern
            && !self.matches(pattern, text)
        {
            return error(format!("{shown} is not valid: {words}"));
        }
        match rule.check.map(|check| (check.test)(text)) {
            Some(Err(reason)) => error(format!("{shown} {reason}")),
            _ => Ok(()),
        }
    }

    fn matches(&mut self, pattern: &'static str, text: &str) -> bool {
        // A pattern that does not compile matches nothing; a test compiles them all.
        let compiled = self
            .patterns
            .entry(pattern)
            .or_insert_with(|| Regex::new(&format!(r"\A(?:{pattern})\z")).ok());
        compiled.as_ref().is_some_and(|regex| regex.is_match(text))
    }
}

/// Makes the error of `key`, which is none of `fields`; `path` is that of the field that was meant.
pub fn unknown_field(key: &str, at: &Span, path: String, fields: &'static [Field]) -> Finding {
    let known = fields.iter().map(|field| field.name);
    let finding = Finding::error(at, path, "there is no such field").allowed(known.clone());
    match did_you_mean(key, known) {
        Some(near) => finding.hint(format!("did you mean {near:?}?")),
        None => finding,
    }
}

/// Appends `key` to the path of the map that has it.
pub fn join(path: &str, key: &str) -> String {
    // A hostile key must not fill the screen.
    let key: String = key.chars().take(80).filter(|c| !terminal::is_hidden(*c)).collect();
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

/// Quotes the text, escaped, cut when long.
fn quoted(text: &str) -> String {
    const SHOWN: usize = 60;
    let shown: String = text.chars().take(SHOWN).collect();
    let more = if text.chars().count() > SHOWN { "…" } else { "" };
    format!("{shown:?}{more}")
}
