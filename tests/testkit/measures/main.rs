//! Prints the measures of oic's source: `scripts/measures [ROOT]`. Test code is left out but for its lines.
//!
//! What counts: a line of code is neither blank nor a comment; the length of a function is its lines of code; its
//! nesting counts `if`, `match`, loops and closures inside one another; a public item is `pub` without restriction.

mod duplicates;
mod functions;
mod items;
mod prose;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use oic_testkit::source::{self, Source, Text};

/// The order of the modules, as the test of the architecture has it.
const ARCHITECTURE: &str = "tests/it/hermetic/architecture.rs";
/// Where that test was before there was one program for all of them.
const ARCHITECTURE_BEFORE: &str = "tests/architecture.rs";

fn main() {
    let root = std::env::args_os()
        .nth(1)
        .map_or_else(|| oic_testkit::source_root().to_owned(), PathBuf::from);
    let source = Source::read(&root.join("src"));
    let texts: Vec<(PathBuf, Text)> = source
        .files()
        .into_iter()
        .map(|file| (file.to_owned(), source::text(&root.join("src").join(file))))
        .collect();
    sizes(&root, &texts);
    functions::measure(&source, &texts);
    items::measure(&source);
    arrows(&root, &source);
    duplicates::measure(&texts);
    prose::measure(&source, &texts);
}

/// Whether a line is code.
fn is_code(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with("//")
}

fn print(name: &str, value: impl std::fmt::Display) {
    println!("{name:<44} {value}");
}

/// Median, 90th and 99th percentile, and the greatest.
fn spread(mut values: Vec<usize>) -> String {
    values.sort_unstable();
    let at = |percent: usize| {
        values
            .get((values.len().saturating_sub(1)) * percent / 100)
            .copied()
            .unwrap_or_default()
    };
    format!("{} / {} / {} / {}", at(50), at(90), at(99), at(100))
}

fn sizes(root: &Path, texts: &[(PathBuf, Text)]) {
    let code: Vec<usize> = texts
        .iter()
        .map(|(_, text)| text.lines.iter().filter(|(_, line)| is_code(line)).count())
        .collect();
    print("files", code.len());
    print("lines of code", code.iter().sum::<usize>());
    let all: usize = ["src", "tests", "benches", "fuzz/fuzz_targets"]
        .iter()
        .map(|name| lines_below(&root.join(name)))
        .sum();
    let production: usize = texts.iter().map(|(_, text)| text.lines.len()).sum();
    print("lines of tests, benches and fuzz targets", all - production);
    print("file, lines: median / p90 / p99 / max", spread(code.clone()));
    let long = texts.iter().zip(&code).filter(|(_, lines)| **lines > 500);
    let long: Vec<_> = long
        .map(|((file, _), lines)| format!("{} {lines}", file.display()))
        .collect();
    print("files over 500 lines", list(&long));
}

fn list(found: &[String]) -> String {
    match found {
        [] => "0".to_owned(),
        _ => format!("{}: {}", found.len(), found.join(", ")),
    }
}

fn lines_below(directory: &Path) -> usize {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let lines = entries.map(|entry| {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => lines_below(&path),
            Ok(kind) if kind.is_file() && path.extension().is_some_and(|extension| extension == "rs") => {
                std::fs::read_to_string(&path).map_or(0, |text| text.lines().count())
            }
            _ => 0,
        }
    });
    lines.sum()
}

fn arrows(root: &Path, source: &Source) {
    let test = [ARCHITECTURE, ARCHITECTURE_BEFORE]
        .iter()
        .find_map(|path| std::fs::read_to_string(root.join(path)).ok());
    let test = test.unwrap_or_default();
    let order = test
        .split_once("ORDER: &[&str] = &[")
        .and_then(|(_, rest)| rest.split_once(']'));
    let order: Vec<&str> = order
        .map_or("", |(order, _)| order)
        .split('"')
        .skip(1)
        .step_by(2)
        .collect();
    let rank = |name: &str| order.iter().position(|other| *other == name);
    let mut up = BTreeSet::new();
    for module in source.modules() {
        let Some(place) = module.path.first().and_then(|top| rank(top)) else {
            continue;
        };
        let used = source.used_by(module).into_iter().filter_map(|(path, _)| path.first());
        let above = used.filter(|top| rank(top) > Some(place));
        up.extend(above.map(|top| format!("{} -> {top}", module.path[0])));
    }
    print("arrows up", list(&up.into_iter().collect::<Vec<_>>()));
    let circles: Vec<_> = source
        .circles()
        .iter()
        .map(|circle| format!("[{}]", circle.join(" ")))
        .collect();
    print("circles between files", list(&circles));
}
