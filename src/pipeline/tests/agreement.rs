//! What `validate` says and what `build` does are the same, for every template that is there.

use std::path::PathBuf;

use crate::fetch::Network;
use crate::model::Template;
use crate::pipeline::build::check;
use crate::pipeline::obstacles;
use crate::pipeline::request::{BuildRequest, Selecting};
use crate::provider::mirror::Mirrors;
use crate::provider::{KeyProblem, Provider, Providers, RepositoryError, repositories};
use crate::template::{TemplateSource, Variables, load, samples};

/// Samples, the templates of the tests, and those of the older tool where `OIC_COMPAT_TEMPLATES` says.
fn all() -> Vec<TemplateSource> {
    let own = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/templates"));
    let mut open: Vec<PathBuf> = [Some(own), std::env::var_os("OIC_COMPAT_TEMPLATES").map(PathBuf::from)]
        .into_iter()
        .flatten()
        .collect();
    let mut found: Vec<TemplateSource> = samples().into_iter().map(TemplateSource::Sample).collect();
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => open.push(path),
                false if path.extension().is_some_and(|end| end == "yml") => found.push(TemplateSource::File(path)),
                false => {}
            }
        }
    }
    found
}

/// Mirrors of Debian, which has none of its own.
fn mirrors() -> Mirrors {
    let mut mirrors = Mirrors::new();
    for flag in [
        "debian=http://mirror.example/debian",
        "debian-security=http://mirror.example/security",
    ] {
        mirrors.add_flag(flag).unwrap();
    }
    mirrors
}

/// Says whether a build stops at its repositories before it downloads anything.
fn stops_at_repositories(provider: &Provider, template: &Template) -> bool {
    let offline = |_: &str| Err("not asked".to_owned());
    match repositories(provider, &mirrors(), template, &offline, &[]) {
        Err(RepositoryError::Key { problem, .. }) => !matches!(problem, KeyProblem::Unusable(_)),
        Err(_) => true,
        Ok(_) => false,
    }
}

#[test]
fn validate_names_what_build_refuses_and_nothing_else() {
    let providers = Providers::embedded().unwrap();
    let (mut accepted, mut refused) = (0, 0);
    for source in all() {
        let loaded = load(&source, &providers, &Variables::new()).unwrap_or_else(|findings| panic!("{findings}"));
        let told = obstacles(&loaded, &mirrors());
        let request = BuildRequest::new(Selecting {
            loaded: loaded.clone(),
            mirrors: mirrors(),
            cache_dir: PathBuf::new(),
            work_dir: PathBuf::new(),
            workers: 1,
            network: Network::default(),
            offline: true,
            now: std::time::SystemTime::UNIX_EPOCH,
        });
        let refuses = check(&request).is_err() || stops_at_repositories(&loaded.provider, &loaded.template);
        assert_eq!(!told.is_empty(), refuses, "{source:?}: {told}");
        match refuses {
            true => refused += 1,
            false => accepted += 1,
        }
    }
    assert!(refused > 1 && accepted > 1, "{refused} {accepted}");
}
