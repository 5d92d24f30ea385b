//! A table as documentation: one Markdown table per map.

use std::fmt::Write as _;

use super::{Field, Shape, Text, Unique};

/// Makes the documentation of a file whose top is a map of `fields`, as sections with tables.
pub fn markdown(fields: &'static [Field]) -> String {
    let mut text = String::new();
    section(&mut text, "", fields);
    text
}

fn section(text: &mut String, path: &str, fields: &'static [Field]) {
    let title = if path.is_empty() {
        "Top level".to_owned()
    } else {
        format!("`{path}`")
    };
    // Writing to a String cannot fail.
    let _ = write!(text, "\n## {title}\n\n| field | value | meaning |\n|---|---|---|\n");
    for field in fields {
        let required = if field.required { " **required**" } else { "" };
        let value = value(&field.shape).replace('|', "\\|");
        let _ = writeln!(
            text,
            "| `{}`{required} | {value} | {} |",
            field.name,
            field.doc.replace('|', "\\|")
        );
    }
    for field in fields {
        let path = if path.is_empty() {
            field.name.to_owned()
        } else {
            format!("{path}.{}", field.name)
        };
        match field.shape {
            Shape::Map(fields) => section(text, &path, fields),
            Shape::List {
                item: Shape::Map(fields),
                ..
            } => section(text, &format!("{path}[]"), fields),
            _ => {}
        }
    }
}

fn value(shape: &Shape) -> String {
    match shape {
        Shape::Text(rule) => self::text(rule),
        Shape::Plain(rule) => format!("whole number, or {}", self::text(rule)),
        Shape::Int { min, max } => format!("whole number, {min} to {max}"),
        Shape::Number => "number".to_owned(),
        Shape::Bool => "`true` or `false`".to_owned(),
        Shape::Any => "anything".to_owned(),
        Shape::List { item, unique } => {
            let each = match unique {
                Unique::No => String::new(),
                Unique::Value => ", no two alike".to_owned(),
                Unique::Key(key) => format!(", no two with the same `{key}`"),
            };
            match item {
                Shape::Map(_) => format!("list of maps{each}"),
                item => format!("list of: {}{each}", value(item)),
            }
        }
        Shape::Map(_) => "map".to_owned(),
        Shape::Table { key, value } => format!("map from {} to {}", self::text(key), self::value(value)),
    }
}

fn text(rule: &Text) -> String {
    let quoted = |words: &[&str]| {
        words
            .iter()
            .map(|word| format!("`{word}`"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let mut parts = Vec::new();
    if !rule.choices.is_empty() {
        parts.push(format!("one of {}", quoted(rule.choices)));
    } else if !rule.examples.is_empty() {
        parts.push(format!("text, such as {}", quoted(rule.examples)));
    } else {
        parts.push("text".to_owned());
    }
    parts.extend(rule.pattern.map(|(_, words)| words.to_owned()));
    parts.extend(rule.check.map(|check| check.words.to_owned()));
    parts.extend(
        rule.refused
            .iter()
            .map(|(value, reason)| format!("`{value}` is refused: {reason}")),
    );
    parts.join("; ")
}
