//! The rules of relations, one by one, on small universes. `tests/it/system/resolve_oracle.rs`
//! compares with apt on a real one.

use std::collections::{HashMap, HashSet};

use super::*;
use crate::package::{Arch, Dependency, DependencyKind, ForeignArch, MultiArch, Sha256, Stanza};

/// Makes a package from lines such as `a 1.0` and `Depends: b (>= 2) | c`.
fn record(text: &str) -> PackageRecord {
    let mut lines = text.split(';').map(str::trim);
    let (name, version) = lines.next().unwrap().split_once(' ').unwrap();
    let fields: HashMap<_, _> = lines
        .map(|line| line.split_once(":").map(|(name, value)| (name, value.trim())).unwrap())
        .collect();
    let field = |name: &str| -> Box<str> { (*fields.get(name).unwrap_or(&"")).into() };
    PackageRecord {
        name: name.into(),
        version: version.into(),
        architecture: fields.get("Architecture").copied().unwrap_or("amd64").into(),
        multi_arch: match &*field("Multi-Arch") {
            "allowed" => MultiArch::Allowed,
            "same" => MultiArch::Same,
            "foreign" => MultiArch::Foreign,
            _ => MultiArch::No,
        },
        essential: &*field("Essential") == "yes",
        priority: fields.get("Priority").copied().unwrap_or("optional").into(),
        depends: field("Depends"),
        pre_depends: field("Pre-Depends"),
        recommends: field("Recommends"),
        provides: field("Provides"),
        conflicts: field("Conflicts"),
        breaks: field("Breaks"),
        replaces: field("Replaces"),
        path: format!("pool/{name}_{version}.deb").into(),
        size_bytes: 1,
        installed_size_bytes: 1,
        checksum: Sha256::of(text).into(),
        repository: field("Repository").to_string().into(),
        priority_pin: fields.get("Pin").map_or(500, |pin| pin.parse().unwrap()),
        stanza: Stanza::new(text.into(), 0..text.len()),
    }
}

fn request(packages: &str) -> Request {
    Request {
        arch: Arch::X86_64,
        packages: packages.split_ascii_whitespace().map(str::to_owned).collect(),
        recommending: Vec::new(),
        include_essential: false,
    }
}

fn resolve_in(universe: &[&str], packages: &str) -> Result<Resolution, ResolveError> {
    let records: Vec<_> = universe.iter().map(|text| record(text)).collect();
    resolve(&request(packages), &records)
}

/// Returns `name=version` of all packages in the order of installation.
fn installed(universe: &[&str], packages: &str) -> Vec<String> {
    let resolution = resolve_in(universe, packages).unwrap();
    resolution
        .packages
        .iter()
        .map(|package| format!("{}={}", package.name, package.version))
        .collect()
}

fn refused(universe: &[&str], packages: &str) -> ResolveError {
    resolve_in(universe, packages).unwrap_err()
}

#[test]
fn the_best_pin_wins_then_the_newest_version() {
    let universe = [
        "a 1; Pin: 500; Repository: main",
        "a 2; Pin: 100",
        "a 3; Pin: -1",
        "a 4; Pin: 0",
        "a 0.9; Pin: 500",
    ];
    assert_eq!(installed(&universe, "a"), ["a=1"]);
    assert_eq!(installed(&universe, "a=2"), ["a=2"]);
    assert!(matches!(refused(&universe, "a=3"), ResolveError::NoSuchVersion { .. }));
    // The same version twice: the first repository.
    let twice = ["a 1; Repository: main", "a 1; Repository: mirror"];
    assert_eq!(resolve_in(&twice, "a").unwrap().packages[0].repository, "main");
    // A pin above 1000 beats a newer version, as any pin does when nothing is installed.
    assert_eq!(installed(&["a 1; Pin: 1001", "a 2"], "a"), ["a=1"]);
}

#[test]
fn other_architectures_do_not_exist() {
    let universe = ["a 1; Depends: b", "b 2; Architecture: arm64", "b 1; Architecture: all"];
    assert_eq!(installed(&universe, "a"), ["b=1", "a=1"]);
    assert_eq!(installed(&universe, "a:amd64"), ["b=1", "a=1"]);
    assert!(matches!(
        refused(&universe, "a:arm64"),
        ResolveError::OtherArchitecture { .. }
    ));
}

#[test]
fn qualifiers_need_multi_arch() {
    let any = ["a 1; Depends: b:any", "b 1; Multi-Arch: allowed"];
    assert_eq!(installed(&any, "a"), ["b=1", "a=1"]);
    assert!(resolve_in(&["a 1; Depends: b:any", "b 1"], "a").is_err());
    assert_eq!(
        installed(&["a 1; Depends: b:amd64, c:native", "b 1", "c 1"], "a"),
        ["b=1", "c=1", "a=1"]
    );
    assert!(resolve_in(&["a 1; Depends: b:i386", "b 1"], "a").is_err());
    assert_eq!(installed(&["a 1; Conflicts: b:i386", "b 1"], "a b"), ["a=1", "b=1"]);
}

#[test]
fn the_first_alternative_that_can_be_installed_is_taken() {
    let universe = [
        "a 1; Depends: b | c",
        "b 1; Depends: missing",
        "c 1",
        "d 1; Depends: c | e",
        "e 1",
        "f 1; Depends: e | c",
    ];
    assert_eq!(installed(&universe, "a"), ["c=1", "a=1"]);
    // A requested package satisfies an alternative.
    assert_eq!(installed(&universe, "e d"), ["e=1", "d=1"]);
    assert_eq!(installed(&universe, "d f"), ["c=1", "d=1", "f=1"]);
}

#[test]
fn a_real_package_goes_before_providers_and_important_ones_before_optional_ones() {
    let universe = [
        "a 1; Depends: mta",
        "x 1; Provides: mta",
        "mta 1",
        "b 1; Depends: awk",
        "gawk 1; Provides: awk",
        "mawk 1; Provides: awk; Priority: required",
    ];
    assert_eq!(installed(&universe, "a"), ["mta=1", "a=1"]);
    assert_eq!(installed(&universe, "b"), ["mawk=1", "b=1"]);
    // Otherwise equal: the one mentioned last.
    let equal = [
        "a 1; Depends: mta; Recommends: y",
        "x 1; Provides: mta",
        "y 1; Provides: mta",
    ];
    assert_eq!(installed(&equal, "a"), ["x=1", "a=1"]);
}

#[test]
fn provides_satisfy_versions_only_if_they_have_one() {
    let depends = "a 1; Depends: v (>= 2)";
    assert_eq!(installed(&[depends, "x 1; Provides: v (= 2)"], "a"), ["x=1", "a=1"]);
    assert!(resolve_in(&[depends, "x 3; Provides: v"], "a").is_err());
    assert!(resolve_in(&[depends, "x 3; Provides: v (= 1)"], "a").is_err());
    assert!(resolve_in(&[depends, "x 3; Provides: v (>= 2)"], "a").is_err());
}

#[test]
fn conflicts_hit_providers_but_not_the_package_itself() {
    let universe = [
        "x 1; Provides: mta; Conflicts: mta",
        "y 1; Provides: mta; Breaks: mta",
        "z 1; Provides: mta (= 1); Breaks: mta (<< 1)",
    ];
    assert_eq!(installed(&universe, "x"), ["x=1"]);
    assert!(resolve_in(&universe, "x y").is_err());
    // A versioned conflict does not hit an unversioned Provides.
    assert_eq!(
        installed(&["a 1; Breaks: v (<< 2)", "b 1; Provides: v"], "a b"),
        ["a=1", "b=1"]
    );
    assert!(resolve_in(&["a 1; Breaks: v (<< 2)", "b 1; Provides: v (= 1)"], "a b").is_err());
}

#[test]
fn the_solver_departs_from_the_first_choice_where_it_must() {
    // The walk takes b for a, then finds that c, which breaks b, cannot do without d.
    let universe = [
        "a 1; Depends: b | b2",
        "b 1",
        "b2 1",
        "c 1; Depends: d | d2",
        "d 1; Depends: e",
        "e 1; Breaks: b",
        "d2 1; Breaks: b, b2",
    ];
    let packages = installed(&universe, "a c");
    assert!(
        packages.contains(&"b2=1".to_owned()) || !packages.contains(&"d=1".to_owned()),
        "{packages:?}"
    );
    // An older version, if only that one fits.
    let versions = ["a 1; Depends: b (<< 2)", "b 2", "b 1"];
    assert_eq!(installed(&versions, "a"), ["b=1", "a=1"]);
}

#[test]
fn what_is_needed_comes_first_and_essential_packages_before_all() {
    let universe = [
        "a 1; Depends: z",
        "z 1",
        "base 1; Essential: yes; Pre-Depends: libc",
        "libc 1; Depends: gcc",
        "gcc 1; Depends: libc",
    ];
    let records: Vec<_> = universe.iter().map(|text| record(text)).collect();
    let mut request = request("a");
    request.include_essential = true;
    let resolution = resolve(&request, &records).unwrap();
    let names: Vec<_> = resolution.packages.iter().map(|package| &*package.name).collect();
    assert_eq!(names, ["gcc", "libc", "base", "z", "a"]);
    assert_eq!(resolution.requested, [4]);
    assert!(resolution.dependencies.contains(&Dependency {
        from: 2,
        to: 1,
        kind: DependencyKind::PreDepends
    }));
    assert!(resolution.dependencies.contains(&Dependency {
        from: 4,
        to: 3,
        kind: DependencyKind::Depends
    }));
    assert_eq!(resolution.packages[4].stanza, universe[0]);
}

#[test]
fn patterns_and_virtual_names() {
    let universe = [
        "lib-a 1",
        "lib-b 1",
        "other 1; Provides: lib-v",
        "x 1; Provides: w",
        "y 1; Provides: w",
    ];
    assert_eq!(installed(&universe, "lib-*"), ["lib-a=1", "lib-b=1"]);
    assert_eq!(installed(&universe, "lib-v"), ["other=1"]);
    assert!(matches!(
        refused(&universe, "zzz*"),
        ResolveError::NothingMatches { .. }
    ));
    let error = refused(&universe, "w");
    assert_eq!(error.to_string(), "w is a virtual package that x, y provide");
    assert_eq!(error.hint().unwrap(), "ask for one of them, such as x");
    for text in ["", "=1", "a=", ":amd64"] {
        let request = Request {
            packages: vec![text.to_owned()],
            ..request("")
        };
        assert!(
            matches!(resolve(&request, &[]), Err(ResolveError::Malformed { .. })),
            "{text}"
        );
    }
}

#[test]
fn an_unknown_package_comes_with_a_guess() {
    let error = refused(&["openssh-server 1"], "opensh-server");
    assert_eq!(error.to_string(), "no repository has a package named opensh-server");
    assert_eq!(error.hint().unwrap(), "did you mean openssh-server?");
    let error = refused(&["a 1", "a 2"], "a=3");
    assert_eq!(error.to_string(), "no repository has version 3 of a");
    assert_eq!(error.hint().unwrap(), "a is available as 2, 1");
}

#[test]
fn a_missing_dependency_is_told_as_a_chain() {
    let error = refused(&["a 1; Depends: b", "b 2; Depends: c (>= 5) | d", "c 4"], "a");
    assert_eq!(
        error.to_string(),
        "the packages cannot be installed together:\n  \
         a 1 is asked for\n  \
         a 1 needs b, here b 2\n  \
         b 2 needs c (>= 5) | d, which no repository has (c is available as 4)"
    );
    assert_eq!(
        error.hint().unwrap(),
        "add the repository that has what is missing, or leave out a"
    );
}

#[test]
fn a_conflict_is_told_with_who_wants_each() {
    let universe = ["a 1; Depends: x", "b 1; Depends: y", "x 1", "y 1; Breaks: x (<< 2)"];
    let error = refused(&universe, "a b");
    assert_eq!(
        error.to_string(),
        "the packages cannot be installed together:\n  \
         b 1 is asked for\n  \
         b 1 needs y, here y 1\n  \
         a 1 is asked for\n  \
         a 1 needs x, here x 1\n  \
         y 1 cannot be together with x 1 (Breaks: x (<< 2))"
    );
    assert_eq!(error.hint().unwrap(), "leave out one of b, a");
}

#[test]
fn two_versions_of_one_package_are_told() {
    let universe = ["a 1; Depends: x (>= 2)", "b 1; Depends: x (<< 2)", "x 1", "x 2"];
    let text = refused(&universe, "a b").to_string();
    assert!(text.contains("only one version of x can be installed: "), "{text}");
    assert!(text.contains("a 1 needs x (>= 2), here x 2"), "{text}");
    assert!(text.contains("b 1 needs x (<< 2), here x 1"), "{text}");
}

#[test]
fn a_malformed_field_is_named_if_the_package_is_needed() {
    let universe = ["a 1; Depends: b", "b 1; Depends: c (?? 1)", "d 1"];
    assert_eq!(installed(&universe, "d"), ["d=1"]);
    let text = refused(&universe, "a").to_string();
    assert!(
        text.contains("b 1 cannot be installed: its Depends field is malformed"),
        "{text}"
    );
}

#[test]
fn long_chains_and_cycles_do_not_exhaust_the_stack() {
    let count = 5000;
    let texts: Vec<_> = (0..count)
        .map(|at| format!("p{at} 1; Depends: p{}", (at + 1) % count))
        .collect();
    let texts: Vec<_> = texts.iter().map(String::as_str).collect();
    assert_eq!(installed(&texts, "p0").len(), count);
}

mod random {
    use super::*;
    use proptest::prelude::*;

    /// Makes a small universe of `p0`…`p7` with random relations.
    fn universe() -> impl Strategy<Value = Vec<String>> {
        let name = || (0..8u8).prop_map(|number| format!("p{number}"));
        let relation = move || (name(), prop::sample::select(vec!["", " (>= 2)", " (<< 2)"])).prop_map(|(a, b)| a + b);
        let group = prop::collection::vec(relation(), 1..3).prop_map(|list| list.join(" | "));
        let package = (
            name(),
            1..3u8,
            prop::collection::vec(group, 0..3),
            prop::collection::vec(relation(), 0..2),
            prop::collection::vec(name(), 0..2),
        );
        let text = package.prop_map(|(name, version, depends, breaks, provides)| {
            let (depends, breaks, provides) = (depends.join(", "), breaks.join(", "), provides.join(", "));
            format!("{name} {version}; Depends: {depends}; Breaks: {breaks}; Provides: {provides}")
        });
        prop::collection::vec(text, 1..12).prop_map(|mut texts| {
            let mut seen = HashSet::new();
            texts.retain(|text| seen.insert(text.split(';').next().unwrap_or("").to_owned()));
            texts
        })
    }

    /// Returns whether a set of packages holds by the definition, with code of its own.
    fn holds(packages: &[&PackageRecord]) -> bool {
        let fits = |relation: &crate::package::Relation<'_>, other: &PackageRecord| {
            let provided = crate::package::parse_relations(&other.provides, Arch::X86_64).unwrap();
            (*other.name == *relation.name && relation.accepts(Some(&other.version)))
                || provided
                    .iter()
                    .any(|p| p.alternatives[0].name == relation.name && relation.accepts(None))
        };
        let groups = |field| crate::package::parse_relations(field, Arch::X86_64).unwrap();
        packages.iter().enumerate().all(|(at, package)| {
            let unique = packages.iter().skip(at + 1).all(|other| other.name != package.name);
            let satisfied = groups(&package.depends).iter().all(|group| {
                group
                    .alternatives
                    .iter()
                    .any(|r| packages.iter().any(|other| fits(r, other)))
            });
            let peaceful = groups(&package.breaks).iter().all(|group| {
                packages
                    .iter()
                    .all(|other| other.name == package.name || !fits(&group.alternatives[0], other))
            });
            unique && satisfied && peaceful
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        /// An answer holds, and "no" is said only if no subset of the universe does.
        #[test]
        fn the_answer_is_right(texts in universe(), wanted in 0..8u8) {
            let records: Vec<_> = texts.iter().map(|text| record(text)).collect();
            let wanted = format!("p{wanted}");
            match resolve(&request(&wanted), &records) {
                Ok(resolution) => {
                    let chosen: Vec<_> = resolution
                        .packages
                        .iter()
                        .map(|p| records.iter().find(|r| *r.name == *p.name && *r.version == *p.version).unwrap())
                        .collect();
                    prop_assert!(holds(&chosen));
                    prop_assert!(chosen.iter().any(|package| *package.name == *wanted || package.provides.contains(&wanted)));
                    let again = resolve(&request(&wanted), &records).unwrap();
                    prop_assert_eq!(again.packages, resolution.packages);
                    prop_assert_eq!(again.dependencies, resolution.dependencies);
                }
                Err(ResolveError::Unsolvable { reasons, .. }) => {
                    prop_assert!(!reasons.is_empty());
                    let possible = (0..1u32 << records.len()).any(|mask| {
                        let set: Vec<_> = (0..records.len()).filter(|at| mask >> at & 1 == 1).map(|at| &records[at]).collect();
                        set.iter().any(|package| *package.name == *wanted) && holds(&set)
                    });
                    prop_assert!(!possible);
                }
                Err(_) => {}
            }
        }
    }
}

/// Older templates have `name_version`, and files of packages are named so.
#[test]
fn a_file_name_asks_for_the_package_in_its_version() {
    let universe = ["bash 5.2.37-2+b10", "bash 5.3-1", "a 1:2", "a 3", "b 1"];
    for (asked, installed_one) in [
        ("bash_5.2.37-2+b10", "bash=5.2.37-2+b10"),
        ("bash_5.2.37-2+b10_amd64", "bash=5.2.37-2+b10"),
        ("bash_5.2.37-2+b10_amd64.deb", "bash=5.2.37-2+b10"),
        ("a_1%3a2_all.deb", "a=1:2"),
        ("a_1:2", "a=1:2"),
        ("a_2", "a=1:2"),
        ("a_3", "a=3"),
    ] {
        assert_eq!(installed(&universe, asked), [installed_one], "{asked}");
    }
    for (asked, error) in [
        ("bash_9", "no repository has version 9 of bash"),
        ("zzz_1", "no repository has a package named zzz"),
        ("b_1_arm64", "b:arm64=1: the target is amd64, not arm64"),
    ] {
        assert_eq!(refused(&universe, asked).to_string(), error);
    }
    assert_eq!(refused(&universe, "bahs").hint().unwrap(), "did you mean bash?");
}

#[test]
fn packages_that_are_left_out_do_not_exist() {
    let records = ["a 1; Depends: time | clock", "time 1", "clock 1", "b 1; Depends: time"].map(record);
    let resolver = Resolver::new(Arch::X86_64, &records, &["time".to_owned()]);
    let names = |packages: &[&str]| {
        let packages: Vec<String> = packages.iter().map(|name| (*name).to_owned()).collect();
        let wanted = Wanted {
            packages: &packages,
            recommending: &[],
            include_essential: false,
        };
        resolver.resolve(&wanted).map(|resolution| resolution.packages.len())
    };
    assert_eq!(names(&["a"]).unwrap(), 2, "the other alternative");
    let error = names(&["b"]).unwrap_err().to_string();
    assert!(error.contains("b 1 needs time, which no repository has"), "{error}");
}

#[test]
fn an_error_tells_which_parts_of_the_request_it_is_about() {
    let universe = ["a 1; Conflicts: b", "b 1", "c 1; Depends: b", "d 1"];
    let asked = |packages: &str| {
        let error = refused(&universe, packages);
        let mut names: Vec<String> = error.asked_for().into_iter().map(str::to_owned).collect();
        names.sort();
        names
    };
    assert_eq!(asked("a c d"), ["a", "c"]);
    assert_eq!(asked("zzz"), ["zzz"]);
    assert_eq!(asked("d=7"), ["d"]);
}

/// Returns `name:architecture` of all packages for a request in which those before `+` bring what they recommend, on a
/// machine that runs i386 too.
fn chosen(universe: &[&str], packages: &str) -> Result<Vec<String>, String> {
    let records: Vec<_> = universe.iter().map(|text| record(text)).collect();
    let targets = Targets {
        native: Arch::X86_64,
        foreign: &[ForeignArch::I386],
    };
    let words = |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_owned).collect() };
    let recommending = words(packages.split_once('+').map_or("", |(before, _)| before));
    let resolver = Resolver::new(targets, &records, &[]);
    let resolution = resolver.resolve(&Wanted {
        packages: &words(&packages.replace('+', " ")),
        recommending: &recommending,
        include_essential: false,
    });
    let resolution = resolution.map_err(|error| error.to_string())?;
    let name = |package: &ResolvedPackage| match package.architecture.as_str() {
        "amd64" => package.name.clone(),
        architecture => format!("{}:{architecture}", package.name),
    };
    let mut names: Vec<_> = resolution.packages.iter().map(name).collect();
    names.sort();
    Ok(names)
}

#[test]
fn recommendations_are_followed_where_they_fit() {
    let universe = [
        "a 1; Depends: b; Recommends: gone | c, x (>= 2), d",
        "b 1; Recommends: e",
        "c 1; Depends: f; Recommends: g",
        "d 1; Conflicts: y",
        "e 1",
        "f 1",
        "g 1; Depends: gone",
        "x 1",
        "y 1; Recommends: a",
        "z 1; Depends: b",
    ];
    for (asked, expected) in [
        ("a", "a b"),
        ("a +", "a b c d e f"),
        ("a + y", "a b c e f y"),
        ("y + a", "a b y"),
        // What was there before is not asked again.
        ("z", "b z"),
    ] {
        assert_eq!(chosen(&universe, asked).unwrap().join(" "), expected, "{asked}");
    }
    let records = universe.map(record);
    let packages = ["z", "a"].map(str::to_owned);
    let wanted = Wanted {
        packages: &packages,
        recommending: &packages[1..],
        include_essential: false,
    };
    let resolution = Resolver::new(Arch::X86_64, &records, &[]).resolve(&wanted).unwrap();
    let names: Vec<_> = resolution.packages.iter().map(|package| &*package.name).collect();
    assert!(!names.contains(&"e"), "{names:?}");
    let chain = crate::resolve::why(&resolution, "f").unwrap();
    let kinds: Vec<_> = chain.iter().map(|edge| edge.kind).collect();
    assert_eq!(kinds, [DependencyKind::Recommends, DependencyKind::Depends]);
}

#[test]
fn packages_of_two_architectures_follow_multi_arch() {
    let universe = [
        "libc 2; Multi-Arch: same",
        "libc 2; Multi-Arch: same; Architecture: i386",
        "lib 1; Multi-Arch: same; Depends: libc",
        "lib 2; Multi-Arch: same; Depends: libc; Architecture: i386",
        "tool 1; Multi-Arch: foreign; Depends: libc",
        "tool 1; Multi-Arch: foreign; Depends: libc; Architecture: i386",
        "py 1; Multi-Arch: allowed",
        "py 1; Multi-Arch: allowed; Architecture: i386",
        "data 1; Architecture: all",
        "docs 1; Architecture: all; Multi-Arch: foreign",
        "app 1; Depends: libc, tool, py:any, docs",
        "app 1; Depends: libc, tool, py:any, docs; Architecture: i386",
        "needs-data 1; Depends: data; Architecture: i386",
        "plain 1",
        "plain 1; Architecture: i386",
        "wine32 1; Depends: libc; Architecture: i386",
        "mta 1; Provides: mail; Multi-Arch: foreign",
        "wants-mail 1; Depends: mail; Architecture: i386",
        "only-here 1; Depends: plain:amd64; Architecture: i386",
        "hates 1; Breaks: plain",
    ];
    for (asked, expected) in [
        ("app", Ok("app docs:all libc py tool")),
        // A tool of either architecture will do, and the machine's own comes first.
        ("app:i386", Ok("app:i386 docs:all libc libc:i386 py tool")),
        ("wine32", Ok("libc:i386 wine32:i386")),
        ("libc libc:i386", Ok("libc libc:i386")),
        ("wants-mail:i386", Ok("mta wants-mail:i386")),
        ("only-here:i386", Ok("only-here:i386 plain")),
        ("plain plain:i386", Err("Multi-Arch: no")),
        ("lib lib:i386", Err("the same version of all architectures")),
        ("needs-data:i386", Err("needs data")),
        ("hates plain:i386", Err("Breaks: plain")),
        ("libd:i386", Err("no repository has a package named libd:i386")),
        ("libc:armhf", Err("the target is amd64, not armhf")),
    ] {
        match (chosen(&universe, asked), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found.join(" "), expected, "{asked}"),
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{asked}: {found}"),
            (found, expected) => panic!("{asked}: {found:?} instead of {expected:?}"),
        }
    }
}
