//! Unpacking a tar stream.
//!
//! Invariant: nothing outside the root is made, changed or removed, and no more is written than the stream holds.
#![no_main]

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use oic::archive::unpack::{UnpackOptions, unpack_tar};

fuzz_target!(|data: &[u8]| {
    let outside = tempfile::tempdir_in("/dev/shm").unwrap();
    let root = outside.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(outside.path().join("canary"), "unharmed").unwrap();
    let unpacked = unpack_tar(
        data,
        File::open(&root).unwrap().as_fd(),
        Path::new("fuzz"),
        &UnpackOptions::default(),
    );
    if let Ok(unpacked) = unpacked {
        assert!(unpacked.content_bytes <= data.len() as u64);
    }
    assert_eq!(fs::read(outside.path().join("canary")).unwrap(), b"unharmed");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 2);
});
