//! `--no-cache`: every package is downloaded, and the cache is as it was.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::fs;
use std::path::Path;

use oic_testkit::tool;

use crate::support::program::own_mounts;
use crate::support::tiny::Tiny;

#[test]
fn a_build_without_the_cache_downloads_all_and_keeps_nothing() {
    own_mounts();
    let tiny = Tiny::new("no-cache");
    let at = |name: &str| tiny.oic.work_dir.join(name);
    let (cache, work) = (at("cache"), at("work"));
    for directory in [&cache, &work] {
        fs::create_dir(directory).unwrap();
    }
    let listed = |directory: &Path| tool("find", &[directory.to_str().unwrap(), "-printf", "%p %s %T@\n"]);
    let template = tiny.template.to_str().unwrap();
    let build = |more: &[&str]| {
        let args = [&["build", template, "--format", "json"], more].concat();
        tiny.run(&args, [&cache, &work]).json()
    };
    let first = build(&[]);
    let before = listed(&cache);
    let again = build(&["--no-cache"]);
    assert_eq!(again["image"]["digest"], first["image"]["digest"]);
    assert_eq!(again["packages"]["fetched"], first["packages"]["fetched"], "{again}");
    assert!(again["packages"]["fetched"].as_u64() > Some(50), "{again}");
    assert_eq!(listed(&cache), before);
    tiny.oic.assert_clean();
}
