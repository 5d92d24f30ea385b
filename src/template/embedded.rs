//! Templates and their files that come with oic. They have no directory on the build host, so
//! their files are named relative to the embedded template, or anywhere as `embedded:PATH`.

use std::sync::Arc;

use super::schema::{metadata, template};
use crate::data;
use crate::provider::Provider;
use crate::yaml::{Findings, Node, Source, parse};

/// Prefix of a `local` path that is looked up in the embedded data and not on the build host.
pub(super) const PREFIX: &str = "embedded:";
/// The directory of samples in the embedded data.
pub(super) const SAMPLES: &str = "templates/";

/// A template that comes with oic and can be named instead of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Its name, such as `debian13-x86_64-minimal`.
    pub name: &'static str,
    /// Its YAML.
    pub text: &'static str,
}

impl Sample {
    /// Gives one sentence on its purpose.
    pub fn description(&self) -> String {
        let description = |metadata: &Node| metadata.read(metadata::DESCRIPTION).unwrap_or_default().to_owned();
        self.read(description)
    }

    /// Lists the words that it is found by.
    pub fn keywords(&self) -> Vec<String> {
        self.read(|metadata| metadata.read(metadata::KEYWORDS))
    }

    /// Gives what `read` takes from the metadata; nothing without metadata.
    fn read<T: Default>(&self, read: impl FnOnce(&Node) -> T) -> T {
        let root = parse(&self.source(), &mut Findings::new());
        let metadata = root.as_ref().and_then(|root| root.read(template::METADATA));
        metadata.map(read).unwrap_or_default()
    }

    /// Gives its text, under a name that messages show.
    pub(super) fn source(&self) -> Arc<Source> {
        Source::new(format!("oic:{SAMPLES}{}.yml", self.name), self.text)
    }
}

/// Gives the embedded samples, sorted by name.
pub fn samples() -> Vec<Sample> {
    data::names(SAMPLES)
        .filter_map(|path| {
            Some(Sample {
                name: path.strip_prefix(SAMPLES)?.strip_suffix(".yml")?,
                text: std::str::from_utf8(data::file(path)?).ok()?,
            })
        })
        .collect()
}

/// Gives the smallest template of `provider`: what its default template makes of nothing.
pub fn plain(provider: &Provider) -> String {
    // A JSON text is a YAML text (YAML 1.2.2, section 1.3).
    serde_json::json!({
        "image": {"name": provider.id(), "version": "1.0.0"},
        "target": {"os": provider.os, "dist": provider.dist, "arch": provider.arch.as_str(), "imageType": "raw"},
        "systemConfig": {"name": "plain"},
    })
    .to_string()
}

/// Resolves `local` as seen from the embedded directory `directory`, `..` included; `None` if it
/// leaves the data altogether.
pub(super) fn join(directory: &str, local: &str) -> Option<String> {
    let mut parts: Vec<&str> = directory.split('/').filter(|part| !part.is_empty()).collect();
    for part in local.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        assert_eq!(join("a/b", "../c/./d").as_deref(), Some("a/c/d"));
        assert_eq!(join("a", "../../etc"), None);
    }

    #[test]
    fn samples_say_what_they_are_for() {
        let names: Vec<_> = samples().iter().map(|sample| sample.name).collect();
        assert_eq!(names, ["debian13-x86_64-edge", "debian13-x86_64-minimal"]);
        assert!(samples().iter().all(|sample| sample.description().len() > 20));
    }
}
