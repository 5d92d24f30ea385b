//! The differences between two JSON values.

use serde::Serialize;
use serde_json::Value;

/// The deepest value that is looked into; what lies below is compared as a whole.
const DEPTH_MAX: usize = 64;
/// The length of a UUID as text.
const UUID_LETTERS: usize = 36;

/// A value that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// Its path: names of fields and indices of items, with dots between them.
    pub path: String,
    /// The value of the first; `null` if it has none.
    pub from: Value,
    /// The value of the second; `null` if it has none.
    pub to: Value,
}

/// Returns the differences between `from` and `to`. Lists of different lengths differ as a whole.
pub fn changes(from: &Value, to: &Value) -> Vec<Change> {
    let mut found = Vec::new();
    add(String::new(), from, to, &mut found, 0);
    found
}

fn add(path: String, from: &Value, to: &Value, found: &mut Vec<Change>, depth: usize) {
    if from == to {
        return;
    }
    let below = |name: &str| {
        if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}.{name}")
        }
    };
    match (from, to) {
        (Value::Object(one), Value::Object(other)) if depth < DEPTH_MAX => {
            for (name, value) in one {
                add(
                    below(name),
                    value,
                    other.get(name).unwrap_or(&Value::Null),
                    found,
                    depth + 1,
                );
            }
            for (name, value) in other.iter().filter(|(name, _)| !one.contains_key(*name)) {
                add(below(name), &Value::Null, value, found, depth + 1);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() && depth < DEPTH_MAX => {
            for (index, (from, to)) in one.iter().zip(other).enumerate() {
                add(below(&index.to_string()), from, to, found, depth + 1);
            }
        }
        _ => found.push(Change {
            path,
            from: from.clone(),
            to: to.clone(),
        }),
    }
}

/// Returns the text of `value` with all UUIDs replaced by the same letters.
pub(super) fn masked(value: &Value) -> String {
    let text = value.to_string();
    let is_part = |letter: char| letter.is_ascii_hexdigit() || letter == '-';
    let is_uuid = |word: &str| word.len() == UUID_LETTERS && word.matches('-').count() == 4;
    let mut masked = String::with_capacity(text.len());
    for word in text.split_inclusive(|letter: char| !is_part(letter)) {
        let own = word.trim_end_matches(|letter: char| !is_part(letter));
        match is_uuid(own) {
            true => masked.push_str(&word.replacen(own, "UUID", 1)),
            false => masked.push_str(word),
        }
    }
    masked
}
