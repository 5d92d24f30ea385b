//! What killed processes leave is gone after the next command, wherever it lies.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::store::{Fixture, age, exists};
use oic::durable::FileLock;
use oic::package::Sha256;
use oic::workspace::TarballPlace;

/// Makes one of each directory that a store can have, and returns all of them.
fn rooms(fixture: &Fixture) -> Vec<PathBuf> {
    let workspace = fixture.workspace();
    let place = TarballPlace::in_work_dir(fixture.work(), "0123456789abcdef");
    for directory in [
        workspace.metadata().join("debian-main"),
        workspace.resolutions(),
        workspace.backing_store(),
        workspace.layers().join(Sha256::of("layer").to_string()),
        workspace.mounts().join("try"),
        place.backing_store(),
        place.mounts().join("try"),
    ] {
        fs::create_dir_all(directory).unwrap();
    }
    let mut rooms = vec![fixture.cache().to_owned(), fixture.work().to_owned()];
    let mut at = 0;
    while let Some(room) = rooms.get(at).cloned() {
        let paths = fs::read_dir(&room).unwrap().map(|entry| entry.unwrap().path());
        let is_tree = |path: &Path| path.ends_with("upper") || path.ends_with("chrootenv");
        rooms.extend(paths.filter(|path| path.is_dir() && !is_tree(path)));
        at += 1;
    }
    assert!(rooms.len() >= 18, "{rooms:#?}");
    rooms
}

/// Leaves a file and a directory with something in it in each of `rooms`, as of an hour ago.
fn plant(rooms: &[PathBuf]) -> Vec<PathBuf> {
    let mut planted = Vec::new();
    for room in rooms {
        let (file, directory) = (room.join(".oic-tmp-file"), room.join(".oic-tmp-directory"));
        fs::write(&file, "left").unwrap();
        fs::create_dir_all(directory.join("below")).unwrap();
        fs::write(directory.join("below/file"), "left").unwrap();
        for path in [&file, &directory] {
            age(path, Duration::from_secs(3600));
        }
        planted.extend([file, directory]);
    }
    planted
}

#[test]
fn each_command_that_has_the_store_for_itself_sweeps_every_room() {
    for command in [
        &["cache", "gc", "--unused-for", "1000d"][..],
        &["cache", "verify", "--repair"],
        &["cache", "clean", "--workspace"],
    ] {
        let fixture = Fixture::full();
        let planted = plant(&rooms(&fixture));
        let stats = fixture.json(&["cache", "stats"]);
        assert!(
            stats["providers"][0]["leftovers"]["files"].as_u64() > Some(10),
            "{stats:#}"
        );
        let finished = fixture.run(command);
        assert_eq!(finished.code, Some(0), "{command:?}: {}", finished.stderr);
        let left: Vec<_> = planted.iter().filter(|path| exists(path)).collect();
        assert!(left.is_empty(), "{command:?} leaves {left:#?}");
        let stats = fixture.json(&["cache", "stats"]);
        assert_eq!(stats["providers"][0]["leftovers"]["files"], 0, "{stats:#}");
    }
}

#[test]
fn nothing_is_swept_in_a_dry_run_or_while_the_provider_is_in_use() {
    let fixture = Fixture::full();
    let planted = plant(&[fixture.workspace().chrootbuild(), fixture.workspace().metadata()]);
    fixture.run(&["cache", "gc", "--unused-for", "1000d", "--dry-run"]);
    fixture.run(&["cache", "clean", "--all", "--dry-run"]);
    let lock = FileLock::exclusive(fixture.workspace().work_lock()).unwrap();
    fixture.run(&["cache", "gc", "--unused-for", "1000d"]);
    assert!(planted.iter().all(exists));
    drop(lock);
    fixture.run(&["cache", "gc", "--unused-for", "1000d"]);
    assert!(!planted.iter().any(exists));
}

#[test]
fn what_is_in_use_or_of_use_stays() {
    let fixture = Fixture::full();
    let workspace = fixture.workspace();
    fs::create_dir_all(workspace.mounts()).unwrap();
    let planted = plant(&[fixture.work().to_owned(), workspace.mounts()]);
    let [open, idle, scratch, other] = [&planted[0], &planted[1], &planted[3], &planted[2]];
    let _open = File::open(open).unwrap();
    let _server = FileLock::exclusive(scratch.join("work.lock")).unwrap();
    let download = workspace
        .package_cache()
        .join(format!(".oic-tmp-part-{}", Sha256::of("part")));
    fs::write(&download, vec![1; 2 << 20]).unwrap();
    let previous = workspace.image_build("edge").previous().directory().to_owned();
    fs::create_dir_all(&previous).unwrap();
    fixture.run(&["cache", "verify"]);
    assert!(!exists(idle) && !exists(other));
    // A process has it open; a mount server holds its lock; a build can use these two.
    for kept in [open, scratch, &download, &previous] {
        assert!(exists(kept), "{}", kept.display());
    }
    fixture.run(&["cache", "gc", "--unused-for", "1000d"]);
    assert!(exists(open) && exists(scratch) && exists(&download) && !exists(&previous));
}

/// An upper beside a work directory is unfinished: without the mark it would pass for a finished image.
#[test]
fn a_killed_build_goes_as_a_whole() {
    let fixture = Fixture::full();
    let build = fixture.workspace().image_build("edge");
    fs::create_dir(build.work()).unwrap();
    fs::write(build.log(), "the last words").unwrap();
    fixture.run(&["cache", "verify"]);
    assert!(exists(build.work()) && exists(build.upper()));
    fixture.run(&["cache", "gc", "--unused-for", "1000d"]);
    let left: Vec<_> = fs::read_dir(build.directory())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(left, [build.log()]);
}

#[test]
fn what_oic_has_not_made_is_named_and_stays() {
    let fixture = Fixture::full();
    let strange = [
        fixture.workspace().chrootbuild().join("notes"),
        fixture.workspace().package_cache().join("README"),
    ];
    for path in &strange {
        fs::write(path, "mine").unwrap();
    }
    let verified = fixture.json(&["cache", "verify"]);
    let named: Vec<_> = verified["strange"].as_array().unwrap().iter().collect();
    assert_eq!(named, [strange[1].to_str().unwrap(), strange[0].to_str().unwrap()]);
    assert_eq!(fixture.json(&["cache", "stats"])["providers"][0]["strange"]["files"], 2);
    assert!(fixture.run(&["cache", "verify"]).stdout.contains("strange: "));
    assert!(strange.iter().all(exists));
}
