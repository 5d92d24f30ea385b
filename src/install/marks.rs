//! Marks packages as automatically installed, as apt does for those that others need.

use std::collections::BTreeSet;

use crate::durable::PathError;
use crate::package::{Arch, ResolvedPackage};
use crate::root::Root;

/// apt's database of marks: stanzas with `Package`, `Architecture`, `Auto-Installed`.
const STATES: &str = "/var/lib/apt/extended_states";

/// Which packages the template asked for.
#[derive(Debug, Clone, Copy)]
pub struct Marks<'a> {
    /// Names of the packages that were installed before: they keep their mark.
    pub before: &'a BTreeSet<String>,
    /// The packages that were installed.
    pub packages: &'a [ResolvedPackage],
    /// Names of those that the template asked for; the others are marked as automatically installed.
    pub requested: &'a [String],
    /// The image's architecture.
    pub arch: Arch,
}

/// Marks packages in apt's database, as `marks` says.
///
/// # Errors
/// If it cannot be read or written.
pub fn mark_automatic(root: &Root, marks: &Marks<'_>) -> Result<(), PathError> {
    let Marks {
        before,
        packages,
        requested,
        arch,
    } = *marks;
    let requested: BTreeSet<_> = requested.iter().map(String::as_str).collect();
    let mut automatic: BTreeSet<(String, String)> = parse(&root.read(STATES)?.unwrap_or_default());
    for package in packages {
        // apt files a package of every architecture under the image's own.
        let architecture = match package.architecture.as_str() {
            "all" => arch.deb(),
            other => other,
        };
        let key = (package.name.clone(), architecture.to_owned());
        if requested.contains(package.name.as_str()) {
            automatic.remove(&key);
        } else if architecture != arch.deb() || !before.contains(&package.name) {
            // What was installed before is of the image's own architecture.
            automatic.insert(key);
        }
    }
    let text: String = automatic
        .iter()
        .map(|(name, architecture)| format!("Package: {name}\nArchitecture: {architecture}\nAuto-Installed: 1\n\n"))
        .collect();
    root.write(STATES, text, 0o644)
}

/// Reads which packages are marked already.
fn parse(states: &[u8]) -> BTreeSet<(String, String)> {
    let text = String::from_utf8_lossy(states);
    let stanzas = text.split("\n\n").filter_map(|stanza| {
        let field = |name: &str| {
            stanza
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                .map(str::to_owned)
        };
        if field("Auto-Installed")? != "1" {
            return None;
        }
        Some((field("Package")?, field("Architecture")?))
    });
    stanzas.collect()
}
