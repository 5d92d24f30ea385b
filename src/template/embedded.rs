//! Templates and their files that come with oic. They have no directory on the build host, so
//! their files are named relative to the embedded template, or anywhere as `embedded:PATH`.

use std::sync::Arc;

use crate::data;
use crate::yaml::{Findings, Node, Source, parse};

/// Marks a `local` path that is looked up in the embedded data and not on the build host.
pub(super) const PREFIX: &str = "embedded:";
/// Where samples are in the embedded data.
pub(super) const SAMPLES: &str = "templates/";

/// A template that comes with oic and can be named instead of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// What it is called, such as `debian13-x86_64-minimal`.
    pub name: &'static str,
    /// Its YAML.
    pub text: &'static str,
}

impl Sample {
    /// One sentence on what it is for.
    pub fn description(&self) -> String {
        let root = parse(&self.source(), &mut Findings::new());
        let description = root.as_ref().and_then(|root| root.at(&["metadata", "description"]));
        description.and_then(Node::text).unwrap_or_default().to_owned()
    }

    pub(super) fn source(&self) -> Arc<Source> {
        Source::new(format!("oic:{SAMPLES}{}.yml", self.name), self.text)
    }
}

/// The embedded samples, sorted by name.
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

/// `local` as seen from the embedded directory `directory`, with `..` resolved; `None` if it
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
