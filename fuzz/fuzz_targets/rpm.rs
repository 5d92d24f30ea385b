//! The head of an RPM package, and its record.
//!
//! Invariant: no panic, no more memory than the input has bytes by a small factor, and a record has a name.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oic::package::Sha256;
use oic::repo::rpm::local::{Place, record};
use oic::rpmfile::{RpmHead, Tag};

fuzz_target!(|bytes: &[u8]| {
    let Ok(head) = RpmHead::read(&mut &bytes[..]) else {
        return;
    };
    assert!(head.payload_offset <= bytes.len() as u64);
    for tag in [
        Tag::BASE_NAMES,
        Tag::FILE_SIZES,
        Tag::SIGNATURE_RSA,
        Tag::PAYLOAD_DIGEST,
    ] {
        for header in [&head.signature, &head.header] {
            let _ = (header.byte_strings(tag), header.numbers(tag), header.binary(tag));
        }
    }
    let place = Place {
        path: "fuzz.rpm".to_owned(),
        size_bytes: bytes.len() as u64,
        checksum: Sha256::of(bytes).into(),
        repository: "fuzz".into(),
        priority: 500,
    };
    if let Ok(record) = record(&head, &place) {
        assert!(!record.name.is_empty() && !record.name.contains('/'));
    }
});
