//! The output of dpkg and rpm, into which scripts of packages write.
//!
//! Invariant: what is counted was written in the lines; nothing grows with lines that say nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oic::progress::Silent;
use oic::{dpkg, rpm};

fuzz_target!(|text: &str| {
    let mut of_dpkg = dpkg::Transcript::new(&Silent, "fuzz", 3);
    let mut of_rpm = rpm::Transcript::new(&Silent, "fuzz", []);
    for line in text.lines() {
        of_dpkg.line(line);
        of_rpm.line(line);
    }
    let lines = text.lines().count() as u64;
    assert!(of_dpkg.configured() <= lines && of_dpkg.unpacked() <= lines);
    assert_eq!(of_rpm.installed(), 0);
    assert!(of_dpkg.failures().len() as u64 <= lines && of_rpm.failures().len() as u64 <= lines);
});
