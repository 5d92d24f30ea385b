//! Tree to text.

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use serde_saphyr::Commented;

use super::tree::{Node, Value};
use crate::terminal;

/// The tree cannot be written as YAML.
#[derive(Debug, thiserror::Error)]
#[error("cannot write YAML: {0}")]
pub struct EmitError(#[from] serde_saphyr::SerializeError);

/// Writes a tree as YAML that parses to the same tree; the same tree gives the same text.
///
/// # Errors
/// [`EmitError`] if the serializer refuses, which no parsed tree causes.
pub fn to_yaml(node: &Node) -> Result<String, EmitError> {
    emit(node)
}

/// Writes a tree as [`to_yaml`], with a comment behind each scalar: the place that it comes from.
///
/// # Errors
/// As [`to_yaml`].
pub fn to_yaml_with_origins(node: &Node) -> Result<String, EmitError> {
    emit(&WithOrigins(node))
}

/// Writes any value as YAML.
///
/// # Errors
/// [`EmitError`] if the serializer refuses.
pub fn serialize(value: &impl Serialize) -> Result<String, EmitError> {
    emit(value)
}

fn emit(value: &impl Serialize) -> Result<String, EmitError> {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    Ok(serde_saphyr::to_string_with_options(value, options)?)
}

/// A tree that is written with origins.
struct WithOrigins<'a>(&'a Node);

impl Serialize for WithOrigins<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0.value {
            Value::List(items) if !items.is_empty() => serializer.collect_seq(items.iter().map(WithOrigins)),
            Value::Map(entries) if !entries.is_empty() => {
                serializer.collect_map(entries.iter().map(|(key, node)| (&key.text, WithOrigins(node))))
            }
            _ => Commented(self.0, origin(self.0)).serialize(serializer),
        }
    }
}

/// Names the place of a value.
fn origin(node: &Node) -> String {
    terminal::visible(&node.span.place()).into_owned()
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.value {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Int(value) => serializer.serialize_i64(*value),
            Value::Float(value) => serializer.serialize_f64(*value),
            Value::Text(text) => serializer.serialize_str(text),
            Value::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(item)?;
                }
                list.end()
            }
            Value::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, node) in entries {
                    map.serialize_entry(&key.text, node)?;
                }
                map.end()
            }
        }
    }
}
