//! Arrows between modules point one way only (docs/architecture.md), and no files lead to each other in a circle.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::path::{Path, PathBuf};

use oic_testkit::source::{self, Source};

/// A module may use only modules that stand before it.
const ORDER: &[&str] = &[
    "sync",
    "words",
    "terminal",
    "hint",
    "parallel",
    "date",
    "flight",
    "cancel",
    "progress",
    "work",
    "durable",
    "data",
    "path_bytes",
    "accounts",
    "workspace",
    "package",
    "layer",
    "rpmfile",
    "archive",
    "yaml",
    "model",
    "fetch",
    "verify",
    "repo",
    "provider",
    "template",
    "config",
    "resolve",
    "cache",
    "overlay",
    "snapshot",
    "pool",
    "mount",
    "root",
    "secrets",
    "sign",
    "sandbox",
    "dpkg",
    "rpm",
    "base",
    "install",
    "configure",
    "system",
    "image",
    "boot",
    "disk",
    "installed",
    "sbom",
    "layers",
    "diff",
    "inspect",
    "compare",
    "audit",
    "emulator",
    "manifest",
    "installer",
    "store",
    "pipeline",
    "cli",
];

/// The most lines of code that a file may have, without its test code.
const LINES_MAX: usize = 500;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn rank(module: &str) -> Option<usize> {
    ORDER.iter().position(|name| *name == module)
}

#[test]
fn modules_use_only_what_stands_before_them() {
    let source = Source::read(&directory());
    let mut wrong = Vec::new();
    for module in source.modules() {
        let Some(top) = module.path.first() else { continue };
        let place = rank(top).unwrap_or_else(|| panic!("{top} has no place in the order"));
        for (used, _) in source.used_by(module) {
            if used.first().and_then(|top| rank(top)) > Some(place) {
                wrong.push(format!("{} uses {}", module.file.display(), used.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_order_names_all_modules_and_nothing_else() {
    let source = Source::read(&directory());
    let mut tops: Vec<&str> = source
        .modules()
        .iter()
        .filter_map(|module| Some(module.path.first()?.as_str()))
        .collect();
    tops.dedup();
    let mut order = ORDER.to_vec();
    tops.sort_unstable();
    order.sort_unstable();
    assert_eq!(tops, order);
}

#[test]
fn no_files_lead_to_each_other() {
    let circles = Source::read(&directory()).circles();
    assert!(circles.is_empty(), "{} circles: {circles:#?}", circles.len());
}

#[test]
fn only_the_command_line_prints_or_reads_the_environment() {
    let forbidden = ["println!(", "eprintln!(", "print!(", "eprint!(", "env::var", "dbg!("];
    let mut wrong = Vec::new();
    for file in Source::read(&directory()).files() {
        if file.starts_with("cli") || file == Path::new("cli.rs") {
            continue;
        }
        for (number, line) in source::text(&directory().join(file)).lines {
            if !line.trim_start().starts_with("//") && forbidden.iter().any(|word| line.contains(word)) {
                wrong.push(format!("{}:{number}: {line}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// These macros panic when standard error cannot be written: the terminal was closed, and the command has to clean up.
#[test]
fn nothing_panics_when_the_terminal_is_gone() {
    let mut wrong = Vec::new();
    for file in Source::read(&directory()).files() {
        for (number, line) in source::text(&directory().join(file)).lines {
            if ["eprintln!(", "eprint!("].iter().any(|word| line.contains(word)) {
                wrong.push(format!("{}:{number}: {line}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn only_the_command_line_names_its_options() {
    let mut wrong = Vec::new();
    for file in Source::read(&directory()).files() {
        if file.starts_with("cli") || file == Path::new("cli.rs") {
            continue;
        }
        for (number, line) in source::text(&directory().join(file)).lines {
            if !line.trim_start().starts_with("//") && names_an_option(&line) {
                wrong.push(format!("{}:{number}: {line}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Says whether a line has an option such as ` --mirror` in the middle of a text.
fn names_an_option(line: &str) -> bool {
    let mut options = line.match_indices(" --").map(|(at, _)| &line[at + 3..]);
    options.any(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
}

#[test]
fn files_stay_short() {
    let code = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
    let mut long = Vec::new();
    for file in Source::read(&directory()).files() {
        let text = source::text(&directory().join(file));
        let lines = text.lines.iter().filter(|(_, line)| code(line)).count();
        if lines > LINES_MAX {
            long.push((file.to_owned(), lines));
        }
    }
    assert!(long.is_empty(), "over {LINES_MAX} lines of code: {long:#?}");
}

/// What the rules above rest on, on a crate made up for it.
mod reading {
    use std::fs;

    use super::*;

    fn crate_of(files: &[(&str, &str)]) -> (tempfile::TempDir, Source) {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let source = Source::read(directory.path());
        (directory, source)
    }

    fn uses(source: &Source, file: &str) -> Vec<String> {
        let modules = source.modules().iter().filter(|module| module.file == Path::new(file));
        modules
            .flat_map(|module| source.used_by(module))
            .map(|(path, _)| path.join("::"))
            .collect()
    }

    #[test]
    fn code_behind_test_code_is_read_and_test_code_is_not() {
        let (_directory, source) = crate_of(&[
            ("lib.rs", "mod a; mod b; mod c;"),
            (
                "a.rs",
                "#[cfg(test)] mod tests { use crate::b::B; }\n#[cfg(test)] mod testing;\nfn f() { crate::c::g(); }",
            ),
            ("a/testing.rs", "use crate::b::B;"),
            ("b.rs", "pub struct B;"),
            (
                "c.rs",
                "pub fn g() {}\n#[cfg(not(test))] pub fn h() { format!(\"{}\", crate::b::B); }",
            ),
        ]);
        assert_eq!(uses(&source, "a.rs"), ["c"]);
        assert_eq!(uses(&source, "c.rs"), ["b"]);
    }

    #[test]
    fn supers_aliases_and_reexports_lead_to_the_file_that_declares() {
        let (_directory, source) = crate_of(&[
            ("lib.rs", "mod a; mod b;"),
            (
                "a.rs",
                "mod one; mod two; mod three; pub use one::One; pub use three::*; use crate::b; pub struct Own;",
            ),
            ("a/one.rs", "pub struct One;"),
            (
                "a/two.rs",
                "use super::{One, Own}; fn f(_: self::super::Three) { super::super::b::g(); super::b::g(); }",
            ),
            (
                "a/three.rs",
                "pub struct Three; use super::two as other; fn f() { other::f(); }",
            ),
            ("b.rs", "pub fn g() {}"),
        ]);
        assert_eq!(uses(&source, "a/two.rs"), ["a", "a::one", "a::three", "b"]);
        assert_eq!(uses(&source, "a/three.rs"), ["a::two"]);
        assert_eq!(source.circles(), [["a::three", "a::two"]]);
    }
}
