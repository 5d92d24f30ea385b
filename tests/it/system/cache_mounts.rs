//! `oic cache` beside mounts below its directories: nothing is removed through a mount.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::fs;
use std::path::Path;

use crate::support::program::own_mounts;
use crate::support::store::{DAY, Fixture, PROVIDER, age, du, exists};
use oic::workspace::TarballPlace;
use oic_testkit::tool;

/// A tmpfs with a file in it; unmounted when dropped.
struct Tmpfs<'a>(&'a Path);

impl<'a> Tmpfs<'a> {
    fn at(path: &'a Path) -> Self {
        own_mounts();
        fs::create_dir_all(path).unwrap();
        tool("mount", &["-t", "tmpfs", "tmpfs", path.to_str().unwrap()]);
        fs::write(path.join("precious"), "x").unwrap();
        Self(path)
    }
}

impl Drop for Tmpfs<'_> {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0).status();
    }
}

/// What `oic mount` keeps of a tarball in the work directory; with a writable layer over it if `written`.
fn tarball(fixture: &Fixture, name: &str, written: bool) -> std::path::PathBuf {
    let place = TarballPlace::in_work_dir(fixture.work(), name);
    fs::create_dir_all(place.backing_store()).unwrap();
    fs::create_dir_all(place.mount_point()).unwrap();
    fs::write(place.index(), vec![1; 10_000]).unwrap();
    fs::write(place.backing_store().join("blob"), vec![2; 100_000]).unwrap();
    if written {
        fs::create_dir_all(place.mounts().join("mine/upper")).unwrap();
        fs::write(place.mounts().join("mine/upper/precious"), "x").unwrap();
    }
    place.directory().to_owned()
}

#[test]
fn what_is_kept_of_tarballs_is_counted_and_removed() {
    let fixture = Fixture::full();
    let plain = tarball(&fixture, "0123456789abcdef", false);
    let written = tarball(&fixture, "fedcba9876543210", true);
    let stats = fixture.json(&["cache", "stats"]);
    assert_eq!(stats["tarballs"]["count"], 2);
    let taken = du(&plain) + du(&written) - du(&written.join("mounts"));
    assert_eq!(stats["tarballs"]["disk_bytes"], taken);
    let shown = fixture.run(&["cache", "stats"]).stdout;
    assert!(shown.contains("indexed and unpacked for oic mount TARBALL"), "{shown}");

    // They are nobody's: not a part of a provider.
    let one = fixture.json(&["cache", "clean", "--workspace", "--dry-run", "--provider-id", PROVIDER]);
    assert!(
        one["parts"]
            .as_array()
            .unwrap()
            .iter()
            .all(|part| part["provider"] == PROVIDER)
    );
    for path in ["chrootenv.idx", "chroot/blob"] {
        age(&plain.join(path), DAY * 100);
        age(&written.join(path), DAY * 100);
    }
    fs::create_dir(fixture.work().join("tarballs/.oic-tmp-removed-x")).unwrap();
    let collected = fixture.json(&["cache", "gc", "--unused-for", "50d"]);
    let removed = collected["removed"].as_array().unwrap();
    assert_eq!(removed.len(), 1, "{removed:#?}");
    assert_eq!(
        (&removed[0]["kind"], &removed[0]["provider"]),
        (&"tarball".into(), &serde_json::Value::Null)
    );
    assert!(!exists(&plain) && exists(written.join("chrootenv.idx")));
    assert!(!exists(fixture.work().join("tarballs/.oic-tmp-removed-x")));

    let plain = tarball(&fixture, "0123456789abcdef", false);
    {
        let at = plain.join("chrootenv");
        let _tmpfs = Tmpfs::at(&at);
        let refused = fixture.run(&["cache", "clean", "--workspace"]);
        refused.assert_fails(1, &["is mounted; nothing was removed", at.to_str().unwrap()]);
        let collected = fixture.json(&["cache", "gc", "--max-size", "1K"]);
        let mut skipped = collected["skipped"].as_array().unwrap().iter();
        assert!(skipped.any(|skipped| skipped["provider"] == "tarball"), "{collected:#}");
        assert!(exists(at.join("precious")) && exists(plain.join("chrootenv.idx")));
    }
    let plain_text = fixture.run(&["cache", "clean", "--workspace", "--dry-run"]).stdout;
    assert!(plain_text.contains("  tarball  "), "{plain_text}");
    fixture.json(&["cache", "clean", "--workspace"]);
    assert!(!exists(&plain));
    let left: Vec<_> = fs::read_dir(&written)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["mounts"]);
    assert!(exists(written.join("mounts/mine/upper/precious")));
}

#[test]
fn removal_does_not_cross_a_mount() {
    let fixture = Fixture::full();
    let workspace = fixture.workspace();
    for at in [workspace.chrootenv(), workspace.layers()] {
        let _tmpfs = Tmpfs::at(&at);
        let before = fixture.inventory();
        let run = fixture.run(&["cache", "clean", "--all"]);
        run.assert_fails(
            1,
            &["is mounted; nothing was removed", at.to_str().unwrap(), "oic umount"],
        );
        assert_eq!(fixture.inventory(), before);
        assert!(exists(at.join("precious")));
    }
    let at = workspace.package_cache().join("metadata/mounted");
    let _tmpfs = Tmpfs::at(&at);
    fixture.run(&["cache", "clean"]).assert_fails(1, &["is mounted"]);
    assert!(exists(at.join("precious")));
}

#[test]
fn a_mounted_base_is_not_disk_usage_and_is_not_removed() {
    let fixture = Fixture::full();
    let workspace = fixture.workspace();
    let mounted = fixture.run(&["mount", PROVIDER]);
    assert_eq!(mounted.code, Some(0), "{}", mounted.stderr);
    let stats = fixture.json(&["cache", "stats"]);
    assert_eq!(stats["work"]["disk_bytes"], du_of_one_file_system(fixture.work()));
    fixture
        .run(&["cache", "clean", "--workspace"])
        .assert_fails(1, &["chrootenv is mounted", "oic umount"]);
    assert_eq!(fixture.run(&["umount", PROVIDER]).code, Some(0));

    // Elsewhere it is as much in use.
    let elsewhere = fixture.root().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let at = elsewhere.to_str().unwrap();
    assert_eq!(fixture.run(&["mount", PROVIDER, at]).code, Some(0));
    let refused = fixture.run(&["cache", "clean", "--workspace"]);
    let collected = fixture.json(&["cache", "gc", "--unused-for", "0d"]);
    assert_eq!(fixture.run(&["umount", at]).code, Some(0));
    refused.assert_fails(1, &["is in use by", "nothing was removed"]);
    assert!(workspace.tarball().exists());
    assert!(
        collected["removed"]
            .as_array()
            .unwrap()
            .iter()
            .all(|item| item["kind"] == "package")
    );
}

fn du_of_one_file_system(path: &Path) -> u64 {
    let arguments = ["-sx".as_ref(), "--block-size=1".as_ref(), path.as_os_str()];
    tool("du", &arguments)
        .split_whitespace()
        .next()
        .unwrap()
        .parse()
        .unwrap()
}
