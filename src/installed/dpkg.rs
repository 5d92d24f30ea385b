//! dpkg's database: `/var/lib/dpkg/status` (deb822(5), dpkg(1) "status") and the lists of files beside it.

use std::path::Path;

use super::{InstalledError, Package, names};
use crate::disk::walk;
use crate::overlay::layer::Layer;

/// The database.
pub const STATUS: &str = "/var/lib/dpkg/status";
/// The directory of the lists of files.
const INFO: &str = "/var/lib/dpkg/info";
/// The longest line of a relation that is parsed, in bytes.
const RELATION_BYTES_MAX: usize = 64 << 10;

/// Parses `status` and returns the packages that are installed, sorted. Malformed stanzas are left out.
pub fn installed(status: &[u8]) -> Vec<Package> {
    let text = String::from_utf8_lossy(status);
    let mut found = Vec::new();
    let mut stanza: Vec<(&str, &str)> = Vec::new();
    for line in text.lines().chain([""]) {
        match line.split_once(':') {
            // A continued line.
            _ if line.starts_with([' ', '\t']) => {}
            Some((key, value)) => stanza.push((key, value.trim())),
            None => {
                found.extend(package(&stanza));
                stanza.clear();
            }
        }
    }
    found.sort();
    found
}

fn package(stanza: &[(&str, &str)]) -> Option<Package> {
    let field = |name: &str| {
        stanza
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value)
    };
    let state = field("Status")?.split_whitespace().nth(2)?;
    if state != "installed" {
        return None;
    }
    let text = |name: &str| field(name).unwrap_or_default().to_owned();
    let (name, version) = (field("Package")?, field("Version")?);
    // `Source: name (version)`, where either differs.
    let mut source = field("Source").unwrap_or_default().split_whitespace();
    let source_name = source.next().unwrap_or(name);
    let source_version = source.next().map_or(version, |given| given.trim_matches(['(', ')']));
    let needs = ["Pre-Depends", "Depends"].into_iter().filter_map(field);
    Some(Package {
        name: name.to_owned(),
        version: version.to_owned(),
        architecture: text("Architecture"),
        source: source_name.to_owned(),
        source_version: source_version.to_owned(),
        supplier: text("Maintainer"),
        homepage: text("Homepage"),
        summary: text("Description"),
        licence: String::new(),
        needs: needs.flat_map(relations).collect(),
        provides: field("Provides").map(relations).unwrap_or_default().concat(),
        installed_bytes: text("Installed-Size")
            .parse::<u64>()
            .unwrap_or_default()
            .saturating_mul(1024),
        files: Vec::new(),
    })
}

/// Returns the names in a relation field (deb-control(5)): the alternatives of each relation, without versions and
/// architectures.
fn relations(text: &str) -> Vec<Vec<String>> {
    if text.len() > RELATION_BYTES_MAX {
        return Vec::new();
    }
    let name = |alternative: &str| {
        let word = alternative.trim().split([' ', '(', '[', '<', ':']).next()?;
        (!word.is_empty()).then(|| word.to_owned())
    };
    let all = text.split(',').map(|group| group.split('|').filter_map(name).collect());
    all.filter(|group: &Vec<String>| !group.is_empty()).collect()
}

/// Reads the lists of files of the tree `layer`, and calls `found` with the name of each package and its list.
///
/// # Errors
/// If a list cannot be read.
pub(super) fn lists(layer: &dyn Layer, found: &mut dyn FnMut(&str, &str)) -> Result<(), InstalledError> {
    for (name, _) in names(layer, INFO)? {
        let Some(package) = name.strip_suffix(".list") else {
            continue;
        };
        let path = Path::new(INFO).join(&name);
        let list = walk::read(layer, &path).map_err(InstalledError::on(&path.to_string_lossy()))?;
        let package = package.split(':').next().unwrap_or(package);
        found(package, &String::from_utf8_lossy(&list.unwrap_or_default()));
    }
    Ok(())
}
