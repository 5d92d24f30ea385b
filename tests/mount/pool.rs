//! The package pool, mounted.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use oic::mount::session::{self, View};
use oic::package::{ResolvedPackage, Sha256};

use crate::support::{Place, Session, TestLayers, pool, request, run};

pub const TESTS: &[(&str, fn())] = &[
    ("pool_lists_without_fetching_and_fetches_once", lists_and_fetches),
    ("pool_failure_is_an_error_with_a_message", failure),
    ("pool_is_a_repository_for_apt", apt),
];

/// Builds a package with dpkg-deb into the place's cache.
fn build(place: &Place, name: &str, version: &str, depends: &str) -> ResolvedPackage {
    let tree = place.path(name);
    fs::create_dir_all(tree.join("DEBIAN")).unwrap();
    let control = format!(
        "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: t <t@example.org>\n{depends}Description: t\n long\n"
    );
    fs::write(tree.join("DEBIAN/control"), &control).unwrap();
    let file = place
        .path("cache")
        .join(format!("{name}_{}_all.deb", version.replace(':', "%3a")));
    let target = file.to_str().unwrap();
    run(
        &place.path("."),
        &["dpkg-deb", "--root-owner-group", "-b", tree.to_str().unwrap(), target],
    );
    let bytes = fs::read(&file).unwrap();
    ResolvedPackage {
        name: name.to_owned(),
        version: version.to_owned(),
        architecture: "all".to_owned(),
        repository: "main".to_owned(),
        path: format!("pool/main/{name}.deb"),
        size_bytes: bytes.len() as u64,
        installed_size_bytes: 0,
        checksum: Sha256::of(&bytes).into(),
        stanza: format!(
            "{}\nFilename: pool/main/{name}.deb\nSize: {}\nSHA256: {}\n",
            control.trim_end(),
            bytes.len(),
            Sha256::of(&bytes)
        ),
    }
}

fn mount(place: &Place, packages: Vec<ResolvedPackage>) -> Session {
    let layers = TestLayers {
        base: None,
        pool: Some(pool(&place.path("cache"), packages)),
    };
    let mut wanted = request(layers, View::Layer("pool".to_owned()));
    wanted.log = Some(place.path("log"));
    session::mount(&wanted, &place.mnt()).unwrap()
}

fn fetches(place: &Place) -> usize {
    fs::read_to_string(place.path("cache/log"))
        .unwrap_or_default()
        .lines()
        .count()
}

fn lists_and_fetches() {
    let place = Place::new();
    let package = build(&place, "alpha", "1:2-3", "");
    let file_name = package.file_name();
    let session = mount(&place, vec![package.clone(), build(&place, "beta", "1", "")]);
    let repository = place.mnt().join("cdrom/cache-repo");
    let listed = run(&repository, &["stat", "-c", "%n %s %a %u %g", &file_name]);
    assert_eq!(listed, format!("{file_name} {} 644 0 0\n", package.size_bytes));
    assert_eq!(fs::read_dir(&repository).unwrap().count(), 4);
    assert_eq!(fetches(&place), 0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let bytes = fs::read(repository.join(&file_name)).unwrap();
                assert!(package.checksum.is_of(&bytes));
            });
        }
    });
    assert_eq!(fetches(&place), 1);
    session.close().unwrap();
}

fn failure() {
    let place = Place::new();
    let package = build(&place, "alpha", "1", "");
    let file = place.path("cache/alpha_1_all.deb");
    let bytes = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let session = mount(&place, vec![package]);
    let shown = place.mnt().join("cdrom/cache-repo/alpha_1_all.deb");
    assert_eq!(fs::read(&shown).unwrap_err().raw_os_error(), Some(libc::EIO));
    assert_eq!(fetches(&place), 1);
    // Once it can be had, it can be read.
    thread::sleep(Duration::from_millis(600));
    fs::write(&file, &bytes).unwrap();
    assert_eq!(fs::read(&shown).unwrap(), bytes);
    session.close().unwrap();
    let log = fs::read_to_string(place.path("log")).unwrap();
    assert!(log.contains("package alpha: the mirror does not answer"), "{log}");
}

/// The host's apt, with directories of its own.
fn apt_get(root: &Path, arguments: &[&str]) -> String {
    let mut all = vec!["apt-get".to_owned(), "-q".to_owned()];
    for (key, value) in [
        ("Dir::Etc::SourceList", "sources.list"),
        ("Dir::Etc::SourceParts", "none"),
        ("Dir::Etc::Parts", "none"),
        ("Dir::Etc::PreferencesParts", "none"),
        ("Dir::State", "state"),
        ("Dir::State::status", "status"),
        ("Dir::Cache", "apt-cache"),
        ("Dir::Log", "logs"),
    ] {
        all.push(format!("-o{key}={}", root.join(value).display()));
    }
    all.push("-oAPT::Sandbox::User=root".to_owned());
    all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    let all: Vec<_> = all.iter().map(String::as_str).collect();
    run(root, &all)
}

fn apt() {
    let place = Place::new();
    let packages = vec![
        build(&place, "alpha", "1:2-3", "Depends: beta (>= 1)\n"),
        build(&place, "beta", "1", ""),
    ];
    let session = mount(&place, packages);
    // apt wants a name without blanks.
    let root = tempfile::tempdir().unwrap();
    let link = root.path().join("repository");
    std::os::unix::fs::symlink(place.mnt().join("cdrom/cache-repo"), &link).unwrap();
    for directory in ["state/lists/partial", "apt-cache/archives/partial", "logs"] {
        fs::create_dir_all(root.path().join(directory)).unwrap();
    }
    fs::write(root.path().join("status"), "").unwrap();
    fs::write(
        root.path().join("sources.list"),
        format!("deb [trusted=yes] file:{} ./\n", link.display()),
    )
    .unwrap();
    apt_get(root.path(), &["update"]);
    let plan = apt_get(root.path(), &["-s", "install", "alpha"]);
    let installed: Vec<_> = plan.lines().filter(|line| line.starts_with("Inst ")).collect();
    assert_eq!(installed.len(), 2, "{plan}");
    assert_eq!(fetches(&place), 0);
    apt_get(
        root.path(),
        &["--download-only", "-y", "-oDebug::NoLocking=1", "install", "alpha"],
    );
    apt_get(root.path(), &["download", "alpha"]);
    assert!(root.path().join("alpha_1%3a2-3_all.deb").exists());
    assert_eq!(fetches(&place), 2);
    session.close().unwrap();
}
