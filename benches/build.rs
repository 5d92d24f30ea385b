//! The whole build against mmdebstrap + `mke2fs -d` for the same packages, in one run.
//!
//! `cargo bench --bench build` needs root, a mirror for the first run, and mmdebstrap, e2fsprogs and dpkg-dev.
//! All packages are cached before the first measurement; runs are interleaved; the medians are compared.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const RUNS: usize = 3;
const SAMPLE: &str = "debian13-x86_64-minimal";
const PROVIDER: &str = "debian-debian13-x86_64";

fn main() {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-build");
    std::fs::create_dir_all(&root).unwrap();
    let bench = Bench {
        cache: root.join("cache"),
        work: root.join("work"),
        peer: root.join("peer"),
    };
    bench.oic(); // fills the package cache
    let packages = bench.locked_packages();
    bench.make_peer_repository();

    let (mut cold, mut warm, mut peer) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        oic::durable::remove_tree(&bench.work).unwrap();
        cold.push(time(|| bench.oic()));
        warm.push(time(|| bench.oic()));
        peer.push(time(|| bench.mmdebstrap_and_mke2fs(&packages)));
    }
    let (cold, warm, peer) = (median(cold), median(warm), median(peer));
    println!(
        "{} packages, median of {RUNS} interleaved runs, packages cached",
        packages.len()
    );
    println!("{:<44} {:>9} {:>7}", "", "seconds", "ratio");
    for (name, value) in [
        ("mmdebstrap + mke2fs -d", peer),
        ("oic build, no base yet", cold),
        ("oic build again, nothing changed", warm),
    ] {
        println!(
            "{name:<44} {:>9.2} {:>7.2}",
            value.as_secs_f64(),
            value.as_secs_f64() / peer.as_secs_f64()
        );
    }
    oic::durable::remove_tree(&bench.work).unwrap();
    oic::durable::remove_tree(&bench.peer).unwrap();
}

struct Bench {
    cache: PathBuf,
    work: PathBuf,
    peer: PathBuf,
}

impl Bench {
    fn oic(&self) {
        run(Command::new(env!("CARGO_BIN_EXE_oic"))
            .args(["build", SAMPLE, "--cache-dir"])
            .arg(&self.cache)
            .arg("--work-dir")
            .arg(&self.work));
    }

    fn package_cache(&self) -> PathBuf {
        self.cache.join("pkgCache").join(PROVIDER)
    }

    /// `name=version` of every package of the lockfile that the build left.
    fn locked_packages(&self) -> Vec<String> {
        let builds = self.work.join(PROVIDER).join("imagebuild");
        let files = std::fs::read_dir(builds)
            .unwrap()
            .flat_map(|entry| std::fs::read_dir(entry.unwrap().path()));
        let lockfile = files
            .flatten()
            .map(|entry| entry.unwrap().path())
            .find(|path| path.to_string_lossy().ends_with(".lock.json"))
            .expect("the build left a lockfile");
        let lock: serde_json::Value = serde_json::from_slice(&std::fs::read(lockfile).unwrap()).unwrap();
        let text = |package: &serde_json::Value, key: &str| package[key].as_str().unwrap().to_owned();
        let packages = lock["packages"].as_array().unwrap().iter();
        packages
            .map(|package| format!("{}={}", text(package, "name"), text(package, "version")))
            .collect()
    }

    /// A flat repository of exactly the cached packages, which apt may copy from.
    fn make_peer_repository(&self) {
        std::fs::create_dir_all(&self.peer).unwrap();
        let output = Command::new("dpkg-scanpackages")
            .args(["--multiversion", "."])
            .current_dir(self.package_cache())
            .stderr(Stdio::null())
            .output()
            .expect("the package dpkg-dev is needed");
        let repository = self.peer.join("repository");
        std::fs::create_dir_all(&repository).unwrap();
        std::fs::write(repository.join("Packages"), output.stdout).unwrap();
        for entry in std::fs::read_dir(self.package_cache()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension() == Some(OsStr::new("deb")) {
                std::fs::hard_link(&path, repository.join(path.file_name().unwrap())).unwrap();
            }
        }
    }

    fn mmdebstrap_and_mke2fs(&self, packages: &[String]) {
        let (tree, image) = (self.peer.join("tree"), self.peer.join("image.raw"));
        oic::durable::remove_tree(&tree).unwrap();
        let _ = std::fs::remove_file(&image);
        let source = format!("deb [trusted=yes] copy://{} ./", self.peer.join("repository").display());
        run(Command::new("mmdebstrap")
            .args(["--variant=custom", "--mode=root", "--format=directory"])
            .arg(format!("--include={}", packages.join(",")))
            .arg("trixie")
            .arg(&tree)
            .arg(source));
        run(Command::new("mke2fs")
            .args(["-q", "-t", "ext4", "-d"])
            .arg(&tree)
            .arg(&image)
            .arg("3G"));
    }
}

/// A peer that hangs must not hang the benchmark: `timeout` (coreutils) ends it after ten minutes.
fn run(command: &Command) {
    let output = Command::new("timeout")
        .arg("600")
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn time(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

fn median(mut values: Vec<Duration>) -> Duration {
    values.sort();
    values[values.len() / 2]
}
