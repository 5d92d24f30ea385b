//! What a mount costs for a thousand files and for a million: `cargo bench --bench scale`. Needs root and
//! 3 GB in `/dev/shm`.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)] // a panic is the report

#[path = "../tests/support/scale.rs"]
mod scale;

use std::process::{Command, Stdio};
use std::time::Instant;

fn main() {
    oic::mount::namespace::enter_private().expect("this bench needs root");
    println!(
        "{:>10} {:>9} {:>10} {:>10} {:>12} {:>14} {:>14}",
        "snapshot", "files", "mount", "stat one", "find", "anonymous", "mapped"
    );
    let own = [1_000, 1_000_000].map(|files| ("own", files, scale::Place::new(files)));
    let foreign = [1_000, 1_000_000].map(|files| ("elsewhere", files, scale::Place::foreign(files)));
    let places: Vec<_> = own.into_iter().chain(foreign).collect();
    let mut mounting = vec![Vec::new(); places.len()];
    for _ in 0..15 {
        for ((_, _, place), times) in places.iter().zip(&mut mounting) {
            times.push(place.mount().time);
        }
    }
    for ((kind, files, place), mut times) in places.into_iter().zip(mounting) {
        times.sort();
        let mounted = place.mount();
        let start = Instant::now();
        std::fs::metadata(mounted.at().join("many/f77")).unwrap();
        let one = start.elapsed();
        let start = Instant::now();
        let find = Command::new("find")
            .arg(mounted.at())
            .args(["-size", "+1k"])
            .stdout(Stdio::null())
            .status();
        assert!(find.unwrap().success());
        let (all, memory) = (start.elapsed(), mounted.server_memory());
        let mebibytes = |bytes: u64| format!("{} MiB", bytes >> 20);
        println!(
            "{kind:>10} {files:>9} {:>10.1?} {one:>10.1?} {all:>12.1?} {:>14} {:>14}",
            times[times.len() / 2],
            mebibytes(memory.anonymous_bytes),
            mebibytes(memory.file_bytes)
        );
    }
}
