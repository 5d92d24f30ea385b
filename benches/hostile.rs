//! What hostile tarballs cost, with a million members: `cargo bench --bench hostile`. Needs 6 GB in `/dev/shm`.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use oic::snapshot::foreign::{PrepareOptions, index_tarball};
use oic_testkit::hostile::SHAPES;

/// The variable that names the tarball to another process, so that the most memory of each is its own.
const FILE: &str = "OIC_BENCH_HOSTILE_FILE";

fn main() {
    if let Some(file) = std::env::var_os(FILE) {
        return measure(Path::new(&file));
    }
    println!(
        "{:<34} {:>9} {:>10} {:>10} {:>10}",
        "tarball", "entries", "packed", "time", "memory"
    );
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let file = directory.path().join("tar.gz");
    for shape in SHAPES {
        for entries in [100_000, 1_000_000] {
            shape.write_to(&file, entries);
            let packed = std::fs::metadata(&file).unwrap().len();
            let child = Command::new(std::env::current_exe().unwrap())
                .env(FILE, &file)
                .output()
                .unwrap();
            let costs = String::from_utf8(child.stdout).unwrap();
            println!(
                "{:<34} {entries:>9} {:>6} KiB {}",
                shape.name,
                packed >> 10,
                costs.trim_end()
            );
        }
    }
}

/// Makes an index of the tarball, and prints time, memory and result.
fn measure(file: &Path) {
    let (start, index) = (Instant::now(), file.with_extension("idx"));
    let result = index_tarball(file, &index, &PrepareOptions::default());
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kibibytes: u64 = peak.split_whitespace().next().unwrap().parse().unwrap();
    let refused = result.err().map(|error| format!("  refused: {error}"));
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{seconds:>8.1} s {:>6} MiB{}",
        kibibytes >> 10,
        refused.unwrap_or_default()
    );
}
