//! The merged template as a file that can be built in its turn.

use std::path::Path;

use super::convert::{Bases, locate};
use super::embedded;
use super::model::FileSource;
use super::schema::TEMPLATE;
use crate::data;
use crate::yaml::schema::{Field, Shape};
use crate::yaml::{Node, Value};

/// The tree with its fields in the order of the schema and every file named so that it is
/// found from anywhere.
pub(super) fn portable(root: &Node, bases: &Bases<'_>) -> Node {
    let mut root = ordered(root, &Shape::Map(TEMPLATE));
    let Some(mut system) = root.get("systemConfig").cloned() else {
        return root;
    };
    if let Some(mut files) = system.get("additionalFiles").cloned() {
        if let Value::List(items) = &mut files.value {
            items.iter_mut().for_each(|item| rename(item, bases));
        }
        system.set("additionalFiles", files);
        root.set("systemConfig", system);
    }
    root
}

/// The entries of each map in the order of its fields, without those that have no value.
fn ordered(node: &Node, shape: &Shape) -> Node {
    let value = match (&node.value, shape) {
        (Value::Map(_), Shape::Map(fields)) => {
            let present = |field: &Field| {
                let (key, value) = node.entries().iter().find(|(key, _)| key.text == field.name)?;
                (!matches!(value.value, Value::Null)).then(|| (key.clone(), ordered(value, &field.shape)))
            };
            Value::Map(fields.iter().filter_map(present).collect())
        }
        (Value::List(items), Shape::List { item, .. }) => Value::List(items.iter().map(|i| ordered(i, item)).collect()),
        (value, _) => value.clone(),
    };
    Node {
        span: node.span.clone(),
        value,
    }
}

fn rename(item: &mut Node, bases: &Bases<'_>) {
    let Some(local) = item.get("local").cloned() else {
        return;
    };
    let Some(name) = local.text() else { return };
    let renamed = match locate(&local, name, bases) {
        Some(FileSource::Embedded(bytes)) => name_of(bytes),
        Some(FileSource::Host(path)) => std::path::absolute(&path).ok().and_then(|p| utf8(&p)),
        None => None,
    };
    if let Some(renamed) = renamed {
        item.set(
            "local",
            Node {
                span: local.span.clone(),
                value: Value::Text(renamed),
            },
        );
    }
}

/// The `embedded:` name of a file.
fn name_of(content: &'static [u8]) -> Option<String> {
    let name = data::names("").find(|name| data::file(name).is_some_and(|bytes| std::ptr::eq(bytes, content)))?;
    Some(format!("{}{name}", embedded::PREFIX))
}

/// A YAML text cannot hold other paths; they stay as the template has them.
fn utf8(path: &Path) -> Option<String> {
    path.to_str().map(str::to_owned)
}
