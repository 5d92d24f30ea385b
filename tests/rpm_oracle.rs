//! dnf decides: for each request over the same repositories, we install the same packages.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

#[path = "support/rpm.rs"]
mod rpm;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use oic::cancel::Cancel;
use oic::fetch::{FetchOptions, Fetcher};
use oic::package::Arch;
use oic::progress::Silent;
use oic::repo::{LoadOptions, Repository, Signed, rpm as repository};
use oic::resolve::{Request, ResolveError, rpm::resolve};

/// What a distribution has in small: sonames, files, rich dependencies, epochs, tildes, obsoletes, ….
const MAIN: &[&str] = &[
    "filesystem 1.0-1; Arch: x86_64; Files: /usr/share/filesystem",
    "setup 2.0-1; Requires(pre): filesystem; Files: /etc/passwd, /etc/group",
    "libs 3.0-1; Arch: x86_64; Requires: filesystem; Provides: libfoo.so.1()(64bit), libbar.so.2(BAR_2.0)(64bit)",
    "shell 5.2-1; Arch: x86_64; Requires: libfoo.so.1()(64bit); Provides: /bin/sh; Files: /usr/bin/shell",
    "filedep 1.0-1; Requires: /usr/bin/shell, /etc/passwd",
    "deepfile 1.0-1; Requires: /usr/share/deep/data",
    "deep 1.0-1; Files: /usr/share/deep/data",
    "richor 1.0-1; Requires: (cap-a or cap-b)",
    "richwith 1.0-1; Requires: (shell >= 5.0 with shell < 6.0)",
    "richif 1.0-1; Requires: (langpack if desktop)",
    "richelse 1.0-1; Requires: (langpack if desktop else plain)",
    "richand 1.0-1; Requires: (deep and plain)",
    "richwithout 1.0-1; Requires: (cap-c without cap-d)",
    "langpack 1.0-1; Files: /usr/share/langpack",
    "desktop 1.0-1; Files: /usr/share/desktop",
    "plain 1.0-1; Files: /usr/share/plain",
    "prov-a 1.0-1; Provides: cap-a = 1",
    "only-c 1.0-1; Provides: cap-c",
    "both-cd 1.0-1; Provides: cap-c, cap-d",
    "conflicting 1.0-1; Conflicts: cap-a",
    "weak 1.0-1; Recommends: plain; Suggests: deep",
    "epochal 1:1.0-1; Files: /usr/share/epochal",
    "epochal 2.0-1; Files: /usr/share/epochal",
    "tilde 1.0~rc1-1; Files: /usr/share/tilde",
    "tilde 1.0-1; Files: /usr/share/tilde",
    "caret 1.0-1; Files: /usr/share/caret",
    "caret 1.0^git1-1; Files: /usr/share/caret",
    "oldname 1.0-1; Files: /usr/share/oldname",
    "newname 2.0-1; Obsoletes: oldname < 2; Provides: oldname = 2",
    "wants-old 1.0-1; Requires: oldname",
    "needs-new-lib 1.0-1; Requires: lib >= 2",
    "needs-old-lib 1.0-1; Requires: lib < 2",
    "lib 1.5-1; Files: /usr/share/lib",
    "lib 2.5-1; Files: /usr/share/lib",
    "exactly 1.0-1; Requires: lib = 1.5",
    "unversioned 1.0-1; Provides: soft",
    "needs-soft 1.0-1; Requires: soft >= 3",
    "cycle-a 1.0-1; Requires: cycle-b",
    "cycle-b 1.0-1; Requires: cycle-a",
    "meta 1.0-1; Requires: setup, shell, filedep, richwith, richif, epochal, tilde, newname, lib",
    "broken 1.0-1; Requires: nobody-has-this",
    "hidden 2.0-1; Files: /usr/share/hidden",
];

/// A second repository, which brings newer and other packages.
const UPDATES: &[&str] = &[
    "plain 1.1-1; Files: /usr/share/plain",
    "filesystem 1.0-1; Arch: x86_64; Files: /usr/share/filesystem",
    "extra 1.0-1; Requires: plain >= 1.1, shell",
    "hidden 1.0-1; Files: /usr/share/hidden",
];

fn load(roots: &[&Path], cache: &Path) -> (Vec<Repository>, Vec<repository::LoadedIndex>, LoadOptions) {
    let repositories: Vec<_> = roots
        .iter()
        .zip(["main", "updates"])
        .map(|(root, id)| Repository {
            id: id.to_owned(),
            base_url: format!("file://{}", root.display()),
            mirror_list: None,
            suite: String::new(),
            components: Vec::new(),
            keys: Vec::new(),
            signed: Signed::Both,
            trusted: true,
            priority: 500,
            allow_packages: Vec::new(),
        })
        .collect();
    let options = LoadOptions {
        arch: Arch::X86_64,
        metadata_dir: cache.to_owned(),
        now: SystemTime::now(),
        offline: false,
        workers: 2,
        jobs: 2,
    };
    let loaded = repository::load_all(&repositories, &options, &fetcher(), &Silent, &Cancel::default());
    (repositories, loaded.unwrap(), options)
}

fn fetcher() -> Fetcher {
    Fetcher::new(FetchOptions::default(), Cancel::default()).unwrap()
}

/// `name-version.arch` of all packages, or why not.
fn ours(roots: &[&Path], cache: &Path, asked: &str) -> Result<BTreeSet<String>, ResolveError> {
    let (repositories, loaded, options) = load(roots, cache);
    let records: Vec<_> = loaded.iter().flat_map(|index| index.records.clone()).collect();
    let request = Request {
        arch: Arch::X86_64,
        packages: asked.split(' ').map(str::to_owned).collect(),
        include_essential: true,
    };
    let resolution = resolve(&request, &records, |paths| {
        let found = repository::owners(&repositories, &loaded, paths, &options, &fetcher(), &Cancel::default());
        Ok::<_, ResolveError>(found.unwrap())
    })?;
    let full = resolution
        .packages
        .iter()
        .map(|package| format!("{}-{}.{}", package.name, package.version, package.architecture));
    Ok(full.collect())
}

/// The same from `dnf install --assumeno`, or why it refuses.
fn dnf(roots: &[&Path], scratch: &Path, asked: &str) -> Result<BTreeSet<String>, String> {
    std::fs::create_dir_all(scratch.join("log")).unwrap();
    let mut command = Command::new("dnf");
    command
        .arg(format!("--installroot={}", scratch.join("root").display()))
        .arg(format!("--setopt=cachedir={}", scratch.join("dnf").display()))
        .arg(format!("--setopt=logdir={}", scratch.join("log").display()))
        .args([
            "--releasever=1",
            "--forcearch=x86_64",
            "--setopt=reposdir=/nonexistent",
            "--nogpgcheck",
        ])
        .args([
            "--setopt=install_weak_deps=False",
            "--setopt=metadata_expire=never",
            "--setopt=varsdir=/nonexistent",
        ]);
    for (root, id) in roots.iter().zip(["main", "updates"]) {
        command.arg(format!("--repofrompath={id},file://{}", root.display()));
    }
    let output = command
        .args(["--assumeno", "install"])
        .args(asked.split(' '))
        .env("COLUMNS", "400")
        .env("LC_ALL", "C")
        .output()
        .expect("this test needs dnf (package dnf)");
    let text = String::from_utf8_lossy(&output.stdout);
    if !text.contains("Operation aborted") && !text.contains("Transaction Summary") {
        return Err(format!("{text}{}", String::from_utf8_lossy(&output.stderr)));
    }
    let lines = text.lines().filter_map(|line| {
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        match words[..] {
            [name, arch @ ("x86_64" | "noarch"), version, "main" | "updates", ..] => {
                Some(format!("{name}-{version}.{arch}"))
            }
            _ => None,
        }
    });
    Ok(lines.collect())
}

#[test]
fn dnf_installs_the_same_packages() {
    let scratch = tempfile::tempdir().unwrap();
    let (main, updates) = (scratch.path().join("main"), scratch.path().join("updates"));
    for (directory, packages) in [(&main, MAIN), (&updates, UPDATES)] {
        std::fs::create_dir(directory).unwrap();
        rpm::build(directory, packages);
        rpm::index(directory);
    }
    let roots = [&*main, &*updates];
    let cache = scratch.path().join("cache");
    let mut refused = 0;
    for asked in [
        "meta",
        "filedep",
        "deepfile",
        "richor",
        "richwith richand",
        "richif",
        "richif desktop",
        // Alone it has two answers.
        "richelse desktop",
        "richwithout",
        "weak",
        "epochal tilde caret",
        "oldname",
        "wants-old",
        "needs-new-lib",
        "needs-old-lib",
        "exactly",
        "needs-soft",
        "cycle-a",
        "extra",
        "plain-1.0",
        "tilde-1.0~rc1-1",
        "epochal-1:1.0-1.noarch",
        "lib-1.5 needs-old-lib",
        "rich*",
        "/usr/bin/shell",
        "cap-a",
        "hidden",
        "setup.noarch",
        "broken",
        "richor conflicting",
        "needs-new-lib needs-old-lib",
        "no-such-package",
    ] {
        let (ours, dnf) = (ours(&roots, &cache, asked), dnf(&roots, scratch.path(), asked));
        refused += usize::from(dnf.is_err());
        assert_eq!(ours.as_ref().ok(), dnf.as_ref().ok(), "{asked}: {ours:?} {dnf:?}");
        assert!(
            dnf.is_ok_and(|packages| !packages.is_empty()) || ours.is_err(),
            "{asked}"
        );
    }
    assert_eq!(refused, 4, "dnf refuses what cannot be");
}
