//! The integration tests, in one program: one link, and the tests of all groups fill the processors.
//!
//! `cargo test --test it -- NAME` runs the tests whose path contains NAME. Groups are modules: [`hermetic`] needs
//! neither root nor network, [`system`] needs both. The tests in `tests/mount` are a program of their own, since that
//! program is the mount server too; those in `tests/model*` compile the library's sources with other locks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

mod hermetic;
mod support;
mod system;

use std::collections::BTreeSet;
use std::path::Path;

/// A file that no module names is never compiled, and its tests pass by being forgotten.
#[test]
fn no_test_file_is_forgotten() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    for group in ["hermetic", "support", "system"] {
        let list = std::fs::read_to_string(here.join(format!("{group}.rs"))).unwrap();
        let named: BTreeSet<String> = list
            .lines()
            .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'))
            .map(str::to_owned)
            .collect();
        let files = std::fs::read_dir(here.join(group)).unwrap();
        let files: BTreeSet<String> = files
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .map(|name| name.trim_end_matches(".rs").to_owned())
            .collect();
        assert!(!files.is_empty(), "{group}");
        assert_eq!(
            named, files,
            "modules of tests/it/{group}.rs, files in tests/it/{group}"
        );
    }
}
