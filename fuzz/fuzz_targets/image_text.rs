//! Text files of an image that oic reads: accounts, presets of units, apt's marks, lists and scripts of packages, and
//! files that may be private keys.
//!
//! Invariant: no more is found than there are lines; another home directory adds and removes no account; marks that were
//! written are found again.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use oic::accounts;
use oic::configure::fuzzing;
use oic::install::{Marks, mark_automatic};
use oic::package::Arch;
use oic::root::Root;
use oic::secrets::{Place, find};

const NAMES: [&str; 6] = [
    "/etc/app/file",
    "/etc/ssl/private/file",
    "/opt/app/machine-id",
    "/etc/dropbear/dropbear_rsa_host_key",
    "/var/lib/dpkg/info/app.list",
    "/var/lib/dpkg/info/app.postinst",
];
const STATES: &str = "/var/lib/apt/extended_states";

fuzz_target!(|input: (u8, &str)| {
    let (which, text) = input;
    let lines = text.split('\n').count();
    let users = |text: &[u8]| accounts::users(text).count();
    assert!(users(text.as_bytes()) <= lines && accounts::groups(text.as_bytes()).count() <= lines);
    assert!(fuzzing::presets(text) <= lines);
    let moved = accounts::with_home(text.as_bytes(), "user", "/srv/user");
    assert_eq!(users(&moved), users(text.as_bytes()));

    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let root = Root::open(directory.path()).unwrap();
    root.write("/etc/app/key.pem", "-----BEGIN PRIVATE KEY-----\nx\n", 0o600)
        .unwrap();
    root.write(NAMES[usize::from(which) % NAMES.len()], text, 0o600)
        .unwrap();
    let place = Place {
        upper: &root,
        image: &root,
        has_packages: true,
        contents: &[],
    };
    for secret in find(place).unwrap() {
        assert!(secret.path.starts_with('/') && secret.packages.len() <= 3);
    }
    root.write(STATES, text, 0o644).unwrap();
    let marks = Marks {
        before: &BTreeSet::new(),
        packages: &[],
        requested: &[],
        arch: Arch::X86_64,
    };
    mark_automatic(&root, &marks).unwrap();
    let written = root.read(STATES).unwrap();
    mark_automatic(&root, &marks).unwrap();
    assert_eq!(root.read(STATES).unwrap(), written);
});
