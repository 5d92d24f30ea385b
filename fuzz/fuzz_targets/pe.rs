//! Kernels and boot stubs, which are PE images from packages.
//!
//! Invariant: an image is for one architecture at most, and its sections lie within it; what is signed of it is the same
//! once more.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oic::boot::authenticode;
use oic::boot::pe::{check, facts};
use oic::image::content::Source;
use oic::package::Arch;

fuzz_target!(|bytes: &[u8]| {
    let fits = [Arch::X86_64, Arch::Aarch64, Arch::Armv7hl].map(|arch| check(bytes, arch).is_ok());
    assert!(fits.iter().filter(|fits| **fits).count() <= 1);
    if let Ok(facts) = facts(bytes) {
        assert!(facts.sections.iter().all(|(_, range)| bytes.get(range.clone()).is_some()));
    }
    let program = Source::Bytes(bytes.to_vec());
    if let Ok(to_sign) = authenticode::to_sign(&program) {
        assert_eq!(authenticode::to_sign(&program).ok(), Some(to_sign));
    }
});
