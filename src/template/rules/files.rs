//! `additionalFiles`: places where a file would be lost or of no use, and modes that the programs of the image refuse.

use std::path::Path;

use crate::package::glob;
use crate::template::schema::{additional_file, system, template};
use crate::yaml::{Findings, Node, Place};

/// Directories that each boot fills anew, why, and the way to the same end.
const LOST: [(&str, &str, &str); 6] = [
    ("/run", IN_MEMORY, TMPFILES),
    ("/var/run", IN_MEMORY, TMPFILES),
    ("/var/lock", IN_MEMORY, TMPFILES),
    ("/dev", "the kernel makes its content at each boot", UDEV),
    ("/proc", VIRTUAL, SYSCTL),
    ("/sys", VIRTUAL, SYSCTL),
];
const IN_MEMORY: &str = "it lies in memory, and is empty at each boot and for each command of the build";
const VIRTUAL: &str = "the kernel makes up its content, which no disk has";
const TMPFILES: &str = "let each boot make the file: a line in /etc/tmpfiles.d does that (tmpfiles.d(5))";
const UDEV: &str = "put a rule into /etc/udev/rules.d (udev(7)), or a line into /etc/tmpfiles.d (tmpfiles.d(5))";
const SYSCTL: &str = "set kernel parameters in /etc/sysctl.d (sysctl.d(5)), others in /etc/tmpfiles.d (tmpfiles.d(5))";

/// Databases of accounts (passwd(5), group(5)).
const ACCOUNTS: [&str; 6] = [
    "/etc/passwd",
    "/etc/shadow",
    "/etc/group",
    "/etc/gshadow",
    "/etc/subuid",
    "/etc/subgid",
];

/// Files that a program refuses to read with some permission bits.
struct Strict {
    /// Their paths.
    pattern: &'static str,
    /// The bits that must be 0.
    forbidden: u32,
    /// What happens otherwise, to follow the mode.
    consequence: &'static str,
    /// A mode that the program accepts.
    accepted: &'static str,
}

/// The first that matches counts (sshd_config(5), `StrictModes`; ssh(1), "FILES"; sudoers(5); cron(8)).
const STRICT: [Strict; 10] = [
    strict("*/.ssh/*.pub", 0, "", ""),
    strict("/etc/ssh/ssh_host_*_key.pub", 0, "", ""),
    strict(
        "/etc/ssh/ssh_host_*_key",
        0o077,
        "sshd refuses a host key that others can read",
        "0600",
    ),
    strict(
        "*/.ssh/authorized_keys*",
        0o022,
        "sshd refuses the keys if others can write them",
        "0600",
    ),
    strict(
        "*/.ssh/config",
        0o022,
        "ssh refuses a configuration that others can write",
        "0600",
    ),
    strict(
        "*/.ssh/id_*",
        0o077,
        "ssh refuses a private key that others can read",
        "0600",
    ),
    strict(
        "/etc/sudoers",
        0o022,
        "sudo refuses a file that others can write",
        "0440",
    ),
    strict(
        "/etc/sudoers.d/*",
        0o022,
        "sudo refuses a file that others can write",
        "0440",
    ),
    strict(
        "/etc/crontab",
        0o022,
        "cron refuses a file that others can write",
        "0644",
    ),
    strict(
        "/etc/cron.d/*",
        0o022,
        "cron refuses a file that others can write",
        "0644",
    ),
];

const fn strict(pattern: &'static str, forbidden: u32, consequence: &'static str, accepted: &'static str) -> Strict {
    Strict {
        pattern,
        forbidden,
        consequence,
        accepted,
    }
}

/// Checks where each file comes from. Refuses files in directories that each boot empties, and warns of those that are
/// for the build alone.
pub(super) fn check(system: &Place<'_>, findings: &mut Findings) {
    for file in system.items(system::ADDITIONAL_FILES) {
        if findings.is_full() {
            return;
        }
        source(&file, findings);
        let Some(place) = file.get(additional_file::FINAL) else {
            continue;
        };
        let Some(text) = place.node.text() else { continue };
        let is_below = |directory: &str| Path::new(text).starts_with(directory);
        if let Some((directory, why, instead)) = LOST.into_iter().find(|(directory, ..)| is_below(directory)) {
            let message = format!("no image has a file in {directory}: {why}");
            findings.push(place.error(message).hint(instead));
        } else if is_below("/tmp") {
            let message =
                "is sure to be there for the commands of the build only: many machines empty /tmp at each boot";
            findings.push(place.warning(message));
        }
    }
}

/// Checks that a file has one source, and what belongs to it.
fn source(file: &Place<'_>, findings: &mut Findings) {
    let directory = file.get(additional_file::DIRECTORY);
    let directory = directory.filter(|directory| directory.node.bool() == Some(true));
    let named = [additional_file::LOCAL, additional_file::CONTENT, additional_file::URL];
    let given: Vec<Place<'_>> = named.into_iter().filter_map(|field| file.get(field)).collect();
    let names = || {
        named
            .into_iter()
            .map(|field| field.name)
            .chain([additional_file::DIRECTORY.name])
    };
    let mut sources = given.iter().chain(&directory);
    match (sources.next(), sources.next()) {
        (None, _) => findings.push(
            file.error("has none of local, content, url and directory: true")
                .allowed(names()),
        ),
        (Some(_), Some(other)) => findings.push(other.error("is one source too many: a file has one").allowed(names())),
        _ => {}
    }
    let (url, digest) = (file.get(additional_file::URL), file.get(additional_file::SHA256));
    match (&url, &digest) {
        (Some(url), None) => {
            let finding = url.error("needs sha256, so that every build gets the same file");
            findings.push(finding.hint("add sha256: and what sha256sum says of the file"));
        }
        (None, Some(digest)) => findings.push(digest.error("belongs to url, and there is none")),
        _ => {}
    }
    let template = file.get(additional_file::TEMPLATE);
    if let Some(template) = template.filter(|template| template.node.bool() == Some(true))
        && (url.is_some() || directory.is_some())
    {
        findings.push(template.error("is for files with local or content"));
    }
}

/// Refuses databases of accounts beside `users`, whose accounts they would replace.
pub(super) fn check_merged(root: &Node, findings: &mut Findings) {
    let Some(system) = Place::root(root).get(template::SYSTEM) else {
        return;
    };
    if system.read(system::USERS).is_empty() {
        return;
    }
    for file in system.items(system::ADDITIONAL_FILES) {
        let Some(place) = file.get(additional_file::FINAL) else {
            continue;
        };
        if place.node.text().is_some_and(|text| ACCOUNTS.contains(&text)) {
            let finding = place.error("would take the place of the accounts that systemConfig.users makes");
            findings.push(finding.hint("leave out either this file or systemConfig.users"));
        }
    }
}

/// Says why a program refuses a file at `destination` with this mode, and what to do.
pub(in crate::template) fn refused(destination: &str, mode: u32) -> Option<(String, String)> {
    let known = STRICT
        .iter()
        .find(|strict| glob::matches(strict.pattern, destination))?;
    let is_refused = mode & known.forbidden != 0;
    is_refused.then(|| {
        (
            format!("gets the mode {mode:04o}: {}", known.consequence),
            format!("give the file mode: \"{}\"", known.accepted),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::{Source, parse};

    #[test]
    fn modes_are_refused_as_the_programs_do() {
        for (destination, accepted, refused_mode) in [
            ("/etc/ssh/ssh_host_ed25519_key", 0o600, 0o640),
            ("/home/a/.ssh/authorized_keys", 0o644, 0o664),
            ("/root/.ssh/authorized_keys2", 0o600, 0o602),
            ("/srv/x/.ssh/id_ed25519", 0o400, 0o644),
            ("/home/a/.ssh/config", 0o644, 0o666),
            ("/etc/sudoers.d/admins", 0o440, 0o664),
            ("/etc/cron.d/job", 0o644, 0o664),
        ] {
            assert_eq!(refused(destination, accepted), None, "{destination}");
            assert!(refused(destination, refused_mode).is_some(), "{destination}");
        }
        for destination in ["/etc/ssh/ssh_host_rsa_key.pub", "/home/a/.ssh/id_rsa.pub", "/etc/motd"] {
            assert_eq!(refused(destination, 0o666), None, "{destination}");
        }
    }

    #[test]
    fn files_that_no_image_can_have_are_refused() {
        for (destination, word) in [
            ("/run/app/x", "error"),
            ("/var/run/x", "error"),
            ("/var//lock/x", "error"),
            ("/dev/x", "error"),
            ("/proc/sys/x", "error"),
            ("/sys/x", "error"),
            ("/tmp/x", "warning"),
            ("/var/tmp/x", ""),
            ("/running/x", ""),
        ] {
            let text = format!("{{systemConfig: {{additionalFiles: [{{local: a, final: {destination}}}]}}}}");
            let mut findings = Findings::new();
            let root = parse(&Source::new("template", &text), &mut findings).unwrap();
            check(&Place::root(&root).get(template::SYSTEM).unwrap(), &mut findings);
            let found: Vec<_> = findings.iter().map(ToString::to_string).collect();
            assert_eq!(found.is_empty(), word.is_empty(), "{destination}: {found:?}");
            assert_eq!(findings.has_errors(), word == "error", "{destination}: {found:?}");
        }
    }

    #[test]
    fn a_file_has_one_source() {
        const DIGEST: &str = "0123456789012345678901234567890123456789012345678901234567890123";
        for (entry, expected) in [
            ("local: a", None),
            ("content: ''", None),
            ("directory: true, mode: '0700'", None),
            ("directory: false, local: a", None),
            ("url: 'https://h/f', sha256: 'DIGEST'", None),
            ("content: a, template: true", None),
            (
                "directory: false",
                Some("[0]: has none of local, content, url and directory: true"),
            ),
            (
                "local: a, content: b",
                Some("[0].content: is one source too many: a file has one"),
            ),
            (
                "local: a, directory: true",
                Some("[0].directory: is one source too many: a file has one"),
            ),
            (
                "url: 'https://h/f'",
                Some("[0].url: needs sha256, so that every build gets the same file"),
            ),
            (
                "local: a, sha256: 'DIGEST'",
                Some("[0].sha256: belongs to url, and there is none"),
            ),
            (
                "url: 'https://h/f', sha256: 'DIGEST', template: true",
                Some("[0].template: is for files with local or content"),
            ),
        ] {
            let entry = entry.replace("DIGEST", DIGEST);
            let text = format!("{{systemConfig: {{additionalFiles: [{{final: /f, {entry}}}]}}}}");
            let mut findings = Findings::new();
            let root = parse(&Source::new("template", &text), &mut findings).unwrap();
            check(&Place::root(&root).get(template::SYSTEM).unwrap(), &mut findings);
            let found: Vec<_> = findings
                .iter()
                .map(|found| format!("{}: {}", found.field, found.message))
                .collect();
            let expected: Vec<_> = expected
                .iter()
                .map(|text| format!("systemConfig.additionalFiles{text}"))
                .collect();
            assert_eq!(found, expected, "{entry}");
        }
    }

    #[test]
    fn accounts_are_not_replaced() {
        let file = "additionalFiles: [{local: a, final: /etc/passwd}]";
        for (users, errors) in [("users: [{name: a}], ", 1), ("", 0)] {
            let mut findings = Findings::new();
            let text = format!("{{systemConfig: {{{users}{file}}}}}");
            let root = parse(&Source::new("template", &text), &mut findings).unwrap();
            check_merged(&root, &mut findings);
            assert_eq!(findings.errors(), errors);
        }
    }
}
