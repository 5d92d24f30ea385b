//! Databases of vulnerabilities, and bills of materials that others have made.
//!
//! Invariant: a package that a finding names is one of the system.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oic::audit::{Audited, System, audit, base_score};
use oic::compare::bill_packages;
use oic::installed::Manager;

fuzz_target!(|bytes: &[u8]| {
    let package = Audited {
        name: "a".into(),
        version: "1".into(),
        source: "a".into(),
        source_version: "1".into(),
    };
    let system = System {
        id: "debian".into(),
        version: "13".into(),
        codename: "trixie".into(),
        manager: Manager::Dpkg,
        packages: vec![package],
    };
    for finding in audit(&system, bytes).unwrap_or_default() {
        assert_eq!(finding.package, "a");
    }
    let _ = bill_packages(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert!(base_score(text).is_none_or(|tenths| tenths <= 100));
    }
});
