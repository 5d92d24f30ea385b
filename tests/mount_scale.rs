//! A mount of 100,000 files costs what one of 1,000 costs. `benches/scale.rs` prints it for a million.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

#[path = "support/scale.rs"]
mod scale;

use std::process::Command;
use std::time::Duration;

use oic::mount::namespace;
use scale::Place;

#[test]
fn mounting_does_not_depend_on_the_size() {
    namespace::enter_private().expect("this test needs root (CAP_SYS_ADMIN)");
    let (small, large) = (Place::new(1_000), Place::new(100_000));
    let best = |place: &Place| (0..5).map(|_| place.mount().time).min().unwrap();
    let (one, other) = (best(&small), best(&large));
    assert!(
        other < one * 2 + Duration::from_millis(5),
        "{one:?} for 1,000 files, {other:?} for 100,000"
    );

    let mounted = large.mount();
    // One directory holds half of them.
    let script = "find . -type f | wc -l; ls -l | tail -1; stat -c %n:%s many/f49999";
    let output = Command::new("sh")
        .args(["-c", script])
        .current_dir(mounted.at())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.starts_with("100000\n") && text.contains("many/f49999:0"), "{text}");
    let memory = mounted.server_memory();
    assert!(memory.anonymous_bytes < 50 << 20, "{memory:?}");
}
