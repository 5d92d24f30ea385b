//! A lockfile, as it is and with its checksum put right.
//!
//! Invariant: what is accepted is written and read again as the same; every package's path stays below its
//! repository.
#![no_main]

use std::path::{Component, Path};

use libfuzzer_sys::fuzz_target;
use oic::package::Sha256;
use oic::resolve::lockfile::Lockfile;

fn check(text: &[u8]) {
    let Ok(lockfile) = Lockfile::from_json(text) else {
        return;
    };
    for package in &lockfile.packages {
        let mut components = Path::new(&package.path).components();
        assert!(
            components.all(|part| matches!(part, Component::Normal(_) | Component::CurDir)),
            "{}",
            package.path
        );
    }
    let again = Lockfile::from_json(lockfile.to_json().as_bytes()).expect("what was written can be read");
    assert_eq!(lockfile, again);
}

/// `text` with the checksum that its content has.
fn sealed(text: &[u8]) -> Option<Vec<u8>> {
    let mut value: serde_json::Value = serde_json::from_slice(text).ok()?;
    let object = value.as_object_mut()?;
    object.shift_remove("checksum");
    let checksum = Sha256::of(serde_json::to_vec(&object).ok()?);
    object.insert("checksum".into(), checksum.to_string().into());
    serde_json::to_vec(&value).ok()
}

fuzz_target!(|data: &[u8]| {
    check(data);
    if let Some(sealed) = sealed(data) {
        check(&sealed);
    }
});
