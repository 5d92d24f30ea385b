//! Disks that are full, each directory in turn, at a stage that is drawn.

use std::fs;
use std::path::{Path, PathBuf};

use oic_testkit::disk::Disk;

use crate::ground::{Ground, Site};
use crate::tally::{Fault, Tally};

const MIB: u64 = 1 << 20;
const ROOM_BYTES: u64 = 640 * MIB;
/// The most that a build from an empty directory of that kind needs, in MiB; the free space is drawn below it.
const DIRECTORIES: [(&str, u64, &str); 3] = [
    ("cache", 30, "--cache-dir"),
    ("work", 180, "--work-dir"),
    ("work/debian-debian13-x86_64/imagebuild", 120, "--work-dir"),
];

/// Fills disks.
pub fn chapter(ground: &Ground) -> Tally {
    let planned = ground.scale.count(4, 18);
    let (mut tally, mut random) = (Tally::of(planned), ground.random("full"));
    for number in 0..planned {
        if !tally.goes_on(&ground.scale) {
            break;
        }
        tally.attempts(1);
        let kind = ["ext4", "tmpfs"][usize::try_from(number % 2).unwrap()];
        match DIRECTORIES.get(usize::try_from(number % 4).unwrap()) {
            Some((name, most, option)) => {
                let free = random.below(*most) * MIB;
                attempt(ground, &mut tally, (name, option), (kind, free));
            }
            None => short_lived(ground, &mut tally, kind),
        }
    }
    tally
}

fn disk(kind: &str, at: &Path, image: &Path, size_bytes: u64) -> Disk {
    match kind {
        "tmpfs" => Disk::tmpfs(at, size_bytes),
        _ => Disk::ext4(at, image, size_bytes),
    }
}

/// Puts the directory `name` on a disk of `kind` with so many free bytes, and builds.
fn attempt(ground: &Ground, tally: &mut Tally, (name, option): (&str, &str), (kind, free): (&str, u64)) {
    let site = ground.site("full");
    let small = site.root.join(name);
    let _ = fs::remove_dir_all(&small);
    let case = format!("{name} on {kind} with {} MiB", free / MIB);
    let disk = disk(kind, &small, &site.root.with_extension("image"), ROOM_BYTES);
    if name == "cache" {
        site.forget(&["imagebuild", "chrootbuild/layers"]);
    }
    disk.leave(free);
    let failed = ground.build(&site);
    if ground.check_end(tally, &case, &failed, &[Some(0), Some(1)]) && failed.code == Some(1) {
        check_message(tally, &case, &failed.stderr, (&small, kind, option));
    }
    check_left(ground, tally, &case, &site, 1);
    disk.relieve();
    ground.check_build(tally, &case, &site);
}

/// Fills the directory for short-lived files, which takes a copy of a cache that cannot be written to.
fn short_lived(ground: &Ground, tally: &mut Tally, kind: &str) {
    let site = Site {
        root: ground.directory().join("short-lived"),
    };
    fs::create_dir_all(&site.root).unwrap();
    let cache = Disk::tmpfs(&site.cache(), MIB);
    oic_testkit::tool("mount", &["-o".as_ref(), "remount,ro".as_ref(), cache.at().as_os_str()]);
    let temporary = site.root.join("temp");
    let disk = disk(kind, &temporary, &site.root.with_extension("image"), 32 * MIB);
    disk.leave(0);
    let case = format!("temp on {kind}");
    let template = ground.template();
    let why = |site: &Site| {
        let mut command = ground.command(site, &["why", "libc6", template.to_str().unwrap()]);
        command.env("OIC_TEMP_DIR", &temporary);
        crate::program::Running::start(command, ground.directory()).end()
    };
    let failed = why(&site);
    if ground.check_end(tally, &case, &failed, &[Some(1)]) {
        check_message(tally, &case, &failed.stderr, (&temporary, kind, "OIC_TEMP_DIR"));
    }
    check_left(ground, tally, &case, &site, 2);
    disk.relieve();
    ground.check_end(tally, &format!("{case}, afterwards"), &why(&site), &[Some(0)]);
}

fn check_message(tally: &mut Tally, case: &str, said: &str, (directory, kind, option): (&PathBuf, &str, &str)) {
    let told = format!("no space left: {}", directory.display());
    let hint = said.lines().find(|line| line.contains("hint:")).unwrap_or_default();
    if !said.contains(&told) || !said.contains(&format!("is on {kind} of ")) || !hint.contains(option) {
        tally.fault(Fault::WrongCode, format!("{case}: {said}"));
    }
}

/// Checks leftovers; `own` mounts below the site are those of this chapter.
fn check_left(ground: &Ground, tally: &mut Tally, case: &str, site: &Site, own: usize) {
    ground.check_leftovers_beside(tally, case, site, true, own);
}
