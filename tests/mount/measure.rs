//! Not a test: what the mount costs against the native file system and the kernel's
//! overlayfs over it, in one interleaved run. `cargo test --test mount -- --ignored measure`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use oic::mount::session::{self, View};

use crate::support::{Place, Session, layers, request, run};

pub const TESTS: &[(&str, fn())] = &[("measure", measure)];

/// Runs per figure; the median counts.
const RUNS: usize = 5;

/// A tree of about 9,000 entries, from what every host has.
fn make_tree(base: &Path) {
    let commands = "find /usr/lib /usr/share /usr/include -xdev -size -2000k 2>/dev/null | sort | \
        awk 'NR % 3 == 0' | head -9000 | tar cf - --no-recursion -T - 2>/dev/null | tar xf -; find . | wc -l; du -sm .";
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

/// Mounting and unmounting a tree that needs no loading.
fn measure_mounting() {
    let place = Place::new();
    let overlay = View::Overlay {
        upper: Some(place.upper(true)),
        steps: Vec::new(),
    };
    for (name, view) in [("fuse", View::Layer("base".to_owned())), ("overlay on fuse", overlay)] {
        let (mut mounting, mut closing) = (Vec::new(), Vec::new());
        for _ in 0..20 {
            let _ = std::fs::remove_dir_all(place.path("work"));
            let start = Instant::now();
            let session = session::mount(&request(layers("files:10"), view.clone()), &place.mnt()).unwrap();
            mounting.push(start.elapsed());
            let start = Instant::now();
            session.close().unwrap();
            closing.push(start.elapsed());
        }
        mounting.sort();
        closing.sort();
        println!("{name}: mount {:?}, close {:?}", mounting[10], closing[10]);
    }
}

fn measure() {
    measure_mounting();
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
    println!("median of {RUNS}, ms (mounting the tree includes loading it into memory)");
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
