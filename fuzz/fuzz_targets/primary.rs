//! The indexes of an RPM repository.
//!
//! Invariant: every record that comes out has a name, and a path that stays below the repository; its
//! dependencies can be read or refused.
#![no_main]

use std::path::{Component, Path};

use libfuzzer_sys::fuzz_target;
use oic::package::RpmDependency;
use oic::repo::rpm::{parse_comps, parse_filelists, parse_metalink, parse_primary, repomd::Repomd};

fuzz_target!(|bytes: &[u8]| {
    let _ = Repomd::parse(bytes);
    let _ = parse_metalink(bytes);
    let _ = parse_comps(bytes);
    let _ = parse_filelists(bytes, &["/usr/bin/x".to_owned()].into());
    for record in parse_primary(bytes, &"fuzz".into(), 500, &|_| true)
        .unwrap_or_default()
        .records
    {
        assert!(!record.name.is_empty() && !record.name.contains('/'));
        let mut components = Path::new(&*record.path).components();
        assert!(
            components.all(|part| matches!(part, Component::Normal(_))),
            "{}",
            record.path
        );
        for line in record.requires.lines().chain(record.conflicts.lines()) {
            let _ = RpmDependency::parse(line);
        }
    }
});
