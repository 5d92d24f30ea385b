//! The configuration file, the environment, and the data of providers.
//!
//! Invariant: every text is accepted or refused with findings; what was loaded can be shown.
#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use oic::config::{Config, Layers, rows};
use oic::provider::Providers;

fuzz_target!(|text: &str| {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("config.yml"), text).unwrap();
    let file = Layers {
        file: Some(at("config.yml")),
        ..Layers::default()
    };
    match Config::load(&file) {
        Ok(config) => drop(rows(&config)),
        Err(findings) => assert!(findings.has_errors()),
    }
    let environment = text.lines().filter_map(|line| line.split_once('='));
    let variables = Layers {
        file: Some("/dev/null".into()),
        environment: environment.map(|(name, value)| (name.into(), value.into())).collect(),
        ..Layers::default()
    };
    if let Err(findings) = Config::load(&variables) {
        assert!(findings.has_errors());
    }
    let provider = at("providers/fuzz/fuzz1");
    fs::create_dir_all(&provider).unwrap();
    fs::write(provider.join("provider.yml"), text).unwrap();
    match Providers::load(Some(directory.path())) {
        Ok(providers) => providers
            .all()
            .iter()
            .for_each(|provider| assert!(!provider.id().is_empty())),
        Err(findings) => assert!(findings.has_errors()),
    }
});
