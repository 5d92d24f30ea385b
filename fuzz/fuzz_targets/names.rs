//! Versions, relations, capabilities, patterns and file names of packages, and lists of mirrors.
//!
//! Invariant: an order is an order; a file name has no slash.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oic::package::{
    Arch, Capability, DebVersion, Evr, FileName, RpmDependency, glob, parse_relation, parse_relations,
};
use oic::repo::rpm::parse_mirror_list;

fuzz_target!(|text: &str| {
    let (one, other) = text.split_once('\n').unwrap_or((text, ""));
    let (first, second) = (DebVersion::new(one), DebVersion::new(other));
    assert_eq!(first.cmp(&second), second.cmp(&first).reverse());
    let (first, second) = (Evr::new(one), Evr::new(other));
    assert_eq!(first.cmp_bound(&second), second.cmp_bound(&first).reverse());
    let _ = parse_relations(text, Arch::X86_64);
    let _ = parse_relation(one, Arch::X86_64);
    let _ = RpmDependency::parse(one);
    if let (Ok(one), Ok(other)) = (Capability::parse(one), Capability::parse(other)) {
        assert_eq!(one.overlaps(&other), other.overlaps(&one));
    }
    let _ = glob::matches(one, other);
    if let Ok(name) = FileName::new(one) {
        assert!(!name.as_str().contains('/'));
    }
    let _ = parse_mirror_list(text);
});
