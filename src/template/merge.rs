//! The user's template over the provider's default.
//!
//! The rules are those of the tool whose templates we take, with its defects repaired:
//! every order is the order of the files (default first, then the user's additions), and
//! nothing is dropped because a name is empty.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::rules::is_hash_partition;
use crate::yaml::{Finding, Findings, Node, Source, Value};

/// Merges two trees, each valid by itself. Values keep their places, so that later findings
/// name the file that they come from. Warnings go to `findings`.
pub(super) fn merge(default: &Node, user: &Node, user_source: &Arc<Source>, findings: &mut Findings) -> Node {
    let mut merged = default.clone();
    merged.span = user.span.clone();
    merged.remove("metadata");
    for key in ["metadata", "target"] {
        take(&mut merged, user, key);
    }
    merge_fields(&mut merged, user, "image", &[]);
    // A disk is taken whole but for what it leaves out: partitions without a size, say.
    merge_fields(&mut merged, user, "disk", &["artifacts"]);
    merge_system(&mut merged, user);
    merge_repositories(&mut merged, user);
    name_system(&mut merged);
    disable_unhashed(&mut merged, user_source, findings);
    merged
}

/// The value below `key` is the user's, if the user gives one.
fn take(merged: &mut Node, user: &Node, key: &str) {
    if let Some(node) = user.get(key).filter(|node| node.text() != Some("")) {
        merged.set(key, node.clone());
    }
}

/// Each field of the map below `key` is the user's, if the user gives one. Of the fields in
/// `whole` the default's do not shine through once the user gives the map at all.
fn merge_fields(merged: &mut Node, user: &Node, key: &str, whole: &[&str]) {
    let Some(section) = user.get(key) else { return };
    let mut result = merged.get(key).cloned().unwrap_or_else(|| section.clone());
    result.span = section.span.clone();
    for field in whole {
        result.remove(field);
    }
    for (field, _) in section.entries() {
        take(&mut result, section, &field.text);
    }
    merged.set(key, result);
}

fn merge_system(merged: &mut Node, user: &Node) {
    let Some(section) = user.get("systemConfig") else {
        return;
    };
    let Some(mut system) = merged.get("systemConfig").cloned() else {
        merged.set("systemConfig", section.clone());
        return;
    };
    system.span = section.span.clone();
    for key in ["name", "description", "hostname"] {
        take(&mut system, section, key);
    }
    for key in ["initramfs", "immutability", "bootloader", "kernel"] {
        merge_fields(&mut system, section, key, &[]);
    }
    merge_list(&mut system, section, "packages", |node| node.text(), replace);
    merge_list(&mut system, section, "users", |node| node.text_at("name"), merge_user);
    merge_list(
        &mut system,
        section,
        "additionalFiles",
        |node| node.text_at("final"),
        replace,
    );
    merge_list(&mut system, section, "configurations", |_| None, replace);
    merged.set("systemConfig", system);
}

/// The user's list is appended to the default's, but an item that has the identity of an
/// earlier one is combined with it in its place.
fn merge_list(
    merged: &mut Node,
    user: &Node,
    key: &str,
    identity: fn(&Node) -> Option<&str>,
    combine: fn(&Node, &Node) -> Node,
) {
    let Some(section) = user.get(key) else { return };
    let mut items = merged.items_at(key).to_vec();
    let places = items.iter().enumerate();
    let mut places: HashMap<String, usize> = places
        .filter_map(|(at, item)| Some((identity(item)?.to_owned(), at)))
        .collect();
    for item in section.items() {
        let identity = identity(item);
        let place = identity.and_then(|identity| places.get(identity));
        match place.and_then(|at| items.get_mut(*at)) {
            Some(old) => *old = combine(old, item),
            None => {
                places.extend(identity.map(|identity| (identity.to_owned(), items.len())));
                items.push(item.clone());
            }
        }
    }
    merged.set(key, list(section, items));
}

fn replace(_: &Node, user: &Node) -> Node {
    user.clone()
}

/// Groups add up; `sudo` is what the user's entry says, false if it says nothing; a password
/// that is hashed already takes away the default's method, and with a password of its own
/// the entry also decides on the method.
fn merge_user(default: &Node, user: &Node) -> Node {
    let mut merged = default.clone();
    merged.span = user.span.clone();
    merged.remove("sudo");
    if user.text_at("password").is_some() {
        merged.remove("hash_algo");
    }
    for (field, _) in user.entries() {
        if field.text != "groups" {
            take(&mut merged, user, &field.text);
        }
    }
    merge_list(&mut merged, user, "groups", |node| node.text(), replace);
    merged
}

/// All default repositories but those whose codename the user's template has too, then the
/// user's: several of them may share a codename.
fn merge_repositories(merged: &mut Node, user: &Node) {
    const KEY: &str = "packageRepositories";
    let Some(section) = user.get(KEY) else { return };
    let taken: HashSet<&str> = section.items().iter().filter_map(|r| r.text_at("codename")).collect();
    let kept = merged
        .items_at(KEY)
        .iter()
        .filter(|r| r.text_at("codename").is_none_or(|name| !taken.contains(name)));
    let items = kept.chain(section.items()).cloned().collect();
    merged.set(KEY, list(section, items));
}

fn list(like: &Node, items: Vec<Node>) -> Node {
    Node {
        span: like.span.clone(),
        value: Value::List(items),
    }
}

/// A system without a name of its own is named after the image.
fn name_system(merged: &mut Node) {
    let Some(name) = merged.at(&["image", "name"]).cloned() else {
        return;
    };
    let map = |node: Option<&Node>| node.cloned().filter(|node| matches!(node.value, Value::Map(_)));
    let mut system = map(merged.get("systemConfig")).unwrap_or_else(|| Node {
        span: merged.span.clone(),
        value: Value::Map(Vec::new()),
    });
    if system.text_at("name").is_none() {
        system.set("name", name);
        merged.set("systemConfig", system);
    }
}

/// Immutability that only the default asks for gives way to a disk without a place for hashes.
fn disable_unhashed(merged: &mut Node, user_source: &Arc<Source>, findings: &mut Findings) {
    let Some(enabled) = merged
        .at(&["systemConfig", "immutability", "enabled"])
        .filter(|node| node.bool() == Some(true) && !Arc::ptr_eq(node.span.source(), user_source))
    else {
        return;
    };
    let partitions = merged.at(&["disk", "partitions"]).map_or(&[][..], Node::items);
    if partitions.iter().any(is_hash_partition) {
        return;
    }
    let span = enabled.span.clone();
    let message = "is switched off: the disk has no partition for the hashes";
    findings.push(Finding::warning(&span, "systemConfig.immutability.enabled", message));
    let off = Node {
        span,
        value: Value::Bool(false),
    };
    if let Some(mut system) = merged.get("systemConfig").cloned()
        && let Some(mut section) = system.get("immutability").cloned()
    {
        section.set("enabled", off);
        system.set("immutability", section);
        merged.set("systemConfig", system);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::{parse, to_yaml};

    /// Merges two flow maps and gives what is below `keys` in the result.
    fn merged(default: &str, user: &str, keys: &[&str]) -> String {
        let mut findings = Findings::new();
        let user_source = Source::new("user", user);
        let default = parse(&Source::new("default", default), &mut findings).unwrap();
        let user = parse(&user_source, &mut findings).unwrap();
        let merged = merge(&default, &user, &user_source, &mut findings);
        let warnings = findings.iter().map(|f| format!("warned: {}\n", f.message));
        to_yaml(merged.at(keys).unwrap()).unwrap() + &warnings.collect::<String>()
    }

    #[test]
    fn users_merge_by_name() {
        let default = "systemConfig: {users: [
          {name: a, password: p, hash_algo: sha256, groups: [x, y], sudo: true, shell: /bin/sh}, {name: b, sudo: true}]}";
        let user = "systemConfig: {users: [{name: c}, {name: a, password: $6$s$h, groups: [y, z]}]}";
        insta::assert_snapshot!(merged(default, user, &["systemConfig", "users"]), @r#"
        - name: a
          password: $6$s$h
          groups:
          - x
          - "y"
          - z
          shell: /bin/sh
        - name: b
          sudo: true
        - name: c
        "#);
    }

    #[test]
    fn files_merge_by_destination_and_repositories_by_codename() {
        let default = "{systemConfig: {additionalFiles: [{local: d1, final: /1}, {local: d2, final: /2}]},
          packageRepositories: [{codename: a, url: 'http://d'}, {codename: b, url: 'http://d'}]}";
        let user = "{systemConfig: {additionalFiles: [{local: u3, final: /3}, {local: u1, final: /1}]},
          packageRepositories: [{codename: a, url: 'http://u1'}, {codename: a, url: 'http://u2'}]}";
        insta::assert_snapshot!(merged(default, user, &["systemConfig", "additionalFiles"]), @r#"
        - local: u1
          final: /1
        - local: d2
          final: /2
        - local: u3
          final: /3
        "#);
        insta::assert_snapshot!(merged(default, user, &["packageRepositories"]), @r#"
        - codename: b
          url: http://d
        - codename: a
          url: http://u1
        - codename: a
          url: http://u2
        "#);
    }

    #[test]
    fn immutability_of_the_default_needs_a_hash_partition_and_the_users_stays() {
        let keys = ["systemConfig", "immutability"];
        let on = "{systemConfig: {immutability: {enabled: true}}}";
        let hashed = "{disk: {partitions: [{id: roothashmap}]}}";
        insta::assert_snapshot!(merged(on, "{disk: {partitions: [{id: root}]}}", &keys), @r#"
        enabled: false
        warned: is switched off: the disk has no partition for the hashes
        "#);
        assert_eq!(merged(on, hashed, &keys), "enabled: true\n");
        assert_eq!(merged("{systemConfig: {hostname: h}}", on, &keys), "enabled: true\n");
        assert_eq!(
            merged(on, "{systemConfig: {immutability: {enabled: false}}}", &keys),
            "enabled: false\n"
        );
    }

    #[test]
    fn a_nameless_system_is_named_after_the_image() {
        assert_eq!(merged("{}", "{image: {name: i}}", &["systemConfig", "name"]), "i\n");
    }
}
