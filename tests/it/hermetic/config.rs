//! The layers of the configuration, and everything that can be wrong with a file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};

use oic::config::{self, Config, Layers, LogLevel, Origin};
use oic::yaml::Findings;

/// Loads `text` as the file of `--config`, with nothing else said.
fn load(text: &str) -> Result<Config, Findings> {
    let file = tempfile::Builder::new().suffix(".yml").tempfile().unwrap();
    std::fs::write(file.path(), text).unwrap();
    Config::load(&Layers {
        file: Some(file.path().to_owned()),
        ..Layers::default()
    })
}

#[test]
fn files_are_strict_and_say_where_they_are_wrong() {
    for (text, expected) in [
        ("worker: 4", "1:1: error: worker: there is no such field"),
        ("workers: 0", "1:10: error: workers: 0 is out of range: 1 to 100"),
        ("workers: 101", "1:10: error: workers: 101 is out of range"),
        (
            "workers: many",
            "1:10: error: workers: expected a whole number, found a text",
        ),
        (
            "workers: 4\nworkers: 5",
            "2:1: error: workers: the key \"workers\" is there twice, first in line 1",
        ),
        (
            "cache_dir: [a]",
            "1:12: error: cache_dir: expected a text, found a list",
        ),
        (
            "cache_dir: \"a\\u0001b\"",
            "1:12: error: cache_dir: has the control character U+0001",
        ),
        (
            "logging: {level: verbose}",
            "1:18: error: logging.level: \"verbose\" is not a known value",
        ),
        ("logging: {levle: info}", "hint: did you mean \"level\"?"),
        ("logging: debug", "1:10: error: logging: expected a map"),
        (
            "mirrors: {Debian: 'http://x'}",
            "1:11: error: mirrors.Debian: \"Debian\" is not valid: the name of an archive",
        ),
        (
            "mirrors: {debian: x}",
            "1:19: error: mirrors.debian: \"x\" is not valid: a URL that starts with",
        ),
        (
            "mirrors: ['http://x']",
            "1:10: error: mirrors: expected a map, found a list",
        ),
        ("[]", "1:1: error: expected a map, found a list"),
        ("a: [", "error: this is not YAML"),
    ] {
        let shown = load(text).unwrap_err().to_string();
        assert!(shown.contains(expected), "{text}\n{shown}");
    }
    let gone = Layers {
        file: Some("/nonexistent/c.yml".into()),
        ..Layers::default()
    };
    assert!(
        Config::load(&gone)
            .unwrap_err()
            .to_string()
            .contains("cannot be opened")
    );
}

#[test]
fn flags_beat_the_environment_beats_the_file_beats_the_default() {
    let file = tempfile::Builder::new().suffix(".yml").tempfile().unwrap();
    std::fs::write(
        file.path(),
        "workers: 3\ncache_dir: /file/cache\nwork_dir: /file/work\nmirrors: {debian: 'http://m.example/debian/', a: 'file:///srv'}\n",
    )
    .unwrap();
    let variables = [
        ("OIC_WORKERS", "5"),
        ("OIC_CACHE_DIR", "/env/cache"),
        ("OIC_WORK_DIR", ""),
        ("HOME", "/h"),
    ];
    let config = Config::load(&Layers {
        file: Some(file.path().to_owned()),
        home: None,
        environment: variables.map(|(name, value)| (name.into(), value.into())).to_vec(),
        flags: vec![("--workers", "7".into()), ("--log-level", "debug".into())],
    })
    .unwrap();
    assert_eq!((config.workers.value, config.log_level.value), (7, LogLevel::Debug));
    let shown: Vec<String> = config::rows(&config)
        .iter()
        .map(|(k, v, o)| format!("{k} = {v} ({o})"))
        .collect();
    let shown = shown.join("\n").replace(file.path().to_str().unwrap(), "FILE");
    insta::assert_snapshot!(shown, @r"
    workers = 7 (--workers)
    cache_dir = /env/cache (OIC_CACHE_DIR)
    work_dir = /file/work (FILE)
    temp_dir = /tmp (default)
    config_dir = none (default)
    digest = tree (default)
    sign_command = none (default)
    notify = false (default)
    mirrors.a = file:///srv (FILE)
    mirrors.debian = http://m.example/debian (FILE)
    logging.level = debug (--log-level)
    logging.file = none (default)
    ");
}

#[test]
fn bad_variables_and_flags_are_named_all_at_once() {
    let error = Config::load(&Layers {
        file: None,
        home: None,
        environment: vec![
            ("OIC_WORKERS".into(), "0".into()),
            ("OIC_LOG_LEVEL".into(), "loud".into()),
        ],
        flags: vec![("--workers", "1000".into())],
    })
    .unwrap_err();
    insta::assert_snapshot!(error, @r#"
    --workers: error: workers: "1000" is not a number from 1 to 100
    OIC_LOG_LEVEL: error: logging.level: "loud" is not one of debug, info, warn, error
    OIC_WORKERS: error: workers: "0" is not a number from 1 to 100
    "#);
}

#[test]
fn the_older_tools_file_never_stands_in_the_way() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image-composer-tool.yml");
    let text = "workers: 8
config_dir: ./config
cache_dir: ./cache
work_dir: ./workspace
temp_dir: ''
logging: {level: info, file: image-composer-tool.log, colour: true}
ai:
  provider: ollama
  ollama: {base_url: 'http://localhost:11434', timeout: 120s}
  scoring: {semantic_weight: 0.7}
tomorrow: [1]
";
    std::fs::write(&path, text).unwrap();
    let load = |file| {
        Config::load(&Layers {
            file: Some(file),
            ..Layers::default()
        })
    };
    let config = load(path.clone()).unwrap();
    assert_eq!(config.cache_dir.value, Path::new("./cache"));
    assert_eq!(config.temp_dir.origin, Origin::Default);
    let notes: Vec<_> = config.warnings.iter().map(|finding| finding.message.clone()).collect();
    assert_eq!(
        notes,
        ["read past what oic has no use for: ai, logging.colour, tomorrow"]
    );
    // A setting of both is taken if it has a meaning here.
    std::fs::write(&path, "workers: 500\nlogging: {level: warn}\n").unwrap();
    let config = load(path.clone()).unwrap();
    assert_eq!((config.workers.value, config.workers.origin), (16, Origin::Default));
    // oic's own file is held to what it says.
    let own = directory.path().join("oic.yml");
    std::fs::write(&own, "tomorrow: [1]\n").unwrap();
    assert!(load(own).is_err());
    std::fs::write(&path, "workers: [").unwrap();
    assert!(load(path).is_err(), "what is no YAML");
}

#[test]
fn what_init_writes_changes_nothing_and_every_line_of_it_is_valid() {
    assert_eq!(load(&config::template()).unwrap(), Config::default());
    let active: String = config::template()
        .lines()
        .map(|line| {
            line.strip_prefix('#')
                .filter(|rest| !rest.starts_with(' ') || rest.starts_with("  "))
                .unwrap_or(line)
        })
        .map(|line| format!("{line}\n"))
        .collect();
    let config = load(&active).unwrap();
    assert_eq!(config.mirrors.len(), 2, "{active}");
    assert_eq!(config.workers.value, Config::default().workers.value);
}

#[test]
fn the_guide_lists_each_setting() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/user-guide.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    for setting in config::SETTINGS {
        let flag = setting.flag.map_or(String::new(), |flag| format!("`{flag}`"));
        let cells = [format!("`{}`", setting.path()), format!("`{}`", setting.variable), flag];
        let row = guide
            .lines()
            .find(|line| line.starts_with(&format!("| {} |", cells[0])));
        let found: Vec<&str> = row
            .unwrap_or_default()
            .split('|')
            .skip(1)
            .take(3)
            .map(str::trim)
            .collect();
        assert_eq!(found, cells);
    }
}

#[test]
fn the_search_goes_from_near_to_far() {
    let places = config::candidates(Some(Path::new("/home/me")));
    let position = |path: &str| {
        places
            .iter()
            .position(|p| p == Path::new(path))
            .unwrap_or_else(|| panic!("{path}: {places:?}"))
    };
    let order: Vec<usize> = [
        "oic.yml",
        "os-image-composer.yml",
        "os-image-composer.yaml",
        ".os-image-composer.yml",
        "image-composer-tool.yml",
        "/home/me/.os-image-composer/config.yml",
        "/home/me/.config/os-image-composer/config.yml",
        "/etc/os-image-composer/config.yml",
    ]
    .map(position)
    .to_vec();
    assert!(order.is_sorted(), "{order:?}");
    assert!(places.contains(&PathBuf::from("/etc/image-composer-tool/config.yaml")));
}
