//! A Debian Packages index.
//!
//! Invariant: every record that comes out has a name, and a path that stays below the repository.
#![no_main]

use std::path::{Component, Path};

use libfuzzer_sys::fuzz_target;
use oic::repo::deb::parse_packages;

fuzz_target!(|text: &str| {
    for record in parse_packages(text.into(), "fuzz".into(), 500).records {
        assert!(!record.name.is_empty());
        let mut components = Path::new(&*record.path).components();
        assert!(
            components.all(|part| matches!(part, Component::Normal(_) | Component::CurDir)),
            "{}",
            record.path
        );
    }
});
