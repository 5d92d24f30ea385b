//! Not a test: what the mount costs against the native file system and the kernel's
//! overlayfs over it, in one interleaved run. `cargo test --test mount -- measure`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use oic::mount::session::Session;

use crate::support::{Place, run};

pub const TESTS: &[(&str, fn())] = &[("measure", measure)];

/// Runs per figure; the median counts.
const RUNS: usize = 5;

/// A tree of about 9,000 entries, from what every host has.
fn make_tree(base: &Path) {
    let commands = "for d in /usr/share/perl /usr/lib/python3* /usr/share/doc /usr/include /usr/lib/x86_64-linux-gnu; do \
        find $d -xdev 2>/dev/null | sort | head -3000 | cpio -pdm --quiet . 2>/dev/null || true; \
        test $(find . | wc -l) -gt 9000 && break; done; find . | wc -l; du -sm .";
    println!("{}", run(base, &["sh", "-c", commands]).replace('\n', " "));
}

fn time(directory: &Path, script: &str) -> Duration {
    let start = Instant::now();
    let status = Command::new("sh")
        .args(["-c", script])
        .current_dir(directory)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{script}");
    start.elapsed()
}

/// What is measured, each time on a new mount.
const STEPS: &[(&str, &str)] = &[
    ("ls -lR cold", "ls -lR . | cat"),
    ("ls -lR warm", "ls -lR . | cat"),
    ("find warm", "find . | cat"),
    ("tar cold", "tar cf - . | cat"),
    ("tar warm", "tar cf - . | cat"),
];

enum Kind {
    Native,
    Fuse,
    NativeOverlay,
    FuseOverlay,
}

enum Mounted {
    Nothing(PathBuf),
    Session(Session),
    Plain(PathBuf),
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Self::Plain(path) = self {
            run(path.parent().unwrap(), &["umount", path.to_str().unwrap()]);
        }
    }
}

fn mount(kind: &Kind, place: &Place, round: usize) -> Mounted {
    let mut upper = place.upper(true);
    upper.directory = place.path(&format!("upper-{round}"));
    upper.work = place.path(&format!("work-{round}"));
    match kind {
        Kind::Native => Mounted::Nothing(place.base()),
        Kind::Fuse => Mounted::Session(place.mount_base()),
        Kind::FuseOverlay => Mounted::Session(place.mount_with(upper).unwrap()),
        Kind::NativeOverlay => {
            upper.directory.as_mut_os_string().push("-native");
            upper.work.as_mut_os_string().push("-native");
            upper.prepare(&place.base()).unwrap();
            let spec = oic::mount::kernel::OverlaySpec {
                lower: vec![place.base()],
                upper: Some(upper),
                restrictions: oic::mount::Restrictions::BUILD,
            };
            oic::mount::kernel::mount(&spec, &place.mnt()).unwrap().keep();
            Mounted::Plain(place.mnt())
        }
    }
}

fn measure() {
    let place = Place::new();
    make_tree(&place.base());
    let kinds = [
        ("native", Kind::Native),
        ("fuse", Kind::Fuse),
        ("overlay on native", Kind::NativeOverlay),
        ("overlay on fuse", Kind::FuseOverlay),
    ];
    let mut results = vec![vec![Vec::new(); STEPS.len() + 1]; kinds.len()];
    for round in 0..RUNS {
        for ((_, kind), results) in kinds.iter().zip(&mut results) {
            let start = Instant::now();
            let mounted = mount(kind, &place, round);
            results[0].push(start.elapsed());
            let at = match &mounted {
                Mounted::Nothing(path) | Mounted::Plain(path) => path.clone(),
                Mounted::Session(session) => session.mount_point().to_owned(),
            };
            for ((_, script), results) in STEPS.iter().zip(&mut results[1..]) {
                results.push(time(&at, script));
            }
        }
    }
    println!("median of {RUNS}, ms (the mount includes loading the tree into memory)");
    print!("{:20}", "");
    for step in ["mount"].iter().chain(STEPS.iter().map(|(name, _)| name)) {
        print!("{step:>13}");
    }
    println!();
    for ((name, _), results) in kinds.iter().zip(&mut results) {
        print!("{name:20}");
        for times in results {
            times.sort();
            print!("{:13.1}", times[times.len() / 2].as_secs_f64() * 1000.0);
        }
        println!();
    }
}
