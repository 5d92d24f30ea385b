use super::*;
use crate::cancel::Cancel;
use crate::installed::{Database, Owners, visit};
use crate::overlay::directory::DirectoryLayer;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const STATUS: &str = "Package: app\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\n";

fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        let file = fs::File::open(&path).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
    }
    directory
}

fn files(from: &Path, to: &Path) -> FilesDifference {
    let layers = [from, to].map(|path| DirectoryLayer::open(path).unwrap());
    let listings = [0, 1].map(|at: usize| visit::list(&layers[at], 2));
    let databases = [0, 1].map(|at: usize| Database::read(&layers[at]).unwrap());
    let owners = [0, 1].map(|at: usize| Owners::read(&layers[at], &databases[at]).unwrap());
    let side = |at: usize| Side {
        layer: &layers[at],
        listing: &listings[at],
        database: &databases[at],
        owners: &owners[at],
    };
    compare_files(&side(0), &side(1), 2, &Cancel::default()).unwrap()
}

#[test]
fn each_file_is_told_with_what_differs_and_its_package() {
    let common = [
        ("var/lib/dpkg/status", STATUS),
        ("var/lib/dpkg/info/app.list", "/usr/bin/app\n/usr/lib/gone\n"),
        ("usr/bin/app", "same size 1"),
        ("etc/same", "x"),
    ];
    let from = tree(&[&common[..], &[("usr/lib/gone", "1234")]].concat());
    let to = tree(&[&common[..], &[("opt/new", "12")]].concat());
    let app = to.path().join("usr/bin/app");
    fs::write(&app, "same size 2").unwrap();
    fs::File::open(&app)
        .unwrap()
        .set_modified(std::time::UNIX_EPOCH)
        .unwrap();
    let file = fs::File::open(to.path().join("etc/same")).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(9))
        .unwrap();
    let found = files(from.path(), to.path());
    let shown: Vec<_> = found
        .changes
        .iter()
        .map(|change| {
            format!(
                "{} {} {} [{}]",
                change.path,
                change.action,
                change.words(),
                change.package
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            "/etc/same modified time []",
            "/opt added added []",
            "/opt/new added added []",
            "/usr/bin/app modified content [app]",
            "/usr/lib removed removed []",
            "/usr/lib/gone removed removed [app]",
        ]
    );
    assert_eq!(found.grown_bytes, -2);
    let comparison = compare(Parts {
        files: Some(found),
        ..Parts::default()
    });
    assert_eq!(comparison.equality.class, Class::Different);
    assert_eq!(comparison.equality.volatile_reasons, ["file /etc/same time"]);
    let page = page(&comparison);
    assert!(
        page.contains("<td>/usr/bin/app</td><td>content</td><td>app</td><td>11</td><td>11</td>"),
        "{page}"
    );
}

#[test]
fn the_same_tree_is_no_difference() {
    let one = tree(&[("a", "x"), ("b/c", "y")]);
    let found = files(one.path(), one.path());
    assert_eq!(found.changes, []);
    let comparison = compare(Parts {
        files: Some(found),
        ..Parts::default()
    });
    assert_eq!(comparison.equality.class, Class::SemanticallyIdentical);
}

#[test]
fn identifiers_mean_nothing_and_all_else_does() {
    let uuid = |last: char| format!("01234567-89ab-cdef-0123-45678901234{last}");
    for (path, from, to, volatile) in [
        ("diskGuid", json!("a"), json!("b"), true),
        (
            "bootConfig.bootEntries.0.cmdline",
            json!(format!("root=UUID={} ro", uuid('1'))),
            json!(format!("root=UUID={} ro", uuid('2'))),
            true,
        ),
        ("cmdline", json!("root=/dev/sda ro"), json!("root=/dev/sda rw"), false),
        ("StartLBA", json!(1), json!(2), false),
    ] {
        let change = Change {
            path: path.into(),
            from,
            to,
        };
        assert_eq!(is_volatile(&change), volatile, "{path}");
    }
}

#[test]
fn packages_are_added_removed_and_upgraded() {
    let known = |list: &[(&str, &str)]| -> Vec<Known> {
        let known = |(name, version): &(&str, &str)| Known {
            name: (*name).into(),
            version: (*version).into(),
            ..Known::default()
        };
        list.iter().map(known).collect()
    };
    let from = known(&[("a", "1"), ("gone", "1"), ("kernel", "1"), ("kernel", "2")]);
    let to = known(&[("a", "2"), ("new", "1"), ("kernel", "2"), ("kernel", "3")]);
    let words: BTreeSet<String> = compare_packages(&from, &to).iter().map(PackageChange::words).collect();
    assert_eq!(
        words,
        BTreeSet::from(["a 1 -> 2", "gone 1 removed", "kernel 1 -> 3", "new 1 added"].map(String::from))
    );
}

#[test]
fn bills_of_both_kinds_are_compared() {
    let spdx = br#"{"spdxVersion":"SPDX-2.3","packages":[{"name":"a","versionInfo":"1",
        "externalRefs":[{"referenceType":"purl","referenceLocator":"pkg:deb/debian/a@1?arch=amd64"}]},
        {"name":"src","versionInfo":"1","primaryPackagePurpose":"SOURCE"}]}"#;
    let cyclone = br#"{"bomFormat":"CycloneDX","components":[{"type":"library","name":"a","version":"2",
        "purl":"pkg:deb/debian/a@2?arch=amd64&distro=x"},{"type":"file","name":"/f"}]}"#;
    let found = compare_bills(("x", spdx), ("y", cyclone)).unwrap();
    assert_eq!(found.upgraded_packages, ["a: 1 -> 2"]);
    assert_eq!(
        (found.added_packages.len(), found.removed_packages.len(), found.equal),
        (0, 0, false)
    );
    assert!(compare_bills(("x", b"{}"), ("y", b"[")).is_err());
}
