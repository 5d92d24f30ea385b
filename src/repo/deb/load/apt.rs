//! A comparison with apt on the same archives.

use std::path::Path;
use std::process::Command;

use super::archive::{Archive, BASE, Cache, Memory, PACKAGES, stanza, two_packages};
use crate::archive::compression::{Compression, tests::compress};
use crate::package::Algorithm;
use crate::repo::Repository;
use crate::repo::deb::LoadedIndex;

/// Runs apt on the archive, in a root of its own; returns its success and the packages that it sees, as `name version`.
/// `suite` is the rest of the line in `sources.list`.
fn apt(root: &Path, archive: &Archive, memory: &Memory, suite: &str) -> (bool, Vec<String>) {
    for directory in [
        "state/lists/partial",
        "cache/archives/partial",
        "etc/apt.conf.d",
        "etc/preferences.d",
    ] {
        std::fs::create_dir_all(root.join(directory)).unwrap();
    }
    for (url, bytes) in memory.files.lock().unwrap().iter() {
        let path = root
            .join("archive")
            .join(url.strip_prefix(BASE).unwrap().trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    std::fs::write(root.join("etc/key.gpg"), archive.key()).unwrap();
    std::fs::write(root.join("status"), "").unwrap();
    let root = root.to_str().unwrap();
    let source =
        format!("deb [arch=amd64 check-valid-until=no signed-by={root}/etc/key.gpg] file:{root}/archive {suite}\n");
    std::fs::write(format!("{root}/etc/sources.list"), source).unwrap();
    let settings = [
        format!("Dir::Etc={root}/etc"),
        format!("Dir::State={root}/state"),
        format!("Dir::State::status={root}/status"),
        format!("Dir::Cache={root}/cache"),
        "APT::Architecture=amd64".to_owned(),
        "APT::Architectures=amd64".to_owned(),
        "APT::Sandbox::User=root".to_owned(),
        "Dir::Etc::trustedparts=/dev/null".to_owned(),
    ];
    let run = |program: &str, arguments: &[&str]| {
        let options = settings.iter().flat_map(|setting| ["-o", setting]);
        let output = Command::new(program)
            .args(options)
            .args(arguments)
            .env("LC_ALL", "C")
            .output();
        output.unwrap_or_else(|_| panic!("this test needs {program}: install the package apt"))
    };
    let updated = run("apt-get", &["update"]);
    let said = String::from_utf8_lossy(&updated.stderr).into_owned();
    // Shown if the test fails.
    println!("{suite}: {said}");
    let updated = updated.status.success();
    let names = String::from_utf8(run("apt-cache", &["pkgnames"]).stdout).unwrap();
    let names: Vec<&str> = names.lines().collect();
    let listed = run("apt-cache", &[&["madison"], &names[..]].concat());
    let listed = String::from_utf8(listed.stdout).unwrap();
    let shown = listed.lines().map(|line| {
        let mut cells = line.split('|').map(str::trim);
        format!("{} {}", cells.next().unwrap(), cells.next().unwrap())
    });
    let mut shown: Vec<String> = shown.collect();
    shown.sort();
    (updated, shown)
}

/// Gives what oic sees, in the same form.
fn seen(index: &LoadedIndex) -> Vec<String> {
    let records = index.records.iter();
    let mut seen: Vec<String> = records
        .map(|record| format!("{} {}", record.name, record.version))
        .collect();
    seen.sort();
    seen
}

#[test]
fn apt_takes_the_same_archives_and_sees_the_same_packages() {
    let archive = Archive::new();
    let root = tempfile::tempdir().unwrap();
    let memory = archive.publish();
    let (accepted, listed) = apt(root.path(), &archive, &memory, "stable main");
    assert!(accepted);
    assert_eq!(listed.len(), 2);
    let ours = Cache::new().load(&archive.repository(), &memory).unwrap();
    assert_eq!(listed, seen(&ours));
    let tampered = archive.publish();
    tampered.change("InRelease", |text| text.replace("Origin: Test", "Origin: Evil"));
    let root = tempfile::tempdir().unwrap();
    let refused = apt(root.path(), &archive, &tampered, "stable main");
    assert_eq!(refused, (false, Vec::new()));
    assert!(Cache::new().load(&archive.repository(), &tampered).is_err());
}

/// An archive that is not as it should be: the changes to it and to the entry for it, what apt is told, where it lies,
/// and the packages that oic does not offer although apt lists them: apt then refuses to download them.
struct Odd {
    name: &'static str,
    change: fn(&mut Archive),
    ask: fn(&mut Repository),
    suite: &'static str,
    directory: &'static str,
    left_out: &'static [&'static str],
}

/// An archive as usual.
const USUAL: Odd = Odd {
    name: "usual",
    change: |_| {},
    ask: |_| {},
    suite: "stable main",
    directory: "dists/stable",
    left_out: &[],
};

/// Puts a third package into the index, after `change` of its stanza.
fn with_odd(archive: &mut Archive, change: impl Fn(String) -> String) {
    let text = format!("{}\n{}", change(stanza("odd", "3", "amd64")), two_packages());
    archive.index(PACKAGES, &text, &[Compression::Plain, Compression::Xz]);
}

/// Replaces the digest in a stanza by one of `algorithm`.
fn with_digest(stanza: &str, algorithm: Algorithm) -> String {
    let (before, rest) = stanza.split_once("SHA256: ").unwrap();
    let (_, after) = rest.split_once('\n').unwrap();
    let mut hasher = algorithm.hasher();
    hasher.update(b"abc");
    format!("{before}{}: {}\n{after}", algorithm.field(), hasher.finish())
}

const TABLE: [Odd; 20] = [
    USUAL,
    Odd {
        name: "flat",
        change: |archive| {
            archive.files.clear();
            archive.index("Packages", &two_packages(), &[Compression::Plain]);
            archive.fields = "Date: Sat, 11 May 2024 09:23:32 UTC\n".to_owned();
        },
        ask: |repository| repository.suite = "./".to_owned(),
        suite: "./",
        directory: "",
        ..USUAL
    },
    Odd {
        name: "flat in a directory, compressed",
        change: |archive| {
            archive.files.clear();
            archive.index("Packages", &two_packages(), &[Compression::Plain, Compression::Gzip]);
        },
        ask: |repository| repository.suite = "sub/dir/".to_owned(),
        suite: "sub/dir/",
        directory: "sub/dir",
        ..USUAL
    },
    Odd {
        name: "suite alias",
        ask: |repository| repository.suite = "any".to_owned(),
        suite: "any main",
        directory: "dists/any",
        ..USUAL
    },
    Odd {
        name: "no suite",
        change: |archive| archive.fields = archive.fields.replace("Suite: stable\nCodename: trixie\n", ""),
        ..USUAL
    },
    Odd {
        name: "no such component",
        ask: |repository| repository.components.push("extra".to_owned()),
        suite: "stable main extra",
        ..USUAL
    },
    Odd {
        name: "only SHA-512",
        change: |archive| archive.algorithm = Algorithm::Sha512,
        ..USUAL
    },
    Odd {
        name: "only SHA-512, in packages too",
        change: |archive| {
            archive.algorithm = Algorithm::Sha512;
            let only = |stanza: String| with_digest(&stanza, Algorithm::Sha512);
            let text = format!(
                "{}\n{}",
                only(stanza("odd", "3", "amd64")),
                only(stanza("even", "4", "all"))
            );
            archive.index(PACKAGES, &text, &[Compression::Plain, Compression::Xz]);
        },
        ..USUAL
    },
    Odd {
        name: "a package with no digest but SHA-512",
        change: |archive| with_odd(archive, |stanza| with_digest(&stanza, Algorithm::Sha512)),
        ..USUAL
    },
    Odd {
        name: "a package with no digest but SHA-384",
        change: |archive| with_odd(archive, |stanza| with_digest(&stanza, Algorithm::Sha384)),
        left_out: &["odd 3"],
        ..USUAL
    },
    Odd {
        name: "no compressed form but bzip2",
        change: |archive| archive.index(PACKAGES, &two_packages(), &[Compression::Plain, Compression::Bzip2]),
        ..USUAL
    },
    Odd {
        name: "two slashes in the file name",
        change: |archive| with_odd(archive, |stanza| stanza.replace("pool/", "pool//a/")),
        ..USUAL
    },
    Odd {
        name: "no size",
        change: |archive| with_odd(archive, |stanza| stanza.replace("Size: 3\n", "")),
        left_out: &["odd 3"],
        ..USUAL
    },
    Odd {
        name: "no digest but MD5",
        change: |archive| {
            with_odd(archive, |stanza| {
                let at = stanza.find("SHA256").unwrap();
                format!("{}MD5sum: d41d8cd98f00b204e9800998ecf8427e\n", &stanza[..at])
            });
        },
        left_out: &["odd 3"],
        ..USUAL
    },
    Odd {
        name: "no file name",
        change: |archive| with_odd(archive, |stanza| stanza.replace("Filename:", "X-Filename:")),
        left_out: &["odd 3"],
        ..USUAL
    },
    Odd {
        name: "Latin-1",
        change: |archive| {
            archive.files.clear();
            let text = format!("{}\n{}", stanza("odd", "3", "amd64"), two_packages());
            let mut bytes = text.into_bytes();
            let at = bytes.windows(4).position(|four| four == b"test").unwrap();
            bytes[at] = 0xe9;
            let compressed = compress(Compression::Gzip, &bytes);
            archive.files.push((format!("{PACKAGES}.gz"), compressed));
            archive.files.push((PACKAGES.to_owned(), bytes));
        },
        ..USUAL
    },
    Odd {
        name: "a blank in the file name",
        change: |archive| with_odd(archive, |stanza| stanza.replace("pool/", "pool/a b/")),
        ..USUAL
    },
    Odd {
        name: "a version twice",
        change: |archive| with_odd(archive, |stanza| stanza.replace("Version: 3", "Version: 1\nVersion: 3")),
        ..USUAL
    },
    Odd {
        name: "a relation twice",
        change: |archive| with_odd(archive, |stanza| format!("Depends: a\nDepends: b\n{stanza}")),
        ..USUAL
    },
    Odd {
        name: "a line that is no field",
        change: |archive| with_odd(archive, |stanza| stanza.replace("Maintainer", "nonsense\nMaintainer")),
        ..USUAL
    },
];

/// oic takes what apt takes. What a key signs under another name than asked for is taken from repositories of the
/// template only.
#[test]
fn odd_archives_are_taken_as_apt_takes_them() {
    for odd in &TABLE {
        let mut archive = Archive::new();
        (odd.change)(&mut archive);
        let memory = archive.publish_at(odd.directory);
        let mut repository = archive.repository();
        (odd.ask)(&mut repository);
        repository.checks.suite = false;
        let root = tempfile::tempdir().unwrap();
        let (accepted, mut listed) = apt(root.path(), &archive, &memory, odd.suite);
        assert!(accepted && listed.len() >= 2, "apt refuses {}: {listed:?}", odd.name);
        let ours = Cache::new().load(&repository, &memory);
        let ours = ours.unwrap_or_else(|error| panic!("{}: {error}", odd.name));
        listed.retain(|package| !odd.left_out.contains(&package.as_str()));
        assert_eq!(seen(&ours), listed, "{}", odd.name);
    }
}
