//! Settings of the program: defaults, below the configuration file, below the environment, below flags. Each value
//! remembers its origin.
//!
//! Invariant: the library does not read the environment; `cli` passes in what it found there.

mod schema;
mod search;
mod settings;
mod show;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use crate::words::words;
use crate::yaml::{self, Finding, Findings, Node, Severity, did_you_mean, parse, read_source};

pub use search::candidates;
pub use settings::{Config, SETTINGS, Setting, fields};
pub use show::{rows, template};

/// The origin of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The default: no layer sets it.
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

/// A value and its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value<T> {
    /// The value.
    pub value: T,
    /// Its origin.
    pub origin: Origin,
}

impl<T> Value<T> {
    /// Makes the value that holds if no layer sets it.
    fn default(value: T) -> Self {
        Self {
            value,
            origin: Origin::Default,
        }
    }
}

/// The least severity that is logged.
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

words!(LogLevel {
    (Self::Debug): "debug",
    (Self::Info): "info",
    (Self::Warn): "warn",
    (Self::Error): "error",
});

/// The digests that a build computes of a raw image that it delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RawDigest {
    /// The one of `docs/image-digest.md`, which costs what the content costs.
    Tree,
    /// And the SHA-256 of all bytes, which costs what the size costs.
    Sha256,
}

words!(RawDigest {
    (Self::Tree): "tree",
    (Self::Sha256): "sha256",
});

/// The inputs of [`Config::load`], as the caller found them. Later layers win over earlier ones: the file, then
/// `environment`, then `flags`.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    /// `--config`; without it the places of [`candidates`] are searched.
    pub file: Option<PathBuf>,
    /// The user's home directory, for the search.
    pub home: Option<PathBuf>,
    /// Variables whose names start with `OIC_`; others are ignored.
    pub environment: Vec<(OsString, OsString)>,
    /// The flags of [`SETTINGS`] that were given, such as `--workers`, with their values.
    pub flags: Vec<(&'static str, OsString)>,
}

impl Config {
    /// Puts the layers together. A file that `layers` does not name need not exist.
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
        for (flag, value) in &layers.flags {
            let setting = SETTINGS.iter().find(|setting| setting.flag == Some(flag));
            let origin = Origin::Flag((*flag).to_owned());
            config.set(setting, value, &origin, &mut findings);
        }
        config.mirrors.sort_by(|(a, _), (b, _)| a.cmp(b));
        config.warnings = findings.into_result()?;
        Ok(config)
    }

    /// Takes the settings of the file at `path`.
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
        let mut own = Findings::new();
        yaml::schema::validate(&root, fields(), &mut own);
        match search::is_of_older_tool(path) {
            true => read_past(&root, &own, findings),
            false => findings.extend(own),
        }
        self.file_values(&root, &Origin::File(path.to_owned()));
    }

    /// Takes what is valid; anything else has its finding, and the result is discarded.
    fn file_values(&mut self, root: &Node, origin: &Origin) {
        let section = |name| root.entries().iter().find(|(key, _)| key.text == name);
        for setting in SETTINGS {
            let map = match setting.section {
                None => Some(root),
                Some(name) => section(name).map(|(_, node)| node),
            };
            let text = match map.and_then(|map| map.get(setting.field())).map(|node| &node.value) {
                Some(yaml::Value::Text(text)) if !text.is_empty() => text.clone(),
                Some(yaml::Value::Int(number)) => number.to_string(),
                Some(yaml::Value::Bool(value)) => value.to_string(),
                _ => continue,
            };
            let _ = (setting.set)(self, OsStr::new(&text), origin);
        }
        for (archive, url) in root.get(settings::MIRRORS).map_or(&[][..], Node::entries) {
            if let Some(url) = url.text() {
                self.mirror(&archive.text, url, origin);
            }
        }
    }

    /// Sets a setting from a text; faults of the text go to `findings`.
    fn set(&mut self, setting: Option<&Setting>, text: &OsStr, origin: &Origin, findings: &mut Findings) {
        let (field, result) = match setting {
            Some(setting) => (setting.path(), (setting.set)(self, text, origin)),
            None => (String::new(), Err("there is no such setting".to_owned())),
        };
        if let Err(message) = result {
            findings.push(Finding::without_position(origin.to_string(), field, message));
        }
    }

    /// Sets the mirror of an archive.
    fn mirror(&mut self, archive: &str, url: &str, origin: &Origin) {
        let setting = Value {
            value: url.trim_end_matches('/').to_owned(),
            origin: origin.clone(),
        };
        match self.mirrors.iter_mut().find(|(name, _)| name == archive) {
            Some((_, old)) => *old = setting,
            None => self.mirrors.push((archive.to_owned(), setting)),
        }
    }

    /// Takes the settings of the environment.
    fn environment(&mut self, variables: &[(OsString, OsString)], findings: &mut Findings) {
        for (name, value) in variables {
            let Some(name) = name.to_str().filter(|_| !value.is_empty()) else {
                continue;
            };
            match SETTINGS.iter().find(|setting| setting.variable == name) {
                None => unknown_variable(name, findings),
                setting => self.set(setting, value, &Origin::Env(name.to_owned()), findings),
            }
        }
    }
}

/// Says in one note what of the older tool's file has no meaning here: its `ai` section, keys that oic does not know, and
/// values that it does not take. `found` are the findings of the table.
fn read_past(root: &Node, found: &Findings, findings: &mut Findings) {
    let entries = root.entries().iter();
    let ai = entries.map(|(key, _)| key).find(|key| key.text == schema::AI.name);
    let ai = ai.map(|key| Finding::warning(&key.span, schema::AI.name, ""));
    let all: Vec<&Finding> = ai.iter().chain(found.iter()).collect();
    let Some(first) = all.first() else { return };
    let names: Vec<&str> = all.iter().map(|finding| finding.field.as_str()).collect();
    let mut note = Finding::clone(first).as_warning();
    note.field = String::new();
    note.message = format!("read past what oic has no use for: {}", names.join(", "));
    note.allowed = Vec::new();
    note.hint = None;
    findings.push(note);
}

/// The variable with credentials for servers, in the form of apt_auth.conf(5).
pub const AUTH_VARIABLE: &str = "OIC_AUTH";
/// The variable with the names of files of certificates, in the form of apt.conf(5).
pub const TLS_VARIABLE: &str = "OIC_TLS";
/// Prefixes of variables that other code reads: mirrors by archive, and variables of templates.
const OTHER_PREFIXES: &[&str] = &["OIC_MIRROR_", "OIC_VAR_"];
/// Variables that `build.rs` gives to the compiler; `cargo run` and `cargo test` hand them on to what they start.
const BUILD_VARIABLES: &[&str] = &["OIC_BUILD_COMMIT", "OIC_BUILD_EPOCH"];

/// Warns of a variable that looks like a setting and is none.
fn unknown_variable(name: &str, findings: &mut Findings) {
    let is_other = |prefix: &&str| name.strip_prefix(*prefix).is_some_and(|rest| !rest.is_empty());
    let is_read_elsewhere = [AUTH_VARIABLE, TLS_VARIABLE].contains(&name)
        || BUILD_VARIABLES.contains(&name)
        || OTHER_PREFIXES.iter().any(is_other);
    if !name.starts_with("OIC_") || is_read_elsewhere {
        return;
    }
    let known = SETTINGS
        .iter()
        .map(|setting| setting.variable)
        .chain(["OIC_MIRROR_DEBIAN"]);
    let mut finding = Finding::without_position(name, "", "is set, but oic knows no such variable");
    finding.severity = Severity::Warning;
    finding.hint = did_you_mean(name, known).map(|meant| format!("did you mean {meant}?"));
    findings.push(finding);
}
