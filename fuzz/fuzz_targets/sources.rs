//! The host's apt sources, in both syntaxes.
//!
//! Invariant: every source has a URI.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oic::repo::sources::parse;

fuzz_target!(|text: &str| {
    for name in ["fuzz.sources", "fuzz.list"] {
        for source in parse(name, text).unwrap_or_default() {
            assert!(!source.uri.is_empty());
        }
    }
});
