//! The base equals what mmdebstrap makes of the same packages.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::support::{debian, tree};
use std::collections::BTreeSet;
use std::path::Path;

use oic::base::BaseRequest;
use oic::cancel::Cancel;
use oic::package::Arch;
use oic::repo::deb::Deb;
use oic::system::System as _;
use oic::work::Work;

#[test]
fn base_equals_mmdebstrap() {
    let (oracle, packages) = debian::oracle();
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let root = directory.path().join("base");
    std::fs::create_dir(&root).unwrap();
    let request = BaseRequest {
        packages: &packages,
        root: &root,
        arch: Arch::X86_64,
        epoch: debian::EPOCH,
        helper: Path::new(env!("CARGO_BIN_EXE_oic")),
        unpack: &debian::unpack,
    };
    Deb.bootstrap(&request, Work::quiet(&Cancel::default()))
        .unwrap_or_else(|error| panic!("{error}"));
    let (expected, made) = (tree::scan(&oracle), tree::scan(&root));
    let differences: Vec<_> = expected
        .keys()
        .chain(made.keys().filter(|path| !expected.contains_key(*path)))
        .filter(|path| expected.get(*path) != made.get(*path))
        .filter(|path| !ALLOWED.iter().any(|(allowed, _)| Path::new(allowed) == path.as_path()))
        .map(|path| {
            format!(
                "{}:\n  mmdebstrap {:?}\n  oic        {:?}",
                path.display(),
                expected.get(path),
                made.get(path)
            )
        })
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(expected.len() > 3000, "the oracle is not a Debian base");
    assert_eq!(stanzas(&oracle), stanzas(&root));
}

/// Every path that may differ, and why.
const ALLOWED: [(&str, &str); 13] = [
    (
        "etc/apt/sources.list",
        "the mirror: configure writes the image's sources",
    ),
    ("etc/hostname", "copied from the build host by mmdebstrap"),
    ("etc/resolv.conf", "copied from the build host by mmdebstrap"),
    (
        "var/cache/apt/archives/lock",
        "left by the host's apt; a base is made without apt",
    ),
    (
        "var/cache/apt/archives/partial",
        "the host's apt gave it to _apt, as every apt does when it first runs",
    ),
    ("var/cache/debconf/config.dat-old", "backup of a cache"),
    ("var/cache/debconf/templates.dat-old", "backup of a cache"),
    ("var/lib/apt/lists/lock", "left by the host's apt"),
    (
        "var/lib/apt/lists/partial",
        "the host's apt gave it to _apt, as every apt does when it first runs",
    ),
    (
        "var/lib/dpkg/diversions-old",
        "backup of the state before the last package",
    ),
    ("var/lib/dpkg/status-old", "backup of the state before the last package"),
    (
        "var/lib/dpkg/status",
        "compared by stanza below: the order is not fixed",
    ),
    ("var/lib/dpkg/triggers/Lock", "a lock file"),
];

/// The stanzas of the dpkg status file, in any order.
fn stanzas(root: &Path) -> BTreeSet<String> {
    let status = std::fs::read_to_string(root.join("var/lib/dpkg/status")).unwrap();
    status.trim_end().split("\n\n").map(str::to_owned).collect()
}
