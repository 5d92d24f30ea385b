//! The rules of dependencies, one by one, on small universes. `tests/it/hermetic/rpm_oracle.rs` compares with dnf
//! on a real one.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::package::{Arch, DependencyKind, Sha256};
use crate::resolve::why;

/// Makes a package from lines such as `a 1-1; Requires: b >= 2, (c or d); Provides: e = 1`.
fn record(text: &str) -> RpmRecord {
    let mut lines = text.split(';').map(str::trim);
    let (name, evr) = lines.next().unwrap().split_once(' ').unwrap();
    let fields: HashMap<_, _> = lines
        .map(|line| line.split_once(": ").map(|(name, value)| (name, value.trim())).unwrap())
        .collect();
    let field = |name: &str| -> Box<str> { fields.get(name).unwrap_or(&"").replace(", ", "\n").into() };
    RpmRecord {
        name: name.into(),
        evr: evr.into(),
        arch: fields.get("Arch").copied().unwrap_or("noarch").into(),
        summary: field("Summary"),
        requires_pre: field("Pre"),
        requires: field("Requires"),
        recommends: field("Recommends"),
        provides: field("Provides"),
        conflicts: field("Conflicts"),
        obsoletes: field("Obsoletes"),
        files: field("Files"),
        path: format!("{name}-{evr}.rpm").into(),
        size_bytes: 1,
        installed_size_bytes: 1,
        built_at: 0,
        checksum: Sha256::of(text).into(),
        repository: fields.get("Repository").copied().unwrap_or("main").into(),
        priority: fields.get("Priority").map_or(500, |priority| priority.parse().unwrap()),
    }
}

fn resolve_in(universe: &[&str], packages: &str) -> Result<Resolution, ResolveError> {
    let records: Vec<_> = universe.iter().map(|text| record(text)).collect();
    resolve(&request(packages), &records, |_| Ok(FileOwners::new()))
}

fn request(packages: &str) -> Request {
    Request {
        arch: Arch::X86_64,
        packages: packages.split_ascii_whitespace().map(str::to_owned).collect(),
        recommending: Vec::new(),
        include_essential: true,
    }
}

/// Returns `name-version` of all packages, by name.
fn installed(universe: &[&str], packages: &str) -> Vec<String> {
    let resolution = resolve_in(universe, packages).unwrap();
    let mut all: Vec<_> = resolution
        .packages
        .iter()
        .map(|package| format!("{}-{}", package.name, package.version))
        .collect();
    all.sort();
    all
}

/// Returns the sentences of the refusal.
fn refused(universe: &[&str], packages: &str) -> String {
    resolve_in(universe, packages).unwrap_err().to_string()
}

#[test]
fn the_greatest_priority_wins_then_the_newest_version() {
    let universe = [
        "a 1-1; Repository: main",
        "a 2-1; Priority: 100",
        "a 9-1; Priority: 0",
        "a 0:1-1; Arch: x86_64",
        "a 1.5-1; Arch: aarch64; Priority: 900",
        "b 1-1; Repository: main",
        "b 1:0.5-1; Repository: main",
        "c 1.0~rc1-1",
        "c 1.0-1",
        "c 1.0^git-1",
    ];
    assert_eq!(installed(&universe, "a b c"), ["a-0:1-1", "b-1:0.5-1", "c-1.0^git-1"]);
}

#[test]
fn a_request_names_packages_in_many_ways() {
    let universe = [
        "a 1-1; Provides: virtual; Files: /usr/bin/a",
        "a 2:2-3",
        "a-b 1-1",
        "x-1 5-1",
    ];
    for (asked, expected) in [
        ("a", "a-2:2-3"),
        ("a.noarch", "a-2:2-3"),
        ("a-2-3", "a-2:2-3"),
        ("a-1", "a-1-1"),
        ("a-1-1.noarch", "a-1-1"),
        ("a=1", "a-1-1"),
        ("a-2:2-3", "a-2:2-3"),
        ("virtual", "a-1-1"),
        ("/usr/bin/a", "a-1-1"),
        ("a-b", "a-b-1-1"),
        ("x-1", "x-1-5-1"),
        ("x-?", "x-1-5-1"),
        ("a-1-*", "a-1-1"),
    ] {
        assert_eq!(installed(&universe, asked), [expected], "{asked}");
    }
    assert_eq!(installed(&universe, "a*"), ["a-2:2-3", "a-b-1-1"]);
    assert_eq!(
        installed(&universe, "a a-1"),
        ["a-1-1"],
        "a version that is asked for counts"
    );
    let error = |asked| resolve_in(&universe, asked).unwrap_err();
    assert!(matches!(error("a=7"), ResolveError::NoSuchVersion { .. }));
    assert!(matches!(error("nothing"), ResolveError::UnknownPackage { .. }));
    assert!(matches!(error("q*"), ResolveError::NothingMatches { .. }));
    assert!(matches!(error("a.aarch64"), ResolveError::OtherArchitecture { .. }));
    assert!(matches!(error("=1"), ResolveError::Malformed { .. }));
}

#[test]
fn capabilities_sonames_and_files_are_provided() {
    let universe = [
        "app 1-1; Requires: libx.so.1(X_2)(64bit), /usr/bin/tool, cap >= 2; Pre: shell",
        "libx 1-1; Provides: libx.so.1()(64bit), libx.so.1(X_2)(64bit)",
        "tool 1-1; Files: /usr/bin/tool",
        "old 1-1; Provides: cap = 1",
        "new 1-1; Provides: cap = 2-1",
        "shell 1-1",
    ];
    assert_eq!(
        installed(&universe, "app"),
        ["app-1-1", "libx-1-1", "new-1-1", "shell-1-1", "tool-1-1"]
    );
    let resolution = resolve_in(&universe, "app").unwrap();
    let name = |at: usize| &*resolution.packages[at].name;
    assert_eq!(name(resolution.packages.len() - 1), "app");
    let pre = resolution
        .dependencies
        .iter()
        .find(|edge| edge.kind == DependencyKind::PreDepends);
    assert_eq!(name(pre.unwrap().to), "shell");
    assert_eq!(why(&resolution, "libx").unwrap().len(), 1);
    assert_eq!(resolution.requested, [resolution.packages.len() - 1]);
    let file = &resolution.packages[0];
    assert_eq!(file.file_name(), format!("{}-1-1.noarch.rpm", file.name));
}

#[test]
fn files_that_only_file_lists_know_are_asked_for() {
    let universe = [
        "app 1-1; Requires: /usr/lib/data, /usr/bin/none-lists-it",
        "data 1-1; Requires: /usr/lib/more",
        "more 1-1",
        "cmd 1-1; Provides: /usr/bin/none-lists-it",
    ];
    let records: Vec<_> = universe.iter().map(|text| record(text)).collect();
    let mut asked = Vec::new();
    let found = resolve(&request("app"), &records, |paths| {
        asked.extend(paths.iter().cloned());
        let owners = paths.iter().map(|path| match path.as_str() {
            "/usr/lib/data" => (records[1].checksum, vec![path.clone()]),
            _ => (records[2].checksum, vec![path.clone()]),
        });
        Ok::<_, ResolveError>(owners.collect())
    });
    assert_eq!(found.unwrap().packages.len(), 4);
    assert_eq!(asked, ["/usr/lib/data", "/usr/lib/more"]);
    let error = resolve(&request("app"), &records, |_| Ok::<_, ResolveError>(FileOwners::new())).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("app 1-1 needs /usr/lib/data, which no repository has"),
        "{error}"
    );
}

#[test]
fn conflicts_and_obsoletes_exclude() {
    let universe = [
        "a 1-1; Conflicts: b < 2",
        "b 1-1",
        "b 2-1",
        "c 1-1; Requires: b < 2",
        "d 1-1; Conflicts: virtual; Provides: virtual",
        "e 1-1; Provides: virtual",
        "new 2-1; Obsoletes: old < 2; Provides: old = 2",
        "old 1-1",
        "f 1-1; Requires: old",
    ];
    assert_eq!(installed(&universe, "a b"), ["a-1-1", "b-2-1"]);
    assert_eq!(installed(&universe, "d"), ["d-1-1"]);
    assert_eq!(installed(&universe, "old"), ["new-2-1"]);
    assert_eq!(installed(&universe, "f"), ["f-1-1", "new-2-1"]);
    let error = refused(&universe, "a c");
    assert!(error.contains("c 1-1 needs b < 2, here b 1-1"), "{error}");
    assert!(
        error.contains("a 1-1 cannot be together with b 1-1 (Conflicts: b < 2)"),
        "{error}"
    );
    let error = refused(&universe, "d e");
    assert!(error.contains("(Conflicts: virtual)"), "{error}");
    let error = refused(&universe, "old-1-1 new");
    assert!(
        error.contains("new 2-1 cannot be together with old 1-1 (Obsoletes: old < 2)"),
        "{error}"
    );
}

#[test]
fn rich_dependencies_hold() {
    let universe = [
        "or 1-1; Requires: (x or b)",
        "and 1-1; Requires: (a and b)",
        "if 1-1; Requires: (a if b)",
        "else 1-1; Requires: (a if b else c)",
        "with 1-1; Requires: (p with q)",
        "without 1-1; Requires: (p without q)",
        "unless 1-1; Conflicts: (a unless b)",
        "never 1-1; Requires: (missing if b)",
        "range 1-1; Requires: (r >= 1 with r < 2)",
        "a 1-1",
        "b 1-1",
        "c 1-1",
        "p1 1-1; Provides: p",
        "pq 1-1; Provides: p, q",
        "r 1.5-1",
        "r 2-1",
    ];
    assert_eq!(installed(&universe, "or"), ["b-1-1", "or-1-1"]);
    assert_eq!(installed(&universe, "and"), ["a-1-1", "and-1-1", "b-1-1"]);
    assert_eq!(installed(&universe, "if"), ["if-1-1"]);
    assert_eq!(installed(&universe, "if b"), ["a-1-1", "b-1-1", "if-1-1"]);
    assert_eq!(installed(&universe, "else"), ["c-1-1", "else-1-1"]);
    assert_eq!(installed(&universe, "else b"), ["a-1-1", "b-1-1", "else-1-1"]);
    assert_eq!(installed(&universe, "with"), ["pq-1-1", "with-1-1"]);
    assert_eq!(installed(&universe, "without"), ["p1-1-1", "without-1-1"]);
    assert_eq!(installed(&universe, "range"), ["r-1.5-1", "range-1-1"]);
    assert_eq!(installed(&universe, "unless a b"), ["a-1-1", "b-1-1", "unless-1-1"]);
    assert_eq!(installed(&universe, "unless a"), ["a-1-1", "b-1-1", "unless-1-1"]);
    assert_eq!(installed(&universe, "never"), ["never-1-1"]);
    let error = refused(&universe, "never b");
    assert!(
        error.contains("never 1-1") && error.contains("(missing if b)"),
        "{error}"
    );
    let error = refused(&["bad 1-1; Requires: (a and b or c)"], "bad");
    assert!(
        error.contains("bad 1-1 cannot be installed: Requires: (a and b or c)"),
        "{error}"
    );
}

#[test]
fn contradictions_are_told_as_chains() {
    let universe = [
        "a 1-1; Requires: b >= 2",
        "b 1-1",
        "c 1-1; Requires: d = 1",
        "d 1-1",
        "d 2-1",
        "e 1-1; Requires: d = 2",
    ];
    let error = refused(&universe, "a");
    assert!(
        error.contains("a 1-1 needs b >= 2, which no repository has (it is available as 1-1)"),
        "{error}"
    );
    let error = refused(&universe, "c e");
    assert!(error.contains("only one version of d can be installed"), "{error}");
}

#[test]
fn the_solver_steps_in_where_the_first_choice_fails() {
    let universe = [
        "app 1-1; Requires: virtual, tail",
        "first 1-1; Provides: virtual; Conflicts: tail",
        "second 1-1; Provides: virtual",
        "tail 1-1; Requires: lib < 2",
        "lib 1-1",
        "lib 2-1",
    ];
    assert_eq!(
        installed(&universe, "app"),
        ["app-1-1", "lib-1-1", "second-1-1", "tail-1-1"]
    );
    assert_eq!(
        installed(&universe, "app lib"),
        ["app-1-1", "lib-1-1", "second-1-1", "tail-1-1"]
    );
}

/// Makes packages `p0`…`p5` with random plain and rich dependencies.
fn universes() -> impl Strategy<Value = Vec<String>> {
    let name = || (0..6u32).prop_map(|number| format!("p{number}"));
    let rich = (name(), name(), name(), 0..5u32).prop_map(|(a, b, c, kind)| match kind {
        0 => a,
        1 => format!("({a} or {b})"),
        2 => format!("({a} if {b})"),
        3 => format!("({a} if {b} else {c})"),
        _ => format!("({a} and ({b} or {c}))"),
    });
    let conflict = (name(), name(), 0..3u32).prop_map(|(a, b, kind)| match kind {
        0 => a,
        1 => format!("({a} and {b})"),
        _ => format!("({a} unless {b})"),
    });
    let package = (prop::collection::vec(rich, 0..3), prop::collection::vec(conflict, 0..2));
    prop::collection::vec(package, 6).prop_map(|packages| {
        let text = |(number, (requires, conflicts)): (usize, (Vec<String>, Vec<String>))| {
            let mut text = format!("p{number} 1-1");
            if !requires.is_empty() {
                text += &format!("; Requires: {}", requires.join(", "));
            }
            if !conflicts.is_empty() {
                text += &format!("; Conflicts: {}", conflicts.join(", "));
            }
            text
        };
        packages.into_iter().enumerate().map(text).collect()
    })
}

proptest! {
    /// Compared with a trial of all 64 sets: an answer is found exactly if one exists, and it holds.
    #[test]
    fn answers_are_right_and_complete(texts in universes(), asked in 0..6u32) {
        let records: Vec<_> = texts.iter().map(|text| record(text)).collect();
        let universe = Universe::new(Arch::X86_64, &records, &[]);
        let holds = |there: u32| {
            (0..6).filter(|id| there & 1 << id != 0).all(|id| {
                let is_there = |other: &u32| there & 1 << *other != 0;
                let relations = universe.relations(id);
                relations.needs.iter().all(|need| !need.binds(is_there) || need.clause.packages.iter().any(is_there))
                    && !relations.clashes.iter().flat_map(|clash| &clash.packages).any(is_there)
            })
        };
        let possible = (0..64_u32).any(|there| there & 1 << asked != 0 && holds(there));
        match resolve(&request(&format!("p{asked}")), &records, |_| Ok(FileOwners::new())) {
            Ok(resolution) => {
                let there = resolution.packages.iter().fold(0, |there, package| {
                    there | 1 << package.name[1..].parse::<u32>().unwrap()
                });
                prop_assert!(there & 1 << asked != 0 && holds(there), "{:06b}", there);
            }
            Err(error @ ResolveError::Unsolvable { .. }) => prop_assert!(!possible, "{}", error),
            Err(error) => prop_assert!(false, "{}", error),
        }
    }
}
