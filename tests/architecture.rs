//! Arrows between modules point one way only (docs/architecture.md).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A module may use only modules that stand before it.
const ORDER: &[&str] = &[
    "sync",
    "flight",
    "cancel",
    "progress",
    "durable",
    "data",
    "workspace",
    "package",
    "layer",
    "rpmfile",
    "yaml",
    "template::model",
    "fetch",
    "verify",
    "repo",
    "provider",
    "template",
    "config",
    "resolve",
    "cache",
    "archive",
    "overlay",
    "snapshot",
    "pool",
    "mount",
    "root",
    "sandbox",
    "dpkg",
    "rpm",
    "base",
    "install",
    "configure",
    "image",
    "boot",
    "diff",
    "store",
    "pipeline",
    "cli",
];

#[test]
fn modules_use_only_what_stands_before_them() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for file in rust_files(&source) {
        let relative = file.strip_prefix(&source).unwrap();
        let module = relative
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_str()
            .unwrap()
            .trim_end_matches(".rs");
        if matches!(module, "main" | "lib") || is_test(&file) {
            continue;
        }
        // What a template is, is vocabulary; reading one comes later.
        let module = if relative == Path::new("template/model.rs") {
            "template::model"
        } else {
            module
        };
        let rank = rank(module).unwrap_or_else(|| panic!("{module} has no place in the order"));
        for used in used_modules(&fs::read_to_string(&file).unwrap()) {
            if used != module && self::rank(&used).is_some_and(|other| other > rank) {
                wrong.push(format!("{} uses crate::{used}", relative.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn only_the_command_line_prints_or_reads_the_environment() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let forbidden = ["println!(", "eprintln!(", "print!(", "env::var", "dbg!("];
    let mut wrong = Vec::new();
    for file in rust_files(&source) {
        if file.starts_with(source.join("cli")) || file.ends_with("main.rs") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let found = forbidden.iter().filter(|word| code.contains(**word) && !is_test(&file));
        wrong.extend(found.map(|word| format!("{}: {word}", file.display())));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn files_stay_short() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let long: Vec<_> = rust_files(&source)
        .into_iter()
        .map(|file| (fs::read_to_string(&file).unwrap().lines().count(), file))
        .filter(|(lines, _)| *lines > 600)
        .collect();
    assert!(long.is_empty(), "over 600 lines: {long:#?}");
}

fn rank(module: &str) -> Option<usize> {
    ORDER.iter().position(|name| *name == module)
}

/// Whether all of a file is test code.
fn is_test(file: &Path) -> bool {
    let name = file.file_name().unwrap().to_str().unwrap();
    name.ends_with("tests.rs") || file.components().any(|part| part.as_os_str() == "tests")
}

/// The first path segment behind each `crate::`, but for uses in test code.
fn used_modules(text: &str) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let segments = code.split("crate::").skip(1);
    let name = |rest: &str| match rest.starts_with("template::model::") {
        true => "template::model".to_owned(),
        false => rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect(),
    };
    segments.map(name).collect()
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
