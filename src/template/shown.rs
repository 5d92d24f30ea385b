//! The merged template for people: no secret is in it.

use super::schema::{SECURE_BOOT, TEMPLATE};
use crate::yaml::schema::{Field, Shape};
use crate::yaml::{EmitError, Node, Value, to_yaml, to_yaml_with_origins};

/// What stands in the place of a secret.
pub(super) const REDACTED: &str = "[REDACTED]";

/// Writes a tree without its secrets; with `origins`, file and line stand behind each value.
///
/// # Errors
/// [`EmitError`], which no template causes.
pub(super) fn resolved(root: &Node, origins: bool) -> Result<String, EmitError> {
    let mut root = root.clone();
    redact(&mut root, &Shape::Map(TEMPLATE));
    match origins {
        true => to_yaml_with_origins(&root),
        false => to_yaml(&root),
    }
}

/// Replaces each text whose field is a secret, and the paths of private keys.
fn redact(node: &mut Node, shape: &Shape) {
    match (&mut node.value, shape) {
        (Value::Text(text), Shape::Text(rule)) if rule.secret && !text.is_empty() => REDACTED.clone_into(text),
        (Value::List(items), Shape::List { item, .. }) => items.iter_mut().for_each(|node| redact(node, item)),
        (Value::Map(entries), Shape::Map(fields)) => {
            for (key, node) in entries {
                let field = fields.iter().find(|field: &&Field| field.name == key.text);
                let Some(field) = field else { continue };
                if SECURE_BOOT.iter().any(|path| path.name == field.name) {
                    node.value = Value::Text(REDACTED.to_owned());
                }
                redact(node, &field.shape);
            }
        }
        _ => {}
    }
}
