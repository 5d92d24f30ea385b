//! dnf decides: for each request over the same repositories, we install the same packages.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::collections::BTreeSet;
use std::path::Path;
use std::time::SystemTime;

use oic::cancel::Cancel;
use oic::fetch::{FetchOptions, Fetcher};
use oic::package::{Arch, PackageFilter};
use oic::repo::rpm::{self as metadata, Rpm};
use oic::repo::{LoadOptions, Loader, Repository, Signed};
use oic::resolve::rpm::{groups::expand, resolve};
use oic::resolve::{Request, ResolveError};
use oic::work::Work;
use oic_testkit::dnf::dnf;
use oic_testkit::rpm;

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
    "wishful 1.0-1; Requires: weak; Recommends: richand, conflicting, (langpack if desktop), nobody-at-all",
    "torn-wish 1.0-1; Recommends: broken, wishful, /usr/bin/shell",
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

/// Groups of the first repository.
const COMPS: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE comps PUBLIC "-//Red Hat, Inc.//DTD Comps info//EN" "comps.dtd">
<comps>
  <group><id>core</id><name>Core</name><default>true</default><packagelist>
    <packagereq type="mandatory">shell</packagereq><packagereq type="default">plain</packagereq>
    <packagereq type="optional">deep</packagereq><packagereq type="mandatory">no-such-package</packagereq>
    <packagereq type="conditional" requires="desktop">langpack</packagereq>
  </packagelist></group>
  <group><id>desk</id><name>Desk</name><packagelist>
    <packagereq type="mandatory">desktop</packagereq><packagereq type="default">oldname</packagereq>
  </packagelist></group>
  <group><id>torn</id><name>Torn</name><packagelist><packagereq type="mandatory">broken</packagereq></packagelist></group>
</comps>
"#;

/// A request, and what is excluded.
#[derive(Debug, Default, Clone, Copy)]
struct Case<'a> {
    asked: &'a str,
    /// From both repositories.
    excluded: &'a str,
    /// From the second one alone.
    excluded_updates: &'a str,
    /// With what they recommend.
    recommends: bool,
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Where the repositories are, and a place for what is kept.
struct Bench<'a> {
    repositories: [(&'a str, &'a Path); 2],
    scratch: &'a Path,
}

impl Bench<'_> {
    /// `name-version.arch` of all packages, or why not.
    fn ours(&self, case: Case<'_>) -> Result<BTreeSet<String>, ResolveError> {
        let mut repositories = self.repositories.map(|(id, root)| repository(id, root));
        for repository in &mut repositories {
            repository.filter.exclude = words(case.excluded);
        }
        repositories[1].filter.exclude.extend(words(case.excluded_updates));
        let (fetcher, cancel) = (fetcher(), Cancel::default());
        let loader = Loader {
            options: options(&self.scratch.join("cache"), false),
            transport: &fetcher,
            work: Work::quiet(&cancel),
        };
        let loaded = loader.load(&loader.heads::<Rpm>(&repositories).unwrap()).unwrap();
        let records: Vec<_> = loaded.iter().flat_map(|index| index.records.clone()).collect();
        let further = metadata::Further {
            repositories: &repositories,
            loaded: &loaded,
            loader: &loader,
        };
        let is_known = |name: &str| records.iter().any(|record| &*record.name == name);
        let request = Request {
            arch: Arch::X86_64,
            packages: expand(&words(case.asked), &further.groups().unwrap(), is_known)?.packages,
            recommending: words(if case.recommends { case.asked } else { "" }),
            include_essential: true,
        };
        let resolution = resolve(&request, &records, |paths| {
            Ok::<_, ResolveError>(further.owners(paths).unwrap())
        })?;
        let full = resolution
            .packages
            .iter()
            .map(|package| format!("{}-{}.{}", package.name, package.version, package.architecture));
        Ok(full.collect())
    }

    /// The same from `dnf install --assumeno`, or why it refuses.
    fn dnf(&self, case: Case<'_>) -> Result<BTreeSet<String>, String> {
        let mut command = dnf(&self.repositories, self.scratch);
        command.args(
            words(case.excluded)
                .iter()
                .map(|pattern| format!("--exclude={pattern}")),
        );
        command.arg(format!(
            "--setopt=updates.excludepkgs={}",
            words(case.excluded_updates).join(",")
        ));
        let output = command
            .arg(format!("--setopt=install_weak_deps={}", case.recommends))
            .args(["--assumeno", "install"])
            .args(words(case.asked))
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
}

fn fetcher() -> Fetcher {
    Fetcher::new(FetchOptions::default(), Cancel::default()).unwrap()
}

#[test]
fn dnf_installs_the_same_packages() {
    let scratch = tempfile::tempdir().unwrap();
    let (main, updates) = (scratch.path().join("main"), scratch.path().join("updates"));
    for (directory, packages) in [(&main, MAIN), (&updates, UPDATES)] {
        std::fs::create_dir(directory).unwrap();
        rpm::build(directory, packages);
        if directory == &main {
            std::fs::write(directory.join("comps.xml"), COMPS).unwrap();
        }
        rpm::index(directory);
    }
    let bench = Bench {
        repositories: [("main", &main), ("updates", &updates)],
        scratch: scratch.path(),
    };
    let mut refused = 0;
    let mut compare = |case: Case<'_>| {
        let (ours, dnf) = (bench.ours(case), bench.dnf(case));
        refused += usize::from(dnf.is_err());
        assert_eq!(ours.as_ref().ok(), dnf.as_ref().ok(), "{case:?}: {ours:?} {dnf:?}");
        assert!(
            dnf.is_ok_and(|packages| !packages.is_empty()) || ours.is_err(),
            "{case:?}"
        );
    };
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
        "@core",
        "@core @desk",
        "@core desktop",
        "@desk",
        "@torn",
        "@no-such-group",
        "no-such-package",
    ] {
        compare(Case {
            asked,
            ..Case::default()
        });
    }
    for (asked, excluded, excluded_updates) in [
        ("richor", "prov-*", ""),
        ("richor", "", "*"),
        ("plain", "", "plain"),
        ("extra", "", "pl?in"),
        ("lib", "lib-2.5-1.noarch", ""),
        ("lib", "lib-2.5*", ""),
        ("epochal", "epochal-1:1.0-1", ""),
        ("epochal", "epochal-1.0-1.noarch", ""),
        ("tilde", "tilde-1.0", ""),
        ("caret", "caret.noarch", ""),
        ("oldname", "newname", ""),
        ("needs-new-lib", "lib.*", ""),
        ("meta", "[a-z]hell", ""),
    ] {
        compare(Case {
            asked,
            excluded,
            excluded_updates,
            ..Case::default()
        });
    }
    for asked in [
        "weak",
        "wishful",
        "torn-wish",
        "wishful desktop",
        "wishful prov-a",
        "weak conflicting",
    ] {
        compare(Case {
            asked,
            recommends: true,
            ..Case::default()
        });
    }
    assert_eq!(refused, 11, "dnf refuses what cannot be");
}

/// The same repository for oic.
fn repository(id: &str, root: &Path) -> Repository {
    Repository {
        id: id.to_owned(),
        base_url: format!("file://{}", root.display()),
        mirror_list: None,
        suite: String::new(),
        components: Vec::new(),
        keys: Vec::new(),
        signed: Signed::Both,
        trusted: true,
        priority: 500,
        filter: PackageFilter::default(),
        checks: Default::default(),
        files: None,
    }
}

/// How to load it.
fn options(metadata_dir: &Path, offline: bool) -> LoadOptions {
    LoadOptions {
        arch: Arch::X86_64,
        foreign: Vec::new(),
        metadata_dir: metadata_dir.to_owned(),
        now: SystemTime::now(),
        offline,
        workers: 2,
    }
}
