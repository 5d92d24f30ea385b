//! A user's template.
//!
//! Invariant: every text is accepted or refused with findings; what loads has no errors when it is validated,
//! and can be printed.
#![no_main]

use std::fs;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use oic::provider::Providers;
use oic::template::{TemplateSource, Variables, load, validate};

fn directory() -> &'static tempfile::TempDir {
    static DIRECTORY: OnceLock<tempfile::TempDir> = OnceLock::new();
    DIRECTORY.get_or_init(|| tempfile::tempdir_in("/dev/shm").unwrap())
}

fn providers() -> &'static Providers {
    static PROVIDERS: OnceLock<Providers> = OnceLock::new();
    PROVIDERS.get_or_init(|| Providers::embedded().expect("they are part of the program"))
}

fuzz_target!(|data: &[u8]| {
    let path = directory().path().join("template.yml");
    fs::write(&path, data).unwrap();
    let source = TemplateSource::File(path);
    let variables = Variables::new();
    let findings = validate(&source, providers(), &variables);
    match load(&source, providers(), &variables) {
        Ok(loaded) => {
            assert!(!findings.has_errors(), "{findings}");
            loaded.to_yaml().expect("what was read can be written");
        }
        Err(findings) => assert!(findings.has_errors()),
    }
});
