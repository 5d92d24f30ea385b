//! A tarball of oic's own, whose table of contents is damaged or made up.
//!
//! Invariant: it is refused, or opened; its index is made again or not at all.
#![no_main]

use std::fs;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use oic::package::Sha256;
use oic::snapshot::foreign::Kind;
use oic::snapshot::{Snapshot, SnapshotPaths, WriteOptions, rebuild_index, write};

/// Returns the bytes of a small tarball.
fn good() -> &'static Vec<u8> {
    static GOOD: OnceLock<Vec<u8>> = OnceLock::new();
    GOOD.get_or_init(|| {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir_all(at("tree/d")).unwrap();
        fs::write(at("tree/d/file"), "content".repeat(100)).unwrap();
        write(&at("tree"), &at("tar.gz"), &at("idx"), &WriteOptions::new(Sha256::of("fuzz"))).unwrap();
        fs::read(at("tar.gz")).unwrap()
    })
}

// Edits of a good tarball, counted from its end: place (2 bytes) and value (1 byte) each.
fuzz_target!(|data: &[u8]| {
    let mut bytes = good().clone();
    for edit in data.chunks_exact(3) {
        let back = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % bytes.len();
        let place = bytes.len() - 1 - back;
        bytes[place] = edit[2];
    }
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let at = |name: &str| directory.path().join(name);
    let paths = SnapshotPaths {
        tarball: at("tar.gz"),
        index: at("idx"),
        backing_dir: at("store"),
    };
    fs::write(&paths.tarball, bytes).unwrap();
    let _ = Kind::of(&paths.tarball);
    let rebuilt = rebuild_index(&paths.tarball, &paths.index);
    assert_eq!(rebuilt.is_ok(), paths.index.exists());
    let _ = Snapshot::open(&paths);
});
