//! Mirrors that list packages by SHA-512 alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::fs;
use std::path::Path;

use crate::support::tiny::{Tiny, provider_dir};
use oic::resolve::lockfile::Lockfile;
use oic_testkit::{Finished, sha512};

fn json(finished: &Finished) -> serde_json::Value {
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    finished.json()
}

/// Resolved, fetched, verified, kept, locked, installed, and built again from the lockfile without a network.
#[test]
fn a_distribution_may_be_listed_by_sha_512_alone() {
    let tiny = Tiny::by_sha512("sha512");
    let directories = ["cache", "work"].map(|name| tiny.oic.work_dir.join(name));
    let [cache, work] = [&*directories[0], &*directories[1]];
    let built = json(&tiny.build([cache, work]));
    let images = provider_dir(work).join("imagebuild");
    let lockfile = find(&images, ".lock.json");
    let lock = fs::read(&lockfile).unwrap();
    let packages = Lockfile::from_json(&lock).unwrap().packages;
    let pool = provider_dir(&cache.join("pkgCache"));
    assert!(packages.len() > 10);
    for package in &packages {
        let bytes = fs::read(pool.join(package.file_name())).unwrap();
        assert_eq!(package.checksum.to_string(), sha512(bytes), "{}", package.name);
    }
    let kept = tiny.oic.work_dir.join("lock.json");
    fs::write(&kept, lock).unwrap();
    let template = tiny.template.to_str().unwrap();
    let again = [
        "build",
        template,
        "--lock",
        kept.to_str().unwrap(),
        "--offline",
        "--format",
        "json",
    ];
    let elsewhere = tiny.oic.work_dir.join("elsewhere");
    let rebuilt = json(&tiny.run(&again, [cache, &elsewhere]));
    assert_eq!(rebuilt["image"]["digest"], built["image"]["digest"]);
    // A file that is not the listed one is fetched again.
    let damaged = pool.join(packages[0].file_name());
    let mut bytes = fs::read(&damaged).unwrap();
    bytes[100] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    let verified = tiny.run(&["cache", "verify"], [cache, work]);
    let verified = (verified.code, verified.stdout + &verified.stderr);
    assert!(
        verified.0 == Some(1) && verified.1.contains("it has the SHA-512 "),
        "{verified:?}"
    );
    let last = json(&tiny.run(
        &["build", template, "--from-scratch", "--format", "json"],
        [cache, work],
    ));
    assert_eq!(last["image"]["digest"], built["image"]["digest"]);
}

/// Finds the one file below `directory` whose name ends in `end`.
fn find(directory: &Path, end: &str) -> std::path::PathBuf {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files = entries.flat_map(|path| match path.is_dir() {
        true => fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect(),
        false => vec![path],
    });
    let found = files.find(|path| path.to_string_lossy().ends_with(end));
    found.unwrap_or_else(|| panic!("nothing in {} ends in {end}", directory.display()))
}
