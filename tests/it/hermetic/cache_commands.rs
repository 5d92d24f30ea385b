//! `oic cache`, through the program, on small made-up directories.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::fs;
use std::path::Path;

use crate::support::store::{DAY, Fixture, PROVIDER, age, damage, du, exists};
use oic::durable::FileLock;
use oic::package::{Resolution, Sha256};
use oic::resolve::lockfile::Lockfile;
use oic::resolve::memo::{Answer, Memo};
use oic::work::Work;
use oic_testkit::tool;

#[test]
fn stats_are_those_of_du_and_find() {
    let fixture = Fixture::full();
    let workspace = fixture.workspace();
    let upper = workspace.image_build("edge").upper();
    fs::hard_link(upper.join("etc/hostname"), upper.join("etc/name")).unwrap();
    let stats = fixture.json(&["cache", "stats"]);
    assert_eq!(stats["schema_version"], 1);
    assert_eq!(stats["status"], "ok");
    assert_eq!(stats["cache"]["disk_bytes"], du(fixture.cache()));
    assert_eq!(stats["work"]["disk_bytes"], du(fixture.work()));
    let provider = &stats["providers"][0];
    assert_eq!(provider["provider"], PROVIDER);
    assert_eq!(provider["packages"]["length_bytes"], 150_000);
    let found = tool("find", &[workspace.package_cache().to_str().unwrap(), "-name", "*.deb"]);
    assert_eq!(provider["packages"]["files"], found.lines().count());
    assert_eq!(
        provider["packages"]["disk_bytes"],
        du_of_files(workspace.package_cache())
    );
    assert_eq!(provider["metadata"]["disk_bytes"], du(&workspace.metadata()));
    let snapshot = du(&workspace.tarball()) + du(&workspace.index());
    assert_eq!(provider["snapshot"]["disk_bytes"], snapshot);
    assert_eq!(provider["images"][0]["name"], "edge");
    // The raw file is sparse: its length says nothing about the disk.
    let image = workspace.image_build("edge").directory().to_owned();
    assert_eq!(provider["images"][0]["disk_bytes"], du(&image));
    assert!(provider["images"][0]["length_bytes"].as_u64().unwrap() > 64 << 20);
    assert_eq!(provider["uppers"]["disk_bytes"], du(&upper));
    assert_eq!(provider["uppers"]["count"], 1);
    assert_eq!(fixture.json(&["cache", "stats", "--provider-id", PROVIDER]), stats);
}

/// Of the package files alone.
fn du_of_files(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_file()).map(|path| du(&path)).sum()
}

#[test]
fn stats_for_people() {
    let fixture = Fixture::full();
    let shown = fixture.run(&["cache", "stats"]);
    insta::assert_snapshot!(fixture.plain(&shown.stdout), @r"
    debian-debian13-x86_64  last used just now
      packages                         3 SIZE
      metadata SIZE
      snapshot SIZE
      backing store SIZE  unpacked of the snapshot
      step layers                      0 SIZE
      mounts SIZE  writable layers of oic mount
      images                           1 SIZE
        uppers                         1 SIZE  part of the images
        edge SIZE  built just now

    cache directory SIZE  ROOT/cache
    work directory SIZE  ROOT/work
    ");
}

#[test]
fn thresholds_set_the_exit_code() {
    let fixture = Fixture::full();
    let run = |more: &[&str]| fixture.run(&[&["cache", "stats"], more].concat());
    assert_eq!(run(&["--warn-above", "1G", "--crit-above", "2G"]).code, Some(0));
    // The cache has some 180 kB, the work directory more than 600 kB.
    let warned = run(&["--warn-above", "400K", "--crit-above", "1G"]);
    warned.assert_fails(1, &["warning: the work directory", "more than 400.00 KiB"]);
    assert!(!warned.stderr.contains("the cache directory"), "{}", warned.stderr);
    assert!(warned.stdout.contains("packages"));
    let critical = run(&["--warn-above", "10K", "--crit-above", "400K", "--format", "json"]);
    critical.assert_fails(2, &["critical: the cache directory", "the work directory"]);
    let json: serde_json::Value = serde_json::from_str(&critical.stdout).unwrap();
    assert_eq!(json["status"], "critical");
    run(&["--warn-above", "10"]).assert_fails(2, &["it has no unit"]);
}

#[test]
fn clean_removes_its_scope_and_nothing_else() {
    let fixture = Fixture::full();
    let workspace = fixture.workspace();
    fs::create_dir(fixture.work().join("someone-elses-directory")).unwrap();
    let before = fixture.inventory();
    for scope in [&["--packages"][..], &["--workspace"], &["--all", "--images"], &[]] {
        let run = fixture.run(&[&["cache", "clean", "--dry-run"], scope].concat());
        assert_eq!((run.code, fixture.inventory()), (Some(0), before.clone()), "{scope:?}");
    }
    let shown = fixture.run(&["cache", "clean", "--all", "--images", "--dry-run"]);
    insta::assert_snapshot!(fixture.plain(&shown.stdout), @r"
    would remove SIZE  packages of debian-debian13-x86_64  ROOT/cache/pkgCache/debian-debian13-x86_64
    would remove SIZE  workspace of debian-debian13-x86_64  ROOT/work/debian-debian13-x86_64/chrootbuild
    would remove SIZE  images of debian-debian13-x86_64  ROOT/work/debian-debian13-x86_64/imagebuild
    ");
    let none = fixture.json(&["cache", "clean", "--all", "--provider-id", "debian-debian13-aarch64"]);
    assert_eq!(none["parts"], serde_json::json!([]));

    let removed = fixture.json(&["cache", "clean"]);
    assert_eq!(removed["parts"][0]["scope"], "packages");
    assert_eq!(removed["parts"].as_array().unwrap().len(), 1);
    assert_eq!(fs::read_dir(workspace.package_cache()).unwrap().count(), 0);
    assert!(workspace.tarball().exists());
    fixture.json(&["cache", "clean", "--workspace"]);
    assert_eq!(fs::read_dir(workspace.chrootbuild()).unwrap().count(), 0);
    assert!(workspace.image_build("edge").upper().exists());
    fixture.json(&["cache", "clean", "--images"]);
    assert_eq!(fs::read_dir(workspace.image_builds()).unwrap().count(), 0);
    assert!(exists(fixture.work().join("someone-elses-directory")));
    assert_eq!(
        fixture.run(&["cache", "clean", "--all", "--images"]).stdout,
        "there is nothing to remove\n"
    );
}
#[test]
fn remembered_resolutions_are_verified_and_let_go() {
    let fixture = Fixture::full();
    let workspace = fixture.workspace();
    let memo = Memo::new(workspace.resolutions());
    let text = fs::read(workspace.image_build("edge").lockfile("edge")).unwrap();
    let answer = Answer {
        base: Resolution::default(),
        image: Resolution::default(),
        lockfile: Lockfile::from_json(&text).unwrap(),
        named: vec![],
        warnings: vec![],
    };
    let keys = ["old", "new"].map(Sha256::of);
    keys.iter().for_each(|key| memo.put(*key, &answer).unwrap());
    let path = |key: &Sha256| workspace.resolutions().join(key.to_string());
    assert_eq!(fixture.run(&["cache", "verify"]).code, Some(0));
    age(&path(&keys[0]), DAY * 100);
    let collected = fixture.json(&["cache", "gc", "--unused-for", "50d"]);
    assert_eq!(collected["removed"][0]["kind"], "resolution");
    assert!(!exists(path(&keys[0])) && exists(path(&keys[1])));
    damage(&path(&keys[1]));
    let verified = fixture.run(&["cache", "verify"]);
    verified.assert_fails(1, &["--repair"]);
    let repaired = fixture.run(&["cache", "verify", "--repair"]);
    assert!(
        repaired.stdout.contains(path(&keys[1]).to_str().unwrap()),
        "{}",
        repaired.stdout
    );
    assert!(!exists(path(&keys[1])));
    memo.put(keys[1], &answer).unwrap();
    fixture.json(&["cache", "clean"]);
    assert!(!exists(workspace.resolutions()));
}

#[test]
fn an_unknown_provider_is_wrong_use() {
    let fixture = Fixture::full();
    for command in ["clean", "stats", "verify"] {
        let run = fixture.run(&["cache", command, "--provider-id", "debian-debian13-x86_46"]);
        run.assert_fails(2, &["there is no provider", "did you mean \"debian-debian13-x86_64\"?"]);
    }
    let outside = fixture.run(&["cache", "clean", "--all", "--provider-id", "../.."]);
    outside.assert_fails(2, &["there is no provider"]);
}

#[test]
fn nothing_is_removed_while_a_build_holds_its_lock() {
    let fixture = Fixture::full();
    let workspace = fixture.workspace();
    for lock in [workspace.cache_lock(), workspace.work_lock()] {
        let held = std::fs::File::create(&lock).unwrap();
        held.lock_shared().unwrap();
        let before = fixture.inventory();
        let own = format!("(pid {})", std::process::id());
        for scope in ["--packages", "--workspace", "--images"] {
            let run = fixture.run(&["cache", "clean", scope]);
            run.assert_fails(1, &["is in use by", &own, "nothing was removed"]);
        }
        let collected = fixture.json(&["cache", "gc", "--unused-for", "0d", "--images"]);
        assert_eq!(collected["removed"], serde_json::json!([]));
        assert!(collected["skipped"][0]["reason"].as_str().unwrap().contains(&own));
        let names = |inventory: Vec<(std::path::PathBuf, u64, i64)>| -> Vec<_> {
            let paths = inventory.into_iter().map(|(path, ..)| path);
            paths
                .filter(|path| path.extension().is_none_or(|e| e != "lock"))
                .collect()
        };
        assert_eq!(names(fixture.inventory()), names(before));
        // Looking is allowed.
        assert_eq!(fixture.run(&["cache", "stats"]).code, Some(0));
        assert_eq!(fixture.run(&["cache", "verify"]).code, Some(0));
        drop(held);
    }
}

#[test]
fn a_download_that_somebody_writes_stays() {
    let fixture = Fixture::full();
    let directory = fixture.workspace().package_cache().to_owned();
    let part = |name: &str| directory.join(format!(".oic-tmp-part-{}", Sha256::of(name)));
    fs::write(part("left"), "x").unwrap();
    let _live = FileLock::exclusive(part("live")).unwrap();
    let cleaned = fixture.json(&["cache", "clean"]);
    assert_eq!(cleaned["kept"], serde_json::json!([part("live").to_str().unwrap()]));
    assert!(part("live").exists());
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
}

#[test]
fn gc_takes_the_least_recently_used_and_leaves_what_images_need() {
    let fixture = Fixture::new();
    let names = ["a", "b", "c", "d", "e"];
    let packages = names.map(|name| fixture.package(name, 100_000));
    fixture.remember(&packages);
    fixture.image("edge", &packages[..1]);
    for (package, days) in packages.iter().zip([400, 300, 200, 100, 1]) {
        age(&fixture.path_of(package), DAY * days);
    }
    let paths = packages.each_ref().map(|package| fixture.path_of(package));
    let gc = |more: &[&str]| -> (Vec<String>, serde_json::Value) {
        let collected = fixture.json(&[&["cache", "gc"], more].concat());
        let removed = collected["removed"].as_array().unwrap().iter();
        let names = removed.map(|item| {
            let path = Path::new(item["path"].as_str().unwrap()).file_name().unwrap();
            path.to_str().unwrap().split('_').next().unwrap().to_owned()
        });
        (names.collect(), collected)
    };
    // The image needs the oldest.
    assert_eq!(gc(&["--unused-for", "150d", "--dry-run"]).0, ["b", "c"]);
    assert!(paths.iter().all(exists));
    let size = du(&paths[0]);
    let (removed, collected) = gc(&["--max-size", &format!("{}K", 4 * size / 1024), "--dry-run"]);
    assert_eq!(removed, ["b"]);
    assert_eq!(collected["bytes_before"], 5 * size);
    assert_eq!(collected["bytes_after"], 4 * size);
    assert_eq!(collected["protected_bytes"], size);
    assert_eq!(gc(&["--max-size", "0"]).0, ["b", "c", "d", "e"]);
    assert!(exists(&paths[0]) && !exists(&paths[4]));
    let shown = fixture.run(&["cache", "gc", "--max-size", "0"]);
    insta::assert_snapshot!(fixture.plain(&shown.stdout), @r"
    removed SIZE; SIZE stay, SIZE of it because images need it
    that is still more than --max-size; oic cache clean --images removes images
    ");
    // An image that goes protects no more.
    age(fixture.workspace().image_build("edge").directory(), DAY * 10);
    let shown = fixture.run(&["cache", "gc", "--images", "--unused-for", "5d"]);
    insta::assert_snapshot!(fixture.plain(&shown.stdout), @r"
    removed SIZE  package  ROOT/cache/pkgCache/debian-debian13-x86_64/a_1%3a1.0-1_amd64.deb  (400 days ago)
    removed SIZE  image  ROOT/work/debian-debian13-x86_64/imagebuild/edge  (10 days ago)
    removed SIZE; SIZE stay, SIZE of it because images need it
    ");
    assert_eq!(fs::read_dir(fixture.workspace().image_builds()).unwrap().count(), 0);
}

#[test]
fn gc_goes_by_the_record_of_builds() {
    let fixture = Fixture::new();
    let packages = ["old", "used"].map(|name| fixture.package(name, 1000));
    for package in &packages {
        age(&fixture.path_of(package), DAY * 400);
    }
    fixture.remember(&packages);
    // What a build does with the packages of its resolution.
    let cache = oic::cache::PackageCache::open(fixture.cache(), PROVIDER).unwrap();
    let cancel = oic::cancel::Cancel::default();
    let fetcher = oic::fetch::Fetcher::new(oic::fetch::FetchOptions::default(), cancel.clone()).unwrap();
    let wanted = [oic::cache::RemotePackage {
        package: &packages[1],
        url: "http://127.0.0.1:9/used.deb".to_owned(),
    }];
    let report = cache.obtain_all(&wanted, &fetcher, Work::quiet(&cancel)).unwrap();
    assert_eq!(report.reused, 1);
    let collected = fixture.json(&["cache", "gc", "--unused-for", "1d"]);
    assert_eq!(collected["removed"].as_array().unwrap().len(), 1);
    assert!(!exists(fixture.path_of(&packages[0])) && exists(fixture.path_of(&packages[1])));
}

#[test]
fn gc_leaves_the_base_of_an_image_and_all_packages_of_one_that_it_cannot_read() {
    let fixture = Fixture::full();
    let workspace = fixture.workspace();
    let lockfile = workspace.image_build("edge").lockfile("edge");
    let text = fs::read_to_string(&lockfile).unwrap();
    fs::write(&lockfile, text.replace("amd64", "arm64")).unwrap();
    let before = fixture.inventory();
    let collected = fixture.json(&["cache", "gc", "--max-size", "0"]);
    assert_eq!(collected["removed"], serde_json::json!([]));
    assert!(
        collected["skipped"][0]["reason"]
            .as_str()
            .unwrap()
            .contains("edge.lock.json")
    );
    assert_eq!(fixture.inventory(), before);
    fs::remove_dir_all(workspace.image_builds()).unwrap();
    // A writable layer of `oic mount` needs it as well.
    fs::create_dir_all(workspace.mounts().join("mine")).unwrap();
    let collected = fixture.json(&["cache", "gc", "--max-size", "0"]);
    assert!(workspace.tarball().exists() && collected["removed"].as_array().unwrap().len() == 3);
    fs::remove_dir_all(workspace.mounts()).unwrap();
    let collected = fixture.json(&["cache", "gc", "--max-size", "0"]);
    assert_eq!(collected["bytes_after"], 0);
    assert!(!workspace.tarball().exists());
    fixture
        .run(&["cache", "gc"])
        .assert_fails(2, &["--max-size", "--unused-for"]);
    fixture
        .run(&["cache", "gc", "--max-size", "1G", "--images"])
        .assert_fails(2, &["--unused-for"]);
}

#[test]
fn verify_finds_a_flipped_bit_wherever_it_is() {
    let fixture = Fixture::full();
    let workspace = fixture.workspace();
    let unknown = fixture.package("unknown", 10);
    let sound = fixture.json(&["cache", "verify"]);
    assert_eq!((&sound["packages"], &sound["bad"]), (&3.into(), &serde_json::json!([])));
    assert_eq!(
        sound["unknown"],
        serde_json::json!([fixture.path_of(&unknown).to_str().unwrap()])
    );
    assert!(sound["members"].as_u64().unwrap() > 1);

    let package = workspace.package_cache().join("two_1%3a1.0-1_amd64.deb");
    damage(&package);
    damage(&workspace.tarball());
    let found = fixture.run(&["cache", "verify"]);
    found.assert_fails(1, &["2 things are bad", "--repair"]);
    let digests = regex::Regex::new("[0-9a-f]{64}").unwrap();
    let ranges = regex::Regex::new("bytes [0-9]+ and [0-9]+").unwrap();
    let counts = regex::Regex::new("[0-9]+ snapshot members").unwrap();
    let shown = digests.replace_all(&found.stdout, "DIGEST");
    let shown = ranges.replace_all(&shown, "bytes N and N");
    let shown = counts.replace_all(&shown, "N snapshot members");
    insta::assert_snapshot!(fixture.plain(&shown), @r#"
    bad: ROOT/cache/pkgCache/debian-debian13-x86_64/two_1%3a1.0-1_amd64.deb: it has the SHA-256 DIGEST, expected DIGEST
    bad: ROOT/work/debian-debian13-x86_64/chrootbuild/chrootenv.tar.gz: snapshot "ROOT/work/debian-debian13-x86_64/chrootbuild/chrootenv.tar.gz" is unusable: it is damaged between bytes N and N (its SHA-256 is wrong)
      cannot be read: /etc/noise
    unknown: ROOT/cache/pkgCache/debian-debian13-x86_64/unknown_1%3a1.0-1_amd64.deb: no digest is on record
    verified 2 packages, 0 repository indexes, N snapshot members and 0 step layers: SIZE read
    "#);
    assert!(package.exists(), "only --repair removes");
    let repaired = fixture.run(&["cache", "verify", "--repair"]);
    assert_eq!(repaired.code, Some(0), "{}", repaired.stderr);
    assert!(!package.exists() && !workspace.tarball().exists());
    assert_eq!(fixture.json(&["cache", "verify"])["bad"], serde_json::json!([]));
}

#[test]
fn verify_repairs_the_backing_store_in_place() {
    let fixture = Fixture::full();
    let workspace = fixture.workspace();
    // Reading through a mount unpacks.
    assert_eq!(fixture.run(&["mount", PROVIDER]).code, Some(0));
    let noise = fs::read(workspace.chrootenv().join("etc/noise")).unwrap();
    assert_eq!(fixture.run(&["umount", PROVIDER]).code, Some(0));
    let entries = fs::read_dir(workspace.backing_store()).unwrap();
    let data = entries
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|e| e == "data"));
    damage(&data.unwrap());
    let found = fixture.run(&["cache", "verify", "--format", "json"]);
    found.assert_fails(1, &["1 thing is bad"]);
    assert!(
        found.stdout.contains("1 unpacked members are not what they should be"),
        "{}",
        found.stdout
    );
    assert_eq!(
        fixture.json(&["cache", "verify", "--repair"])["bad"][0]["repaired"],
        true
    );
    assert_eq!(fixture.json(&["cache", "verify"])["bad"], serde_json::json!([]));
    assert_eq!(fixture.run(&["mount", PROVIDER]).code, Some(0));
    let again = fs::read(workspace.chrootenv().join("etc/noise")).unwrap();
    assert_eq!(fixture.run(&["umount", PROVIDER]).code, Some(0));
    assert!(again == noise);
}
