//! A Debian Release file.
//!
//! Invariant: what is accepted is for no suite named "", and parsing it again gives the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oic::repo::deb::release::Release;

fuzz_target!(|text: &str| {
    let Ok(release) = Release::parse(text) else { return };
    assert!(!release.is_for(""));
    let digests: Vec<_> = release.digests().collect();
    let _ = release.file("main/binary-amd64/Packages");
    let again = Release::parse(text).expect("it was accepted before");
    assert_eq!(digests, again.digests().collect::<Vec<_>>());
});
