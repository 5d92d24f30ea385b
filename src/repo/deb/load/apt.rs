//! apt judges the same archives.

use std::path::Path;
use std::process::Command;

use super::archive::{Archive, BASE, Cache, Memory};

/// Runs apt on the archive, in a root of its own; gives its exit status and the versions that it sees.
fn apt(root: &Path, archive: &Archive, memory: &Memory) -> (bool, String) {
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
        format!("deb [arch=amd64 check-valid-until=no signed-by={root}/etc/key.gpg] file:{root}/archive stable main\n");
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
    let updated = run("apt-get", &["update"]).status.success();
    let listed = run("apt-cache", &["dumpavail"]);
    (updated, String::from_utf8(listed.stdout).unwrap())
}

#[test]
fn apt_takes_the_same_archives_and_sees_the_same_packages() {
    let archive = Archive::new();
    let root = tempfile::tempdir().unwrap();
    let memory = archive.publish();
    let (accepted, listed) = apt(root.path(), &archive, &memory);
    assert!(accepted);
    let ours = Cache::new().load(&archive.repository(), &memory).unwrap();
    let seen: Vec<_> = listed
        .lines()
        .filter(|line| line.starts_with("Package:") || line.starts_with("Version:"))
        .collect();
    let mut expected = Vec::new();
    for record in &ours.records {
        expected.extend([
            format!("Package: {}", record.name),
            format!("Version: {}", record.version),
        ]);
    }
    assert_eq!(seen, expected);
    let tampered = archive.publish();
    tampered.change("InRelease", |text| text.replace("Origin: Test", "Origin: Evil"));
    let root = tempfile::tempdir().unwrap();
    assert_eq!(apt(root.path(), &archive, &tampered), (false, String::new()));
    assert!(Cache::new().load(&archive.repository(), &tampered).is_err());
}
