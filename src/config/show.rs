//! The configuration for people: a commented file to start from, and the values in force.

use std::fmt::Write as _;

use super::settings::LOGGING;
use super::{Config, SETTINGS, Setting};
use crate::yaml::schema::{Shape, Text};

/// Gives the text for `config init`: every key with its default and its meaning, commented out so that an old file does
/// not override a later default.
pub fn template() -> String {
    let mut text = "\
# Configuration of oic. A line without # in front overrides the default that it shows.
# Flags beat the environment (OIC_WORKERS, OIC_CACHE_DIR, ...), which beats this file.
"
    .to_owned();
    let defaults = Config::default();
    let entries = |section: Option<&'static str>| SETTINGS.iter().filter(move |setting| setting.section == section);
    for setting in entries(None) {
        let value = value(setting, &defaults);
        // Writing to a String cannot fail.
        let _ = write!(text, "\n# {}\n#{}: {value}\n", meaning(setting), setting.key);
    }
    text += "
# Where packages come from, by archive. Signatures are checked whatever the mirror.
#mirrors:
#  debian: https://mirror.example.org/debian
#  debian-security: https://mirror.example.org/debian-security
";
    let _ = write!(text, "\n#{LOGGING}:\n");
    for setting in entries(Some(LOGGING)) {
        let value = value(setting, &defaults);
        let _ = writeln!(text, "#  # {}\n#  {}: {value}", meaning(setting), setting.key);
    }
    text
}

/// Gives the default of a setting, or an example if it has no default.
fn value(setting: &Setting, defaults: &Config) -> String {
    match setting.shape {
        Shape::Text(Text {
            examples: [example, ..],
            ..
        }) => format!("{example} # none by default"),
        _ => (setting.show)(defaults).0,
    }
}

/// Says what a setting means and which values it takes.
fn meaning(setting: &Setting) -> String {
    let doc = setting.doc.trim_end_matches('.');
    match setting.shape {
        Shape::Int { min, max } => format!("{doc}, {min} to {max}."),
        Shape::Text(text) if !text.choices.is_empty() => format!("{doc}: {}.", text.choices.join(", ")),
        _ => format!("{doc}."),
    }
}

/// Lists key, value and origin of each setting.
pub fn rows(config: &Config) -> Vec<(String, String, String)> {
    let row = |setting: &Setting| {
        let (value, origin) = (setting.show)(config);
        (setting.path(), value, origin.to_string())
    };
    let mirrors = config.mirrors.iter().map(|(archive, url)| {
        let key = format!("{}.{archive}", super::settings::MIRRORS.name);
        (key, url.value.clone(), url.origin.to_string())
    });
    let (top, logging): (Vec<_>, Vec<_>) = SETTINGS.iter().partition(|setting| setting.section.is_none());
    let top = top.into_iter().map(row);
    top.chain(mirrors).chain(logging.into_iter().map(row)).collect()
}
