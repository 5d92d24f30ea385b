//! Settings of the program: defaults, below the configuration file, below the environment,
//! below flags. Each value remembers where it came from.
//!
//! Invariant: the library does not read the environment; `cli` passes in what it found there.

mod schema;
mod search;
mod show;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::yaml::{Finding, Findings, Node, Severity, did_you_mean, parse, read_source};

pub use schema::CONFIG;
pub use search::candidates;
pub use show::{TEMPLATE, rows};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// A line of the configuration file.
    File(PathBuf),
    /// An environment variable.
    Env(String),
    /// A flag of the command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Env(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

/// A value and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Where it came from.
    pub origin: Origin,
}

impl<T> Setting<T> {
    fn default(value: T) -> Self {
        Self {
            value,
            origin: Origin::Default,
        }
    }

    fn set(&mut self, value: T, origin: &Origin) {
        *self = Self {
            value,
            origin: origin.clone(),
        };
    }
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// What went wrong.
    Error,
    /// And what may be wrong.
    Warn,
    /// And what is done.
    Info,
    /// And why.
    Debug,
}

impl LogLevel {
    /// The name in files and flags.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

impl FromStr for LogLevel {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        [Self::Error, Self::Warn, Self::Info, Self::Debug]
            .into_iter()
            .find(|level| level.as_str() == name)
            .ok_or_else(|| format!("{name:?} is not one of debug, info, warn and error"))
    }
}

/// All settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Verified packages and metadata.
    pub cache_dir: Setting<PathBuf>,
    /// Snapshots, layers and images.
    pub work_dir: Setting<PathBuf>,
    /// Short-lived files.
    pub temp_dir: Setting<PathBuf>,
    /// Provider data of the user's own, if any.
    pub config_dir: Setting<Option<PathBuf>>,
    /// Parallel downloads and threads, 1 to 100.
    pub workers: Setting<u16>,
    /// Mirror by archive name, sorted.
    pub mirrors: Vec<(String, Setting<String>)>,
    /// How much is logged.
    pub log_level: Setting<LogLevel>,
    /// Where it is logged to besides the terminal.
    pub log_file: Setting<Option<PathBuf>>,
    /// What is odd about the configuration.
    pub warnings: Findings,
}

impl Default for Config {
    /// The values that hold when nobody says anything.
    fn default() -> Self {
        Self {
            cache_dir: Setting::default("/var/cache/os-image-composer".into()),
            work_dir: Setting::default("/var/tmp/os-image-composer".into()),
            temp_dir: Setting::default(PathBuf::from(DEFAULT_TEMP_DIR)),
            config_dir: Setting::default(None),
            workers: Setting::default(16),
            mirrors: Vec::new(),
            log_level: Setting::default(LogLevel::Info),
            log_file: Setting::default(None),
            warnings: Findings::new(),
        }
    }
}

const DEFAULT_TEMP_DIR: &str = "/tmp";
const MAX_WORKERS: u16 = 100;

/// What the caller found for [`Config::load`]. Later layers win over earlier ones: the file,
/// then `environment`, then `flags`.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    /// `--config`; without it the places of [`candidates`] are searched.
    pub file: Option<PathBuf>,
    /// The user's home directory, for the search.
    pub home: Option<PathBuf>,
    /// Variables whose names start with `OIC_`; others are not looked at.
    pub environment: Vec<(OsString, OsString)>,
    /// What flags said.
    pub flags: Flags,
}

/// Settings that have a flag.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--cache-dir`.
    pub cache_dir: Option<PathBuf>,
    /// `--work-dir`.
    pub work_dir: Option<PathBuf>,
    /// `--workers`.
    pub workers: Option<String>,
    /// `--log-level`.
    pub log_level: Option<String>,
    /// `--log-file`.
    pub log_file: Option<PathBuf>,
}

impl Config {
    /// Puts the layers together. A file that was not asked for need not be there.
    ///
    /// # Errors
    /// All findings of all layers at once; those of a file have their place in it.
    pub fn load(layers: &Layers) -> Result<Self, Findings> {
        let mut config = Self::default();
        let mut findings = Findings::new();
        let found = layers.file.clone().or_else(|| search::first(layers.home.as_deref()));
        if let Some(path) = found {
            config.file(&path, &mut findings);
        }
        config.environment(&layers.environment, &mut findings);
        config.flags(&layers.flags, &mut findings);
        config.mirrors.sort_by(|(a, _), (b, _)| a.cmp(b));
        config.warnings = findings.into_result()?;
        Ok(config)
    }

    fn file(&mut self, path: &Path, findings: &mut Findings) {
        let source = match read_source(path) {
            Ok(source) => source,
            Err(unreadable) => return findings.extend(unreadable),
        };
        if source
            .text
            .lines()
            .all(|line| line.trim().is_empty() || line.trim().starts_with('#'))
        {
            return; // Everything commented out: the defaults hold.
        }
        let Some(root) = parse(&source, findings) else { return };
        crate::yaml::schema::validate(&root, CONFIG, findings);
        if let Some((key, _)) = root.entries().iter().find(|(key, _)| key.text == "ai") {
            let message = "is ignored: oic has no such command";
            findings.push(Finding::warning(&key.span, "ai", message));
        }
        self.file_values(&root, &Origin::File(path.to_owned()));
    }

    /// Takes what is valid; what is not has its finding, and the result is thrown away.
    fn file_values(&mut self, root: &Node, origin: &Origin) {
        let path = |key: &str| root.text_at(key).map(PathBuf::from);
        for (setting, key) in [
            (&mut self.cache_dir, "cache_dir"),
            (&mut self.work_dir, "work_dir"),
            (&mut self.temp_dir, "temp_dir"),
        ] {
            if let Some(value) = path(key) {
                setting.set(value, origin);
            }
        }
        if let Some(value) = path("config_dir") {
            self.config_dir.set(Some(value), origin);
        }
        if let Some(value) = root.get("workers").and_then(Node::int).and_then(|w| w.try_into().ok()) {
            self.workers.set(value, origin);
        }
        if let Some(logging) = root.get("logging") {
            if let Some(level) = logging.text_at("level").and_then(|level| level.parse().ok()) {
                self.log_level.set(level, origin);
            }
            if let Some(file) = logging.text_at("file") {
                self.log_file.set(Some(file.into()), origin);
            }
        }
        for (archive, url) in root.get("mirrors").map_or(&[][..], Node::entries) {
            if let Some(url) = url.text() {
                self.mirror(&archive.text, url, origin);
            }
        }
    }

    fn mirror(&mut self, archive: &str, url: &str, origin: &Origin) {
        let setting = Setting {
            value: url.trim_end_matches('/').to_owned(),
            origin: origin.clone(),
        };
        match self.mirrors.iter_mut().find(|(name, _)| name == archive) {
            Some((_, old)) => *old = setting,
            None => self.mirrors.push((archive.to_owned(), setting)),
        }
    }

    fn environment(&mut self, variables: &[(OsString, OsString)], findings: &mut Findings) {
        for (name, value) in variables {
            let Some(name) = name.to_str().filter(|_| !value.is_empty()) else {
                continue;
            };
            let origin = Origin::Env(name.to_owned());
            match name {
                "OIC_CACHE_DIR" => self.cache_dir.set(value.into(), &origin),
                "OIC_WORK_DIR" => self.work_dir.set(value.into(), &origin),
                "OIC_TEMP_DIR" => self.temp_dir.set(value.into(), &origin),
                "OIC_CONFIG_DIR" => self.config_dir.set(Some(value.into()), &origin),
                "OIC_LOG_FILE" => self.log_file.set(Some(value.into()), &origin),
                "OIC_LOG_LEVEL" => parsed(
                    &mut self.log_level,
                    value,
                    &origin,
                    "logging.level",
                    findings,
                    str::parse,
                ),
                "OIC_WORKERS" => parsed(&mut self.workers, value, &origin, "workers", findings, workers),
                _ => unknown_variable(name, findings),
            }
        }
    }

    fn flags(&mut self, flags: &Flags, findings: &mut Findings) {
        let origin = |name: &str| Origin::Flag(name.to_owned());
        if let Some(value) = &flags.cache_dir {
            self.cache_dir.set(value.clone(), &origin("--cache-dir"));
        }
        if let Some(value) = &flags.work_dir {
            self.work_dir.set(value.clone(), &origin("--work-dir"));
        }
        if let Some(value) = &flags.log_file {
            self.log_file.set(Some(value.clone()), &origin("--log-file"));
        }
        if let Some(value) = &flags.workers {
            let origin = origin("--workers");
            parsed(
                &mut self.workers,
                OsStr::new(value),
                &origin,
                "workers",
                findings,
                workers,
            );
        }
        if let Some(value) = &flags.log_level {
            let origin = origin("--log-level");
            parsed(
                &mut self.log_level,
                OsStr::new(value),
                &origin,
                "logging.level",
                findings,
                str::parse,
            );
        }
    }
}

/// Variables that the environment may have; see also [`OTHER_PREFIXES`].
const VARIABLES: &[&str] = &[
    "OIC_CACHE_DIR",
    "OIC_WORK_DIR",
    "OIC_TEMP_DIR",
    "OIC_CONFIG_DIR",
    "OIC_LOG_FILE",
    "OIC_LOG_LEVEL",
    "OIC_WORKERS",
];

/// Mirrors by archive, and variables of templates: others read them.
const OTHER_PREFIXES: &[&str] = &["OIC_MIRROR_", "OIC_VAR_"];

fn unknown_variable(name: &str, findings: &mut Findings) {
    let is_other = |prefix: &&str| name.strip_prefix(*prefix).is_some_and(|rest| !rest.is_empty());
    if !name.starts_with("OIC_") || OTHER_PREFIXES.iter().any(is_other) {
        return;
    }
    let known = VARIABLES.iter().copied().chain(["OIC_MIRROR_DEBIAN"]);
    let mut finding = Finding::without_position(name, "", "is set, but oic knows no such variable");
    finding.severity = Severity::Warning;
    finding.hint = did_you_mean(name, known).map(|meant| format!("did you mean {meant}?"));
    findings.push(finding);
}

/// Sets a setting from a text, or says what is wrong with the text.
fn parsed<T>(
    setting: &mut Setting<T>,
    text: &OsStr,
    origin: &Origin,
    field: &str,
    findings: &mut Findings,
    parse: impl Fn(&str) -> Result<T, String>,
) {
    match parse(&text.to_string_lossy()) {
        Ok(value) => setting.set(value, origin),
        Err(message) => findings.push(Finding::without_position(origin.to_string(), field, message)),
    }
}

fn workers(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(count @ 1..=MAX_WORKERS) => Ok(count),
        _ => Err(format!("{text:?} is not a number from 1 to {MAX_WORKERS}")),
    }
}
