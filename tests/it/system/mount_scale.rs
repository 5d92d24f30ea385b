//! A mount of 100,000 files costs what one of 1,000 costs, and so does one of a million in a tarball from elsewhere.
//! `benches/scale.rs` prints it for a million of both.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::process::Command;
use std::time::Duration;

use crate::support::program::own_mounts;
use crate::support::scale::Place;

/// Most memory that the server of a mount may take, mapped pages of the index and of the program included.
const MEMORY_BYTES_MAX: u64 = 100 << 20;

/// Compares the times that mounting takes, then looks at all `files` of the large one.
fn compare(small: &Place, large: &Place, files: u32) {
    own_mounts();
    let best = |place: &Place| (0..5).map(|_| place.mount().time).min().unwrap();
    let (one, other) = (best(small), best(large));
    // A hundred times as many files: what looks at each of them is far above this.
    assert!(
        other < one * 4 + Duration::from_millis(20),
        "{one:?} for the small one, {other:?} for {files} files"
    );
    let mounted = large.mount();
    // One directory holds half of them.
    let last = format!("many/f{}", files / 2 - 1);
    let script = format!("find . -type f | wc -l; ls -l many | tail -1; stat -c %n:%s {last}");
    let output = Command::new("sh")
        .args(["-c", &script])
        .current_dir(mounted.at())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.starts_with(&format!("{files}\n")) && text.contains(&format!("{last}:0")),
        "{text}"
    );
    let memory = mounted.server_memory();
    assert!(
        memory.anonymous_bytes + memory.file_bytes < MEMORY_BYTES_MAX,
        "{memory:?}"
    );
}

#[test]
fn mounting_does_not_depend_on_the_size() {
    compare(&Place::new(1_000), &Place::new(100_000), 100_000);
}

#[test]
fn mounting_a_million_files_costs_what_a_thousand_cost() {
    compare(&Place::foreign(1_000), &Place::foreign(1_000_000), 1_000_000);
}
