//! A user's template and, behind a zero byte, the file `parent.yml` that it may extend.
//!
//! Invariant: every text is accepted or refused with findings; what loads has no errors when it is validated,
//! and can be printed, with origins too; what is printed loads again.
#![no_main]

use std::fs;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use oic::provider::Providers;
use oic::template::{Scope, TemplateSource, Variables, load, validate};

fn directory() -> &'static tempfile::TempDir {
    static DIRECTORY: OnceLock<tempfile::TempDir> = OnceLock::new();
    DIRECTORY.get_or_init(|| tempfile::tempdir_in("/dev/shm").unwrap())
}

fn providers() -> &'static Providers {
    static PROVIDERS: OnceLock<Providers> = OnceLock::new();
    PROVIDERS.get_or_init(|| Providers::embedded().expect("they are part of the program"))
}

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let (child, parent) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let path = directory().path().join("template.yml");
    fs::write(&path, child).unwrap();
    fs::write(directory().path().join("parent.yml"), parent).unwrap();
    let source = TemplateSource::File(path.clone());
    let variables = Variables::new();
    let findings = validate(&source, providers(), &variables);
    match load(&source, providers(), &variables) {
        Ok(loaded) => {
            assert!(!findings.has_errors(), "{findings}");
            loaded.resolved(Scope::Chain, true).expect("what was read can be shown");
            loaded.resolved(Scope::Full, true).expect("what was merged can be shown");
            let text = loaded.to_yaml().expect("what was read can be written");
            fs::write(&path, text).unwrap();
            if let Err(findings) = load(&source, providers(), &variables) {
                panic!("{findings}");
            }
        }
        Err(findings) => assert!(findings.has_errors()),
    }
});
