//! Kernels and boot stubs, which are PE images from packages.
//!
//! Invariant: an image that takes more sections is still one for its architecture.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oic::boot::pe::check;
use oic::package::Arch;

fuzz_target!(|bytes: &[u8]| {
    let fits = [Arch::X86_64, Arch::Aarch64, Arch::Armv7hl].map(|arch| check(bytes, arch).is_ok());
    assert!(fits.iter().filter(|fits| **fits).count() <= 1);
});
