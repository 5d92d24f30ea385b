//! Unpacking a tar stream.
//!
//! Invariant: nothing outside the root is made, changed or removed, and no more is written than the stream holds.
#![no_main]

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use oic::archive::unpack::{UnpackOptions, unpack_tar};

const BLOCK_BYTES: usize = 512;

/// Gives every header its magic and checksum, which no fuzzer finds.
fn seal(stream: &mut [u8]) {
    let mut position = 0;
    while let Some(header) = stream.get_mut(position..position + BLOCK_BYTES) {
        header[257..265].copy_from_slice(b"ustar\x0000");
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let size = std::str::from_utf8(&header[124..135]).ok();
        let size = size
            .and_then(|digits| usize::from_str_radix(digits, 8).ok())
            .unwrap_or(0);
        position = position.saturating_add(BLOCK_BYTES + size.min(stream.len()).next_multiple_of(BLOCK_BYTES));
    }
}

fuzz_target!(|data: &[u8]| {
    let mut data = data.to_vec();
    // A short input is a header that is mostly zeros.
    data.resize(data.len().next_multiple_of(BLOCK_BYTES), 0);
    seal(&mut data);
    let outside = tempfile::tempdir_in("/dev/shm").unwrap();
    let root = outside.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(outside.path().join("canary"), "unharmed").unwrap();
    let unpacked = unpack_tar(
        &data[..],
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
