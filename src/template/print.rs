//! The merged template as a file that can be built in its turn.

use std::path::Path;

use super::embedded;
use super::files::Origins;
use super::schema::{SECURE_BOOT, TEMPLATE, additional_file, fde, repository, signing, system, template};
use crate::data;
use crate::model::FileSource;
use crate::yaml::schema::{Field, Shape};
use crate::yaml::{Node, Value};

/// Gives the tree with its fields in the order of the schema and every file under a name that is found from anywhere.
pub(super) fn portable(root: &Node, origins: &Origins) -> Node {
    let mut root = ordered(root, &Shape::Map(TEMPLATE));
    if let Some(mut repositories) = root.get(template::REPOSITORIES).cloned() {
        if let Value::List(items) = &mut repositories.value {
            items.iter_mut().for_each(|item| rename_packages(item, origins));
        }
        root.set(template::REPOSITORIES.name, repositories);
    }
    let Some(mut system) = root.get(template::SYSTEM).cloned() else {
        return root;
    };
    if let Some(mut files) = system.get(system::ADDITIONAL_FILES).cloned() {
        if let Value::List(items) = &mut files.value {
            items
                .iter_mut()
                .for_each(|item| rename(item, additional_file::LOCAL, origins));
        }
        system.set(system::ADDITIONAL_FILES.name, files);
    }
    rename_keys(&mut system, origins);
    root.set(template::SYSTEM.name, system);
    root
}

/// Gives the files of keys, certificates and passphrases absolute names.
fn rename_keys(system: &mut Node, origins: &Origins) {
    let sections = [
        (
            system::SIGNING.name,
            &[signing::KEY, signing::CERTIFICATE, signing::PASSPHRASE_FILE][..],
        ),
        (system::IMMUTABILITY.name, &SECURE_BOOT[..]),
        (system::FDE.name, &[fde::PASSPHRASE_FILE, fde::SEED_FILE][..]),
    ];
    for (name, fields) in sections {
        let entries = system.entries().iter();
        let Some(mut section) = entries
            .clone()
            .find(|(key, _)| key.text == name)
            .map(|(_, value)| value.clone())
        else {
            continue;
        };
        fields.iter().for_each(|field| rename(&mut section, *field, origins));
        system.set(name, section);
    }
}

/// Gives the entries of each map in the order of its fields, without those that have no value.
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

/// Gives the file that `field` of `item` names a name that is found from anywhere.
fn rename(item: &mut Node, field: Field<str>, origins: &Origins) {
    let Some(local) = item.get(field).cloned() else {
        return;
    };
    let Some(name) = local.text() else { return };
    let renamed = match origins.locate(&local, name) {
        Some(FileSource::Embedded(bytes)) => name_of(bytes),
        Some(FileSource::Host(path)) => std::path::absolute(&path).ok().and_then(|p| utf8(&p)),
        _ => None,
    };
    if let Some(renamed) = renamed {
        item.set(
            field.name,
            Node {
                span: local.span.clone(),
                value: Value::Text(renamed),
            },
        );
    }
}

/// Gives the package files of a repository absolute names.
fn rename_packages(repository: &mut Node, origins: &Origins) {
    let Some(mut packages) = repository.get(repository::PACKAGES).cloned() else {
        return;
    };
    let Value::List(items) = &mut packages.value else {
        return;
    };
    for item in items {
        let Some((text, name)) = item.text().map(|text| (text, text.split('#').next().unwrap_or(text))) else {
            continue;
        };
        if name.starts_with("https://") {
            continue;
        }
        let digest = text.strip_prefix(name).unwrap_or_default();
        if let Some(FileSource::Host(path)) = origins.locate(item, name)
            && let Some(found) = std::path::absolute(&path).ok().and_then(|path| utf8(&path))
        {
            item.value = Value::Text(format!("{found}{digest}"));
        }
    }
    repository.set(repository::PACKAGES.name, packages);
}

/// Gives the `embedded:` name of a file.
fn name_of(content: &'static [u8]) -> Option<String> {
    let name = data::names("").find(|name| data::file(name).is_some_and(|bytes| std::ptr::eq(bytes, content)))?;
    Some(format!("{}{name}", embedded::PREFIX))
}

/// Gives a path as text. A YAML text cannot hold other paths; they stay as the template has them.
fn utf8(path: &Path) -> Option<String> {
    path.to_str().map(str::to_owned)
}
