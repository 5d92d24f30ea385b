//! Set-id bits and capabilities: what is left of them after a change, and as whom the changed program runs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use oic::mount::Engine;

use crate::support::{Place, run};

pub const TESTS: &[(&str, fn())] = &[("set_id_bits_and_capabilities_are_those_of_a_plain_directory", table)];

/// Runs the script in `directory`, with these arguments; returns what it printed.
fn python(directory: &Path, arguments: &[&str]) -> String {
    let script = include_str!("privileges.py");
    run(directory, &[&["python3", "-c", script], arguments].concat())
}

/// Runs the cases of every user in `directory`; returns one line a case.
fn call_all(directory: &Path) -> String {
    let users = python(directory, &["users"]);
    users.lines().map(|user| python(directory, &["call", user])).collect()
}

/// A place into which other users are let.
fn place() -> Place {
    let place = Place::new();
    for name in ["", "base", "mnt"] {
        fs::set_permissions(place.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    place
}

fn table() {
    let plain = place();
    python(&plain.base(), &["make"]);
    let expected = call_all(&plain.base());
    // The table itself must tell apart what keeps a bit and what loses it.
    let runs_as = |words: &str| expected.lines().filter(|line| line.contains(words)).count();
    assert!(runs_as("runs as 0/") > 100 && runs_as("runs as 65534/") > 100 && runs_as("mode 0o2666, 0o2666") > 10);
    for (engine, is_in_base) in [(Engine::Fuse, false), (Engine::Fuse, true), (Engine::Kernel, true)] {
        let place = place();
        if is_in_base {
            python(&place.base(), &["make"]);
        }
        let session = place.mount_by(engine, false).unwrap();
        if !is_in_base {
            python(&place.mnt(), &["make"]);
        }
        let actual = call_all(&place.mnt());
        session.close().unwrap();
        assert_eq!(expected.lines().count(), actual.lines().count());
        let pairs = expected.lines().zip(actual.lines());
        let different: Vec<_> = pairs
            .filter(|(expected, actual)| expected != actual)
            .map(|(expected, actual)| format!("{expected}\n  but {actual}"))
            .collect();
        let (count, different) = (different.len(), different.join("\n"));
        assert!(
            different.is_empty(),
            "{engine:?}, in the base: {is_in_base}: {count}\n{different}"
        );
    }
}
