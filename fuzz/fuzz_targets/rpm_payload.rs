//! Unpacking an `.rpm` package file. Start from one whose payload is not compressed (rpmbuild's `w.ufdio`).
//!
//! Invariant: nothing outside the root is made, changed or removed, and no more is written than the
//! stream can hold.
#![no_main]

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use oic::archive::rpm::extract_from;
use oic::archive::unpack::UnpackOptions;

fuzz_target!(|data: &[u8]| {
    let outside = tempfile::tempdir_in("/dev/shm").unwrap();
    let root = outside.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(outside.path().join("canary"), "unharmed").unwrap();
    let options = UnpackOptions {
        content_bytes_max: 1 << 20,
        members_max: 1000,
        ..UnpackOptions::default()
    };
    let unpacked = extract_from(data, Path::new("fuzz"), File::open(&root).unwrap().as_fd(), &options);
    if let Ok(unpacked) = unpacked {
        assert!(unpacked.content_bytes <= options.content_bytes_max);
    }
    assert_eq!(fs::read(outside.path().join("canary")).unwrap(), b"unharmed");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 2);
});
