//! Every promise of `docs/semantics.md` names a test that exists.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn rust_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_promise_has_its_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    rust_files(&root.join("src"), &mut files);
    rust_files(&root.join("tests"), &mut files);
    let has_table = |file: &&PathBuf| file.starts_with(root.join("tests")) && !file.starts_with(root.join("tests/it"));
    let with_tables = files.iter().filter(has_table);
    let tables: String = with_tables.map(|file| fs::read_to_string(file).unwrap()).collect();
    let code: String = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    // A test of libtest (also one that proptest! makes), or an entry in the table of a program with its own main.
    let name = |line: &str| -> Option<String> {
        let rest = line.trim_start().strip_prefix("fn ")?;
        Some(rest.split_once('(')?.0.to_owned())
    };
    let mut tests = BTreeSet::new();
    let mut is_test = false;
    for line in code.lines() {
        tests.extend(name(line).filter(|_| is_test));
        // Other attributes may stand between.
        is_test = line.trim() == "#[test]" || (is_test && line.trim_start().starts_with("#["));
    }
    let exists = |name: &str| tests.contains(name) || tables.contains(&format!("(\"{name}\", "));
    assert!(tests.len() > 500, "{} tests were found", tests.len());

    let text = fs::read_to_string(root.join("docs/semantics.md")).unwrap();
    let mut promises = 0;
    for promise in text.split("\n- ").skip(1) {
        // The last of a list has the next paragraph behind it.
        let promise = promise.split("\n\n").next().unwrap();
        let (_, tests) = promise
            .rsplit_once('—')
            .unwrap_or_else(|| panic!("no test for: {promise}"));
        let names: Vec<_> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test for: {promise}");
        for name in names {
            assert!(exists(name), "there is no test {name:?} for: {promise}");
        }
        promises += 1;
    }
    assert!(promises > 30, "{promises} promises were found");
}
