//! The packages of an image: dpkg's database, `/var/lib/dpkg/status` (deb822(5), dpkg(1) "status").

use serde::Serialize;

/// An installed package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture.
    pub architecture: String,
    /// The package that it was built from.
    pub source: String,
}

/// Returns the packages of `status` that are installed, in the order of their names. Malformed stanzas are left out.
pub(super) fn installed(status: &[u8]) -> Vec<Package> {
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
    let name = field("Package")?;
    // `Source: name (version)`, where either differs.
    let source = field("Source").and_then(|source| source.split_whitespace().next());
    Some(Package {
        name: name.to_owned(),
        version: field("Version")?.to_owned(),
        architecture: field("Architecture").unwrap_or_default().to_owned(),
        source: source.unwrap_or(name).to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_installed_is_listed() {
        let status =
            b"Package: b\nStatus: install ok installed\nVersion: 2:1.0-1\nArchitecture: amd64\nSource: src (1)\n\
            Description: text\n continued: line\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n\
            Package: a\nStatus: hold ok installed\nVersion: 3\nArchitecture: all\n";
        let package = |name: &str, version: &str, architecture: &str, source: &str| Package {
            name: name.into(),
            version: version.into(),
            architecture: architecture.into(),
            source: source.into(),
        };
        let expected = [package("a", "3", "all", "a"), package("b", "2:1.0-1", "amd64", "src")];
        assert_eq!(installed(status), expected);
        assert_eq!(installed(b"\xff: \n:\n\n"), []);
    }
}
