//! What builds remember: the record of an image, resolutions, and the records of the package cache.
//!
//! Invariant: what is read, written and read again is the same; a text without its checksum is damaged.
#![no_main]

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use oic::cache::{damaged_records, last_used};
use oic::image::earlier::Earlier;
use oic::package::{Sha256, sealed};
use oic::resolve::memo::Memo;

/// A record of the file `raw` with this content behind its attributes, and the right checksum.
fn record(raw: &Path, content: &[u8]) -> Vec<u8> {
    let found = fs::metadata(raw).unwrap();
    let mut bytes = b"OICDRAWN".to_vec();
    bytes.extend(2_u32.to_le_bytes());
    for number in [found.ino(), found.len()] {
        bytes.extend(number.to_le_bytes());
    }
    for number in [found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(content);
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

fuzz_target!(|bytes: &[u8]| {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("raw"), [0; 4096]).unwrap();
    fs::write(at("record"), bytes).unwrap();
    assert!(Earlier::set_aside(&at("raw"), &at("record"), &at("aside")).is_none());
    fs::write(at("record"), record(&at("raw"), bytes)).unwrap();
    if let Some(earlier) = Earlier::set_aside(&at("raw"), &at("record"), &at("aside")) {
        let _ = format!("{:?}", earlier.digest());
    }

    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (memo, key) = (Memo::new(at("memo")), Sha256::of("key"));
    fs::create_dir(at("memo")).unwrap();
    let path = at("memo").join(key.to_string());
    fs::write(&path, sealed::seal("oic-resolution 2 ", text)).unwrap();
    if let Some(answer) = memo.get(key) {
        memo.put(key, &answer).unwrap();
        assert_eq!(format!("{:?}", memo.get(key).unwrap()), format!("{answer:?}"));
    }

    fs::create_dir(at("metadata")).unwrap();
    for name in ["verified.idx", "signed.idx", "used.idx"] {
        fs::write(at("metadata").join(name), bytes).unwrap();
    }
    let _ = last_used(directory.path());
    let _ = damaged_records(directory.path());
    fs::write(at("metadata/signed.idx"), sealed::seal("oic-signed 1 ", text)).unwrap();
    let summed = format!("oic-used 1\n{text}\n");
    let crc = crc32fast::hash(summed.as_bytes());
    fs::write(at("metadata/used.idx"), format!("{summed}crc {crc:08x}\n")).unwrap();
    let summed = format!("oic-verified 1\n{text}\n");
    let digest = Sha256::of(&summed);
    fs::write(at("metadata/verified.idx"), format!("{summed}sha256 {digest}\n")).unwrap();
    let _ = last_used(directory.path());
    let _ = damaged_records(directory.path());
});
