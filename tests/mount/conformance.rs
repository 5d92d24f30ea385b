//! A long list of file system operations, compared with a plain directory, or with the kernel's overlayfs over one.

use std::collections::BTreeMap;
use std::path::Path;

use oic::mount::Engine;

use crate::support::{Place, run};

pub const TESTS: &[(&str, fn())] = &[
    ("operations_are_those_of_a_plain_directory", ours),
    ("operations_with_the_kernel_engine_are_those_of_overlayfs", of_kernel),
];

/// The operations (`operations/tools.py` says how it is called).
const SCRIPT: &str = concat!(
    include_str!("operations/tools.py"),
    include_str!("operations/names.py"),
    include_str!("operations/opening.py"),
    include_str!("operations/content.py"),
    include_str!("operations/attributes.py"),
    include_str!("operations/together.py"),
    include_str!("operations/main.py"),
);

/// The least number of operations; fewer would mean that the script left some out.
const CASES_MIN: usize = 900;

/// The answer of a system call that is not supported, as Python names it.
const UNSUPPORTED: &str = "ENOTSUP";

/// What our engine refuses (`docs/semantics.md`), and the outcome.
const REFUSED: &[(&str, &str)] = &[
    ("open-unnamed", UNSUPPORTED),
    ("open-unnamed-exclusive", UNSUPPORTED),
    ("open-unnamed-read-only", "EINVAL"),
    ("fallocate-collapse", UNSUPPORTED),
    ("fallocate-insert", UNSUPPORTED),
    ("directory-handles", UNSUPPORTED),
    ("directory-extents", UNSUPPORTED),
    ("directory-birth", "not known"),
    ("flags-immutable", UNSUPPORTED),
    ("flags-append-only", UNSUPPORTED),
];

/// Runs the script in `directory`; returns the outcome of each operation.
fn python(directory: &Path, what: &str) -> BTreeMap<String, String> {
    let output = run(directory, &["python3", "-c", SCRIPT, what]);
    let parts = output.lines().filter_map(|line| line.split_once(": "));
    parts.map(|(name, seen)| (name.to_owned(), seen.to_owned())).collect()
}

/// Returns what is different, one operation a paragraph.
fn differences(expected: &BTreeMap<String, String>, actual: &BTreeMap<String, String>) -> Vec<String> {
    assert!(expected.len() >= CASES_MIN, "only {} operations", expected.len());
    let names: Vec<_> = actual.keys().collect();
    assert_eq!(expected.keys().collect::<Vec<_>>(), names);
    let pairs = expected.iter().map(|(name, expected)| (name, expected, &actual[name]));
    let different = pairs.filter(|(_, expected, actual)| expected != actual);
    let told = different.map(|(name, expected, actual)| {
        let same = expected.chars().zip(actual.chars()).take_while(|(a, b)| a == b).count();
        let part = |text: &str| text.chars().skip(same.saturating_sub(60)).take(300).collect::<String>();
        format!("{name}: {}\n  but {}", part(expected), part(actual))
    });
    told.collect()
}

fn plain() -> BTreeMap<String, String> {
    let plain = Place::new().open_to_all();
    python(&plain.base(), "make");
    python(&plain.base(), "call")
}

/// The outcomes of an engine, on files that are new or of the base.
fn mounted(engine: Engine, is_in_base: bool) -> BTreeMap<String, String> {
    let place = Place::new().open_to_all();
    if is_in_base {
        python(&place.base(), "make");
    }
    let session = place.mount_by(engine, false).unwrap();
    if !is_in_base {
        python(&place.mnt(), "make");
    }
    let actual = python(&place.mnt(), "call");
    session.close().unwrap();
    actual
}

fn ours() {
    let mut expected = plain();
    for is_in_base in [false, true] {
        let mut actual = mounted(Engine::Fuse, is_in_base);
        for (name, word) in REFUSED {
            let seen = actual.insert((*name).to_owned(), String::new()).unwrap_or_default();
            assert!(seen.contains(word), "{name}: {seen}");
            expected.insert((*name).to_owned(), String::new());
        }
        let different = differences(&expected, &actual);
        let (count, different) = (different.len(), different.join("\n"));
        assert!(different.is_empty(), "in the base: {is_in_base}: {count}\n{different}");
    }
}

fn of_kernel() {
    for is_in_base in [false, true] {
        let plain = Place::new().open_to_all();
        if is_in_base {
            // As the layers of oic, it is another file system than the upper.
            run(&plain.path(""), &["mount", "-t", "tmpfs", "none", "base"]);
            python(&plain.base(), "make");
        }
        let overlay = plain.mount_plain_overlay();
        if !is_in_base {
            python(&plain.mnt(), "make");
        }
        let expected = python(&plain.mnt(), "call");
        overlay.unmount().unwrap();
        let mut actual = mounted(Engine::Kernel, is_in_base);
        if is_in_base {
            run(&plain.path(""), &["umount", "base"]);
            // No layer knows it.
            assert!(
                actual["directory-birth"].contains("not known"),
                "{}",
                actual["directory-birth"]
            );
            actual.insert("directory-birth".to_owned(), expected["directory-birth"].clone());
        }
        let different = differences(&expected, &actual);
        let (count, different) = (different.len(), different.join("\n"));
        assert!(different.is_empty(), "in the base: {is_in_base}: {count}\n{different}");
    }
}
