//! What POSIX says, on both engines: a suite that others wrote, and every call on what a suite does not make: files of the base.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use oic::mount::Engine;

use crate::foreign;
use crate::support::{Place, run, try_run};

pub const TESTS: &[(&str, fn())] = &[
    ("posix_suite_passes_with_our_engine", suite_ours),
    ("posix_suite_with_the_kernel_engine_is_that_of_overlayfs", suite_kernel),
    ("posix_calls_are_those_of_a_plain_directory", calls),
];

/// Directories of one mount in which the suite runs: one that is new, one of the base, one that was copied up and lost a name.
const DIRECTORIES: [&str; 3] = ["new", "old", "changed"];

const CONFIGURATION: &str = r#"
    [features]
    posix_fallocate = {}
    rename_ctime = {}
    utimensat = {}
    utime_now = {}
    [settings]
    naptime = 0.02
    allow_remount = false
    [dummy_auth]
    entries = [["nobody", "nogroup"], ["daemon", "daemon"], ["bin", "bin"]]
"#;

/// A base with what the directories need.
fn place() -> Place {
    let place = Place::new().open_to_all();
    fs::write(place.path("pjdfstest.toml"), CONFIGURATION).unwrap();
    run(
        &place.base(),
        &[
            "sh",
            "-ec",
            "mkdir old changed; touch old/kept changed/kept changed/removed",
        ],
    );
    place
}

/// The cases of the release that `scripts/foreign-tools` installs first.
const CASES_MIN: usize = 398;

/// Returns how many cases the suite has run, from its last line, `… 398 total`.
fn total(output: &str) -> Option<usize> {
    let before = &output[..output.rfind(" total")?];
    before.rsplit(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The tests of the suite that fail at `at`, each with the directory it ran in.
fn failures(place: &Place, at: &Path) -> BTreeSet<String> {
    let program = foreign::tool("pjdfstest");
    run(at, &["sh", "-ec", "mkdir new; rm changed/removed; touch changed/added"]);
    let mut failed = BTreeSet::new();
    for directory in DIRECTORIES {
        let arguments = [
            program.to_str().unwrap(),
            "-c",
            place.path("pjdfstest.toml").to_str().unwrap(),
            "-p",
            at.join(directory).to_str().unwrap(),
        ]
        .map(str::to_owned);
        let output = try_run(at, &arguments.each_ref().map(String::as_str));
        // A later release may have more; fewer would mean that it left some out.
        let total = total(&output).unwrap_or_else(|| panic!("the suite did not run to its end: {output}"));
        assert!(total >= CASES_MIN, "{total} cases: {output}");
        let lines = output.lines().filter(|line| line.ends_with("FAILED"));
        failed.extend(lines.filter_map(|line| Some(format!("{directory}: {}", line.split_whitespace().next()?))));
    }
    failed
}

fn suite_ours() {
    let place = place();
    let session = place.mount_by(Engine::Fuse, false).unwrap();
    let failed = failures(&place, &place.mnt());
    session.close().unwrap();
    assert!(failed.is_empty(), "{failed:#?}");
}

/// The kernel's overlayfs does not let users have its whiteout, the character device 0:0.
fn suite_kernel() {
    let plain = place();
    let overlay = plain.mount_plain_overlay();
    let expected = failures(&plain, &plain.mnt());
    overlay.unmount().unwrap();

    let place = place();
    let session = place.mount_by(Engine::Kernel, false).unwrap();
    let failed = failures(&place, &place.mnt());
    session.close().unwrap();
    let more: Vec<_> = failed.difference(&expected).collect();
    assert!(more.is_empty(), "only with oic below: {more:#?}");
}

/// Where the files come from on which the calls are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    New,
    Base,
    CopiedUp,
}

fn calls() {
    let script = include_str!("calls.py");
    let python = |directory: &Path, what: &str| run(directory, &["python3", "-c", script, what]);
    let expected = {
        let plain = Place::new().open_to_all();
        python(&plain.base(), "make");
        python(&plain.base(), "call")
    };
    for engine in [Engine::Fuse, Engine::Kernel] {
        for origin in [Origin::New, Origin::Base, Origin::CopiedUp] {
            let place = Place::new().open_to_all();
            if origin != Origin::New {
                python(&place.base(), "make");
            }
            let session = place.mount_by(engine, false).unwrap();
            match origin {
                Origin::New => drop(python(&place.mnt(), "make")),
                Origin::Base => (),
                Origin::CopiedUp => drop(python(&place.mnt(), "touch")),
            }
            let actual = python(&place.mnt(), "call");
            session.close().unwrap();
            let mut different = Vec::new();
            for (expected, actual) in expected.lines().zip(actual.lines()) {
                if expected != actual && !is_known(engine, origin, expected, actual) {
                    different.push(format!("{expected}\n  but {actual}"));
                }
            }
            assert_eq!(expected.lines().count(), actual.lines().count());
            let different = different.join("\n");
            assert!(different.is_empty(), "{engine:?}, {origin:?}:\n{different}");
        }
    }
}

/// What `docs/semantics.md` says of the kernel engine: a directory of the base cannot be renamed.
fn is_known(engine: Engine, origin: Origin, expected: &str, actual: &str) -> bool {
    let is_directory = [" directory rename", " full rename"]
        .iter()
        .any(|call| expected.contains(call));
    engine == Engine::Kernel && origin != Origin::New && is_directory && actual.contains(": EXDEV;")
}
