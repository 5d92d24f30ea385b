//! The files that a build keeps beside its layers: manifest, checksums, the list of layers below an upper, and sealed
//! texts.
//!
//! Invariant: what is read, written and read again is the same.
#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use oic::layer::{Below, Manifest, Sums};
use oic::package::sealed;

const HEADER: &str = "fuzz 1 ";

fuzz_target!(|bytes: &[u8]| {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let (path, again) = (directory.path().join("kept"), directory.path().join("again"));
    fs::write(&path, bytes).unwrap();
    if let Ok(manifest) = Manifest::read(&path) {
        manifest.write(&again).unwrap();
        assert_eq!(Manifest::read(&again).unwrap().content, manifest.content);
    }
    if let Ok(sums) = Sums::read(&path) {
        sums.write(&again).unwrap();
        assert_eq!(fs::read(&again).unwrap(), bytes);
    }
    if let Ok(below) = Below::read(&path) {
        below.write(&again).unwrap();
        let read = Below::read(&again).unwrap();
        assert_eq!((read.base, read.layers), (below.base, below.layers));
    }
    if let Ok(body) = sealed::open(HEADER, bytes) {
        assert_eq!(sealed::seal(HEADER, body).as_bytes(), bytes);
    }
    if let Ok(body) = std::str::from_utf8(bytes) {
        assert_eq!(sealed::open(HEADER, sealed::seal(HEADER, body).as_bytes()), Ok(body));
    }
});
