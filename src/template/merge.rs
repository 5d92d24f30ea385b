//! One template over another: over one that it extends, and over the provider's default.
//!
//! The rules are those of the tool whose templates we take, with its defects repaired: every order is the order of the
//! files (the base's items first, then those that the template adds), and nothing is dropped because a name is empty or
//! a section has one field only. The merge is associative, so a chain gives the same from either end.

use std::collections::HashMap;
use std::sync::Arc;

use super::rules::has_hash_partition;
use super::schema::{
    UNIT_LISTS, additional_file, container, debconf, disk, group, image, immutability, repository, system, template,
    user,
};
use crate::model::machine;
use crate::package::ForeignArch;
use crate::words::Words as _;
use crate::yaml::schema::Field;
use crate::yaml::{Findings, Node, Place, Source, Value};

/// Merges two trees, each valid by itself: `child` over `base`. Values keep their places, so that later findings name
/// the file that they come from.
pub(super) fn merge(base: &Node, child: &Node) -> Node {
    let mut merged = base.clone();
    merged.span = child.span.clone();
    // Of the child alone: they describe one file.
    let own = [template::METADATA.untyped(), template::SBOM.untyped()];
    for field in own.into_iter().chain([template::EXTENDS.untyped()]) {
        merged.remove(field.name);
    }
    let whole = [
        template::TARGET.untyped(),
        template::BASELINE.untyped(),
        template::OVERLAY_POLICY.untyped(),
    ];
    for field in own.into_iter().chain(whole) {
        take(&mut merged, child, field);
    }
    merge_fields(&mut merged, child, template::IMAGE);
    merge_disk(&mut merged, child);
    merge_section(&mut merged, child, template::CONTAINER, container::LABELS);
    merge_system(&mut merged, child);
    let repositories = template::REPOSITORIES;
    merge_list(&mut merged, child, repositories, repository_identity, replace);
    merged
}

/// Completes a tree that everything was merged into: names the system, and switches off immutability that nothing can
/// keep. `sources` are the texts of the layers, the default first; warnings go to `findings`.
pub(super) fn complete(merged: &mut Node, sources: &[&Arc<Source>], findings: &mut Findings) {
    name_system(merged);
    disable_unhashed(merged, sources, findings);
}

/// Takes the child's value of a field, if the child gives one.
fn take<K: ?Sized>(merged: &mut Node, child: &Node, field: Field<K>) {
    if let Some(node) = child.get(field) {
        take_value(merged, field.name, node);
    }
}

/// Takes a value that the child gives; an empty text, an empty list and a null count as absent.
fn take_value(merged: &mut Node, key: &str, node: &Node) {
    let is_absent = match &node.value {
        Value::Null => true,
        Value::Text(text) => text.is_empty(),
        Value::List(items) => items.is_empty(),
        _ => false,
    };
    if !is_absent {
        merged.set(key, node.clone());
    }
}

/// Takes each field of the child's map in `field`.
fn merge_fields(merged: &mut Node, child: &Node, field: Field<Node>) {
    let Some(section) = child.read(field) else { return };
    let mut result = merged.read(field).cloned().unwrap_or_else(|| section.clone());
    result.span = section.span.clone();
    for (key, node) in section.entries() {
        take_value(&mut result, &key.text, node);
    }
    merged.set(field.name, result);
}

/// Merges `disk`. Partitions of the child's own make another disk of it: artifacts and growth of
/// the base are not meant for that.
fn merge_disk(merged: &mut Node, child: &Node) {
    let is_another = child
        .read(template::DISK)
        .is_some_and(|disk| !disk.read(disk::PARTITIONS).is_empty());
    if is_another && let Some(mut disk) = merged.read(template::DISK).cloned() {
        for field in [disk::ARTIFACTS.untyped(), disk::EXTEND_LAST.untyped()] {
            disk.remove(field.name);
        }
        merged.set(template::DISK.name, disk);
    }
    // The choice of a disk merges field by field in its turn.
    merge_section(merged, child, template::DISK, disk::SELECTION_POLICY);
}

/// Takes each field of the child's map in `field`, and each of the map `inner` in that.
fn merge_section(merged: &mut Node, child: &Node, field: Field<Node>, inner: Field<Node>) {
    let below = merged.read(field).and_then(|section| section.get(inner)).cloned();
    merge_fields(merged, child, field);
    if let Some(below) = below
        && let (Some(mut result), Some(section)) = (merged.read(field).cloned(), child.read(field))
    {
        result.set(inner.name, below);
        merge_fields(&mut result, section, inner);
        merged.set(field.name, result);
    }
}

/// Merges `systemConfig`.
fn merge_system(merged: &mut Node, child: &Node) {
    if let Some(system) = merged.read(template::SYSTEM).map(with_removals) {
        merged.set(template::SYSTEM.name, system);
    }
    let Some(section) = child.read(template::SYSTEM).map(with_removals) else {
        return;
    };
    let Some(mut system) = merged.read(template::SYSTEM).cloned() else {
        merged.set(template::SYSTEM.name, section);
        return;
    };
    let section = &section;
    system.span = section.span.clone();
    for field in [
        system::NAME,
        system::DESCRIPTION,
        system::HOSTNAME,
        system::MACHINE_ID,
        system::TIMEZONE,
        system::LOCALE,
        system::KEYMAP,
    ] {
        take(&mut system, section, field);
    }
    take(&mut system, section, system::RECOMMENDS);
    merge_list(&mut system, section, system::FOREIGN_ARCHITECTURES, text, replace);
    for field in [system::RECOMMENDS_OF, system::ALLOW_SECRETS, system::KERNEL_MODULES] {
        merge_list(&mut system, section, field, text, replace);
    }
    merge_services(&mut system, section);
    // Taken whole: what of it is said decides on the rest.
    take(&mut system, section, system::FDE);
    for field in [
        system::NETWORK,
        system::INITRAMFS,
        system::IMMUTABILITY,
        system::BOOTLOADER,
        system::SIGNING,
        system::KERNEL,
        system::SYSCTL,
    ] {
        merge_fields(&mut system, section, field);
    }
    merge_list(&mut system, section, system::PACKAGES, package, replace);
    merge_people(&mut system, section);
    merge_list(
        &mut system,
        section,
        system::ADDITIONAL_FILES,
        |node| node.read(additional_file::FINAL).map(str::to_owned),
        replace,
    );
    merge_list(&mut system, section, system::DEBCONF, question, replace);
    merge_list(&mut system, section, system::CONFIGURATIONS, |_| None, replace);
    merged.set(template::SYSTEM.name, system);
}

/// Merges `groups` and `users`, by name.
fn merge_people(system: &mut Node, section: &Node) {
    merge_list(
        system,
        section,
        system::GROUPS,
        |node| node.read(group::NAME).map(str::to_owned),
        merge_entry,
    );
    merge_list(
        system,
        section,
        system::USERS,
        |node| node.read(user::NAME).map(str::to_owned),
        merge_user,
    );
}

/// Merges `services`. A unit that the child names in one list leaves all lists of the base.
fn merge_services(merged: &mut Node, child: &Node) {
    let Some(section) = child.read(system::SERVICES) else {
        return;
    };
    let named: Vec<String> = UNIT_LISTS
        .iter()
        .flat_map(|list| section.read(*list))
        .map(|name| machine::unit(&name))
        .collect();
    let mut result = section.clone();
    for list in UNIT_LISTS {
        let of_base = merged.read(system::SERVICES).and_then(|base| base.get(list));
        let is_kept = |node: &&Node| node.text().is_none_or(|name| !named.contains(&machine::unit(name)));
        let kept = of_base.map_or(&[][..], Node::items).iter().filter(is_kept);
        let own = section.get(list).map_or(&[][..], Node::items);
        let items: Vec<Node> = kept.chain(own).cloned().collect();
        match section.get(list).or(of_base) {
            Some(like) if !items.is_empty() => result.set(list.name, self::list(like, items)),
            _ => result.remove(list.name),
        }
    }
    merged.set(system::SERVICES.name, result);
}

/// Appends the child's list to the base's, but combines an item that has the identity of one of the base with the first
/// such, in its place.
fn merge_list<K: ?Sized>(
    merged: &mut Node,
    child: &Node,
    field: Field<K>,
    identity: fn(&Node) -> Option<String>,
    combine: fn(&Node, &Node) -> Node,
) {
    let Some(section) = child.get(field) else { return };
    let mut items = merged.get(field).map_or(&[][..], Node::items).to_vec();
    let places = items.iter().enumerate().rev();
    let mut places: HashMap<String, usize> = places.filter_map(|(at, item)| Some((identity(item)?, at))).collect();
    for item in section.items() {
        let place = identity(item).and_then(|identity| places.remove(&identity));
        match place.and_then(|at| items.get_mut(at)) {
            Some(old) => *old = combine(old, item),
            None => items.push(item.clone()),
        }
    }
    merged.set(field.name, list(section, items));
}

/// Returns the text of an item.
fn text(node: &Node) -> Option<String> {
    node.text().map(str::to_owned)
}

/// Returns the name of the package that an item asks for or leaves out: the child's word on it counts.
fn package(node: &Node) -> Option<String> {
    let text = node.text()?;
    let text = text.split('=').next().unwrap_or(text).trim_start_matches('-');
    let name = match text.split_once(':') {
        // Of another architecture, it is another package.
        Some((_, arch)) if ForeignArch::named(arch).is_some() => text,
        Some((name, _)) => name,
        None => text,
    };
    Some(name.to_owned())
}

/// Returns what two answers to the same question share: package and question.
fn question(node: &Node) -> Option<String> {
    let question = node.read(debconf::QUESTION)?;
    Some(format!("{} {question}", node.read(debconf::PACKAGE)?))
}

/// Puts the names of `removePackages` into `packages`, in the form that means the same there.
fn with_removals(system: &Node) -> Node {
    let mut system = system.clone();
    let Some(removed) = system.get(system::REMOVE_PACKAGES).cloned() else {
        return system;
    };
    system.remove(system::REMOVE_PACKAGES.name);
    if removed.items().is_empty() {
        return system;
    }
    let mut items = system.get(system::PACKAGES).map_or(&[][..], Node::items).to_vec();
    items.extend(removed.items().iter().filter_map(|item| {
        Some(Node {
            span: item.span.clone(),
            value: Value::Text(format!("-{}", item.text()?)),
        })
    }));
    system.set(system::PACKAGES.name, list(&removed, items));
    system
}

/// Takes the child's item.
fn replace(_: &Node, child: &Node) -> Node {
    child.clone()
}

/// Takes each field of the child's item.
fn merge_entry(base: &Node, child: &Node) -> Node {
    let mut merged = base.clone();
    merged.span = child.span.clone();
    for (key, node) in child.entries() {
        take_value(&mut merged, &key.text, node);
    }
    merged
}

/// Merges two entries of a user. Groups and keys add up. `sudo` is what the child's entry says, false if it says nothing. With a
/// password of its own the entry also decides on the method.
fn merge_user(base: &Node, child: &Node) -> Node {
    let mut base = base.clone();
    base.remove(user::SUDO.name);
    if child.read(user::PASSWORD).is_some() {
        base.remove(user::HASH_ALGO.name);
    }
    let mut merged = merge_entry(&base, child);
    for field in [user::GROUPS, user::SSH_KEYS] {
        match base.get(field) {
            Some(list) => merged.set(field.name, list.clone()),
            None => merged.remove(field.name),
        }
        merge_list(&mut merged, child, field, text, replace);
    }
    merged
}

/// Returns what two entries for the same repository share: codename, URL and directory.
fn repository_identity(node: &Node) -> Option<String> {
    let text = |field: Field<str>| node.read(field).unwrap_or_default();
    let parts = [repository::CODENAME, repository::URL, repository::PATH].map(text);
    Some(parts.join("\n"))
}

/// Makes a list of `items` at the place of `like`.
fn list(like: &Node, items: Vec<Node>) -> Node {
    Node {
        span: like.span.clone(),
        value: Value::List(items),
    }
}

/// Names a system without a name of its own after the image.
fn name_system(merged: &mut Node) {
    let name = merged.read(template::IMAGE).and_then(|image| image.get(image::NAME));
    let Some(name) = name.cloned() else { return };
    let map = |node: Option<&Node>| node.cloned().filter(|node| matches!(node.value, Value::Map(_)));
    let mut system = map(merged.read(template::SYSTEM)).unwrap_or_else(|| Node {
        span: merged.span.clone(),
        value: Value::Map(Vec::new()),
    });
    if system.read(system::NAME).is_none() {
        system.set(system::NAME.name, name);
        merged.set(template::SYSTEM.name, system);
    }
}

/// Switches off immutability if the disk has no place for hashes, and the layer that asks for it stands below the one
/// that gives the partitions, or is the default.
fn disable_unhashed(merged: &mut Node, sources: &[&Arc<Source>], findings: &mut Findings) {
    let root = Place::root(merged);
    let enabled = root
        .get(template::SYSTEM)
        .and_then(|system| system.get(system::IMMUTABILITY))
        .and_then(|section| section.get(immutability::ENABLED))
        .filter(|enabled| enabled.node.bool() == Some(true));
    let Some(enabled) = enabled.filter(|_| !has_hash_partition(merged)) else {
        return;
    };
    let layer = |node: &Node| {
        let is_it = |source: &&Arc<Source>| Arc::ptr_eq(source, node.span.source());
        // A value that was given beside the template is one of the template.
        sources.iter().position(is_it).or(sources.len().checked_sub(1))
    };
    let partitions = root.get(template::DISK).and_then(|disk| disk.get(disk::PARTITIONS));
    let partitions = partitions.and_then(|partitions| layer(partitions.node));
    let asks = layer(enabled.node);
    if asks != Some(0) && asks >= partitions {
        return;
    }
    findings.push(enabled.warning("is switched off: the disk has no partition for the hashes"));
    let off = Node {
        span: enabled.node.span.clone(),
        value: Value::Bool(false),
    };
    if let Some(mut system) = merged.read(template::SYSTEM).cloned()
        && let Some(mut section) = system.read(system::IMMUTABILITY).cloned()
    {
        section.set(immutability::ENABLED.name, off);
        system.set(system::IMMUTABILITY.name, section);
        merged.set(template::SYSTEM.name, system);
    }
}

#[cfg(test)]
mod tests;
