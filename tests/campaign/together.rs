//! Builds at once, beside the commands that remove, verify and mount what they use.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use oic_testkit::tiny::{Distribution, PROVIDER};

use crate::ground::{Ground, Site};
use crate::program::Ended;
use crate::tally::{Fault, Tally};

const GC: [&str; 5] = ["cache", "gc", "--unused-for", "1d", "--images"];
const VERIFY: [&str; 2] = ["cache", "verify"];
const CLEAN: [&str; 3] = ["cache", "clean", "--workspace"];

/// A template and its image.
struct Build {
    template: PathBuf,
    sha256: String,
}

/// Runs builds at once.
pub fn chapter(ground: &Ground) -> Tally {
    let (builds, rounds) = (ground.scale.count(3, 8), ground.scale.count(1, 3));
    let mut tally = Tally::of(builds * rounds);
    let site = ground.site("together");
    let mut all = Vec::new();
    for number in 0..builds {
        let template = Distribution::template(ground.directory(), &format!("at-once-{number}"), "[hello]");
        let alone = build(ground, &site, &template);
        let template_name = format!("build {number} alone");
        ground.check_end(&mut tally, &template_name, &alone, &[Some(0)]);
        let sha256 = alone.field("/image/sha256");
        all.push(Build { template, sha256 });
    }
    for round in 0..rounds {
        if !tally.goes_on(&ground.scale) {
            break;
        }
        // First everything is there, then only the base, then nothing.
        match round {
            0 => site.forget(&["imagebuild"]),
            1 => site.forget(&["imagebuild", "chrootbuild/layers"]),
            _ => site.forget(&["imagebuild", "chrootbuild"]),
        }
        at_once(ground, &mut tally, &site, &all);
        ground.check_leftovers(&mut tally, &format!("round {round}"), &site, true);
    }
    ground.check_build(&mut tally, "afterwards", &site);
    tally
}

fn build(ground: &Ground, site: &Site, template: &std::path::Path) -> Ended {
    ground.run(site, &["build", template.to_str().unwrap(), "--format", "json"])
}

fn at_once(ground: &Ground, tally: &mut Tally, site: &Site, all: &[Build]) {
    let done = AtomicBool::new(false);
    let repeat = |args: &[&str]| {
        let mut ended = Vec::new();
        while !done.load(Ordering::SeqCst) {
            ended.push(ground.run(site, args));
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        ended
    };
    let (built, others) = std::thread::scope(|scope| {
        let others = [
            scope.spawn(|| repeat(&GC)),
            scope.spawn(|| repeat(&VERIFY)),
            scope.spawn(|| repeat(&CLEAN)),
            scope.spawn(|| mounts(ground, site, &done)),
        ];
        let builds = all.iter().map(|one| scope.spawn(|| build(ground, site, &one.template)));
        let builds: Vec<_> = builds
            .collect::<Vec<_>>()
            .into_iter()
            .map(|build| build.join().unwrap())
            .collect();
        done.store(true, Ordering::SeqCst);
        (builds, others.map(|other| other.join().unwrap()))
    });
    for (one, built) in all.iter().zip(&built) {
        let case = format!("{} at once", one.template.display());
        tally.attempts(1);
        let good = ground.check_end(tally, &case, built, &[Some(0)]);
        if good && built.field("/image/sha256") != one.sha256 {
            tally.fault(Fault::WrongBytes, format!("{case}: {}", built.field("/image/sha256")));
        }
    }
    // A command that needs what is in use refuses.
    let codes: [&[Option<i32>]; 4] = [&[Some(0)], &[Some(0)], &[Some(0), Some(1)], &[Some(0), Some(1)]];
    for ((name, ended), codes) in ["gc", "verify", "clean", "mount"].iter().zip(&others).zip(codes) {
        for one in ended {
            ground.check_end(tally, &format!("{name} beside builds"), one, codes);
        }
    }
}

/// Mounts the base and unmounts it, again and again.
fn mounts(ground: &Ground, site: &Site, done: &AtomicBool) -> Vec<Ended> {
    let mut ended = Vec::new();
    let at = site.root.join("shown");
    std::fs::create_dir_all(&at).unwrap();
    let at = at.to_str().unwrap();
    while !done.load(Ordering::SeqCst) {
        let mounted = ground.run(site, &["mount", PROVIDER, at]);
        let is_mounted = mounted.code == Some(0);
        ended.push(mounted);
        if is_mounted {
            let _ = std::fs::read(format!("{at}/usr/bin/dpkg"));
            ended.push(ground.run(site, &["umount", at]));
        }
    }
    ended
}
