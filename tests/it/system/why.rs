//! `oic why` over the archive of Debian as it is now. Needs a network.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use crate::support::program::Oic;
use oic_testkit::{Finished, tool};

/// Each step of the chain is a dependency that the package's own record has.
#[test]
fn why_tells_a_chain_of_real_dependencies() {
    let oic = Oic::new("why");
    let json = oic
        .run(&["why", "libpam0g", "debian13-x86_64-minimal", "--format", "json"])
        .json();
    assert_eq!(
        (&json["schema_version"], &json["package"]),
        (&1.into(), &"libpam0g".into())
    );
    let chain = json["chain"].as_array().unwrap();
    assert!(chain.len() > 1, "{json}");
    assert_eq!(chain.last().unwrap()["package"], "libpam0g");
    let records = records(&oic.package_cache().join("metadata"));
    for pair in chain.windows(2) {
        let field = if pair[0]["needs_next"] == "depends" {
            "Depends"
        } else {
            "Pre-Depends"
        };
        let head = format!("Package: {}\n", pair[0]["package"].as_str().unwrap());
        let version = format!("Version: {}\n", pair[0]["version"].as_str().unwrap());
        let record = records
            .split("\n\n")
            .find(|r| r.starts_with(&head) && r.contains(&version))
            .unwrap();
        let line = record
            .lines()
            .find(|line| line.starts_with(&format!("{field}: ")))
            .unwrap();
        assert!(line.contains(pair[1]["package"].as_str().unwrap()), "{line}");
    }
    let text = oic.run(&["why", "dpkg"]);
    assert!(
        text.stdout.starts_with("dpkg 1.22") && text.stdout.contains("(in the provider's list for the base)"),
        "{}",
        text.stdout
    );
    oic.run(&["why", "libpam0"])
        .assert_fails(1, &["libpam0 is not among the", "did you mean libpam0g?"]);
    assert!(!oic.provider_dir().exists(), "it builds nothing");
    nobody_may_ask_too(&oic);
}

/// The newest version and the summary are those that the archive's own index has.
#[test]
fn search_and_show_tell_what_the_archive_offers() {
    let oic = Oic::new("search");
    let found = oic.run(&["search", "openssh-ser*"]);
    let records = records(&oic.package_cache().join("metadata"));
    let record = records
        .split("\n\n")
        .find(|record| record.starts_with("Package: openssh-server\n"))
        .unwrap();
    let summary = record
        .lines()
        .find_map(|line| line.strip_prefix("Description: "))
        .unwrap();
    let first = found.stdout.lines().next().unwrap();
    assert!(
        first.starts_with("openssh-server ") && first.ends_with(&format!(" - {summary}")),
        "{first}"
    );
    let by_summary = oic.run(&["search", &summary.to_uppercase(), "debian-debian13-x86_64", "--offline"]);
    assert!(by_summary.stdout.contains("openssh-server "), "{}", by_summary.stdout);
    let shown = oic.run(&["show", "openssh-server", "--offline"]).stdout;
    for field in ["Depends", "Homepage", "Section"] {
        let line = record
            .lines()
            .find(|line| line.starts_with(&format!("{field}: ")))
            .unwrap();
        assert!(shown.contains(line), "{line} is not in {shown}");
    }
}

/// That needs neither root nor a cache that can be written to.
fn nobody_may_ask_too(oic: &Oic) {
    let program = tempfile::tempdir().unwrap();
    fs::set_permissions(program.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = program.path().join("oic");
    fs::copy(env!("CARGO_BIN_EXE_oic"), &copy).unwrap();
    let cache = program.path().join("cache");
    fs::create_dir_all(cache.join("pkgCache/debian-debian13-x86_64")).unwrap();
    let metadata = cache.join("pkgCache/debian-debian13-x86_64/metadata");
    tool(
        "cp",
        &[
            "-r".as_ref(),
            oic.package_cache().join("metadata").as_os_str(),
            metadata.as_os_str(),
        ],
    );
    let mut command = Command::new(&copy);
    command.uid(65_534).gid(65_534).env_clear().current_dir("/");
    command
        .args(["why", "libpam0g", "--offline", "--cache-dir"])
        .arg(&cache);
    let unprivileged = Finished::of(&command.output().unwrap());
    assert_eq!(unprivileged.code, Some(0), "{}", unprivileged.stderr);
    assert!(unprivileged.stdout.contains("libpam0g"), "{}", unprivileged.stdout);
}

/// All package records of the metadata cache.
fn records(metadata: &Path) -> String {
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut text = String::new();
    for repository in fs::read_dir(metadata).unwrap().map(|entry| entry.unwrap().path()) {
        for file in fs::read_dir(repository)
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().path())
        {
            if name(&file).starts_with("Packages.") {
                text += &fs::read_to_string(&file).unwrap();
                text += "\n\n";
            }
        }
    }
    text
}
