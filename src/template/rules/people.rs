//! Users and groups.

use std::collections::HashMap;

use crate::model::HashMethod;
use crate::template::schema::{additional_file, group, system, template, user};
use crate::template::shown::REDACTED;
use crate::yaml::schema::Field;
use crate::yaml::{Findings, Node, Place};

/// Largest number of bytes of a password that bcrypt takes (crypt(5)).
const BCRYPT_MAX_BYTES: usize = 72;

/// Checks `users` and `groups`.
pub(super) fn check(system: &Place<'_>, findings: &mut Findings) {
    repeated_ids(system, system::USERS, (user::NAME, user::UID), findings);
    repeated_ids(system, system::GROUPS, (group::NAME, group::GID), findings);
    for user in system.items(system::USERS) {
        if findings.is_full() {
            return;
        }
        password(&user, findings);
        if let Some(expire) = user.get(user::EXPIRE).filter(|_| user.read(user::LOCKED) == Some(true)) {
            findings.push(expire.warning("has no effect: locked closes the account at once"));
        }
    }
}

/// Refuses an id that two entries of `list` have, each with a name and an id.
fn repeated_ids(
    system: &Place<'_>,
    list: Field<[Node]>,
    (name, id): (Field<str>, Field<i64>),
    findings: &mut Findings,
) {
    let mut seen = HashMap::new();
    for entry in system.items(list) {
        let Some(number) = entry.read(id) else { continue };
        if let Some(other) = seen.insert(number, entry.read(name).unwrap_or_default()) {
            let message = format!("{number} is the id of {other} already");
            findings.push(entry.at(id).error(message));
        }
    }
}

/// Checks that keys have a file to be in, and that nothing else takes the file's place.
pub(super) fn check_merged(root: &Node, findings: &mut Findings) {
    let Some(system) = Place::root(root).get(template::SYSTEM) else {
        return;
    };
    for user in system.items(system::USERS) {
        let Some(keys) = user.get(user::SSH_KEYS).filter(|keys| !keys.node.items().is_empty()) else {
            continue;
        };
        let home = user.read(user::HOME);
        if home.is_none() && user.read(user::SYSTEM) == Some(true) {
            let finding = keys.error("has no place: a system user has a home directory only if home is given");
            findings.push(finding.hint("add home"));
        }
        let name = user.read(user::NAME).unwrap_or_default();
        let file = match home {
            Some(home) => format!("{}/.ssh/authorized_keys", home.trim_end_matches('/')),
            None if name == "root" => "/root/.ssh/authorized_keys".to_owned(),
            None => format!("/home/{name}/.ssh/authorized_keys"),
        };
        for place in system.items(system::ADDITIONAL_FILES) {
            if place.read(additional_file::FINAL) == Some(file.as_str()) {
                let message = format!("would take the place of the sshKeys of the user {name}");
                let finding = place.at(additional_file::FINAL).error(message);
                findings.push(finding.hint("leave out either this file or sshKeys"));
            }
        }
    }
}

/// Says whether a password is a crypt(5) hash: `$id$`, then salt and hash.
pub(in crate::template) fn is_hashed(password: &str) -> bool {
    let mut parts = password.split('$');
    let (before, id) = (parts.next(), parts.next());
    before == Some("")
        && id.is_some_and(|id| (1..=8).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric()))
        && parts.next().is_some_and(|salt| !salt.is_empty())
        && parts.next().is_some()
}

/// Checks a password and its hash method.
fn password(user: &Place<'_>, findings: &mut Findings) {
    let Some((password, text)) = user
        .get(user::PASSWORD)
        .and_then(|place| Some((place.clone(), place.node.text()?)))
    else {
        return;
    };
    if text == REDACTED {
        let finding = password.error("is what stands in the place of a password where a template is shown");
        findings.push(finding.hint("put the password in"));
    } else if text.starts_with("$1$") {
        let finding = password.error("is an MD5 hash, which is broken within seconds");
        findings.push(finding.hint("make another one with: openssl passwd -6"));
    } else if is_hashed(text) {
        if text.contains(':') || text.contains(char::is_whitespace) {
            findings.push(password.error("is not a crypt(5) hash: blanks or colons in it"));
        } else if let Some(method) = user.get(user::HASH_ALGO) {
            findings.push(method.warning("has no effect: the password is hashed already"));
        }
    } else if text.len() > BCRYPT_MAX_BYTES && user.read(user::HASH_ALGO) == Some(HashMethod::Bcrypt) {
        findings.push(password.error("is longer than the 72 bytes that bcrypt takes"));
    } else if text.starts_with('$') {
        findings.push(password.warning("starts with $ but is no crypt(5) hash: taken as clear text"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::{Source, parse};

    #[test]
    fn hashes_are_told_from_passwords() {
        for hash in [
            "$6$salt$hash",
            "$5$rounds=5000$salt$hash",
            "$y$j9T$salt$hash",
            "$2b$10$saltandhash",
        ] {
            assert!(is_hashed(hash), "{hash}");
        }
        for text in ["", "secret", "$ecret", "$$$", "$6$", "6$salt$hash", "$a b$c$d"] {
            assert!(!is_hashed(text), "{text}");
        }
    }
    fn found(text: &str) -> Vec<String> {
        let mut findings = Findings::new();
        let text = format!("systemConfig: {text}");
        let root = parse(&Source::new("template", &text), &mut findings).unwrap();
        check(&Place::root(&root).get(template::SYSTEM).unwrap(), &mut findings);
        check_merged(&root, &mut findings);
        findings
            .iter()
            .map(|found| format!("{}: {}", found.field, found.message))
            .collect()
    }

    #[test]
    fn ids_are_given_once_and_keys_have_a_place_of_their_own() {
        let file = |place: &str| format!("additionalFiles: [{{local: a, final: {place}}}]");
        for (text, expected) in [
            (
                "{users: [{name: a, uid: 7}, {name: b, uid: 8}, {name: c, uid: 7}]}".to_owned(),
                Some("systemConfig.users[2].uid: 7 is the id of a already"),
            ),
            (
                "{groups: [{name: a, gid: 7}, {name: b, gid: 7}], users: [{name: a, uid: 7}]}".to_owned(),
                Some("systemConfig.groups[1].gid: 7 is the id of a already"),
            ),
            (
                "{users: [{name: a, locked: true, expire: 2027-01-31}]}".to_owned(),
                Some("systemConfig.users[0].expire: has no effect: locked closes the account at once"),
            ),
            (
                "{users: [{name: a, system: true, sshKeys: [k]}]}".to_owned(),
                Some(
                    "systemConfig.users[0].sshKeys: has no place: a system user has a home directory only if home is given",
                ),
            ),
            (
                "{users: [{name: a, system: true, sshKeys: [k], home: /srv/a}]}".to_owned(),
                None,
            ),
            (
                format!(
                    "{{users: [{{name: a, sshKeys: [k]}}], {}}}",
                    file("/home/a/.ssh/authorized_keys")
                ),
                Some("systemConfig.additionalFiles[0].final: would take the place of the sshKeys of the user a"),
            ),
            (
                format!(
                    "{{users: [{{name: root, sshKeys: [k]}}], {}}}",
                    file("/root/.ssh/authorized_keys")
                ),
                Some("systemConfig.additionalFiles[0].final: would take the place of the sshKeys of the user root"),
            ),
            (
                format!(
                    "{{users: [{{name: a, home: /x, sshKeys: [k]}}], {}}}",
                    file("/home/a/.ssh/authorized_keys")
                ),
                None,
            ),
            (
                format!("{{users: [{{name: a}}], {}}}", file("/home/a/.ssh/authorized_keys")),
                None,
            ),
        ] {
            assert_eq!(found(&text), expected.into_iter().collect::<Vec<_>>(), "{text}");
        }
    }
}
