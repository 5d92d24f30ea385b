//! Where the image's own apt gets packages from (sources.list(5), deb822 style), with the
//! keys and the preferences (apt_preferences(5)) that belong to it.

use std::fmt::Write as _;

use super::error::one_line;
use super::{ConfigureError, ImageSources};
use crate::package::PackageFilter;
use crate::root::Root;

const FILE: &str = "package source";
const FIELD: &str = "packageRepositories";
/// The file with the sources of the template's repositories.
const ADDED: &str = "/etc/apt/sources.list.d/package-repositories.sources";

/// One stanza of a `.sources` file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AptSource {
    /// The name of its files: letters, digits and `-_.`.
    pub name: String,
    /// Whether it is the distribution's own, and not added by the template.
    pub own: bool,
    /// Base URL.
    pub uri: String,
    /// Suites, such as `trixie` and `trixie-updates`.
    pub suites: Vec<String>,
    /// Components, such as `main`.
    pub components: Vec<String>,
    /// Path of the keyring inside the image; `None` for that of `key`, or else apt's own trusted keys.
    pub signed_by: Option<String>,
    /// Binary certificates that become a keyring of the image.
    pub key: Option<Vec<u8>>,
    /// Whether the source is trusted without signatures.
    pub trusted: bool,
    /// Pin priority, where it is not the usual one.
    pub priority: Option<i32>,
    /// The packages that are taken from it.
    pub filter: PackageFilter,
    /// The `Pin` of its preferences.
    pub pin: String,
    /// Whether metadata past its `Valid-Until` is taken.
    pub expired: bool,
}

impl ImageSources for Vec<AptSource> {
    /// Writes sources in place of a `sources.list`: `{os}.sources` for the distribution's own, and another file for
    /// those that the template adds. Without sources it writes no file.
    fn write(&self, root: &Root, os: &str) -> Result<(), ConfigureError> {
        if self.is_empty() {
            return Ok(());
        }
        root.remove("/etc/apt/sources.list")?;
        let own_file = format!("/etc/apt/sources.list.d/{}.sources", os.replace('/', "_"));
        for (path, own) in [(own_file.as_str(), true), (ADDED, false)] {
            let mut stanzas = Vec::new();
            for source in self.iter().filter(|source| source.own == own) {
                if let Some(key) = &source.key {
                    root.write(keyring(source), key, 0o644)?;
                }
                if let Some(text) = preferences(source)? {
                    root.write(format!("/etc/apt/preferences.d/{}", source.name), text, 0o644)?;
                }
                stanzas.push(stanza(source)?);
            }
            if !stanzas.is_empty() {
                root.write(path, stanzas.join("\n"), 0o644)?;
            }
        }
        Ok(())
    }
}

fn keyring(source: &AptSource) -> String {
    format!("/etc/apt/keyrings/{}.gpg", source.name)
}

fn stanza(source: &AptSource) -> Result<String, ConfigureError> {
    let mut fields = vec![
        ("Types", "deb".to_owned()),
        ("URIs", source.uri.clone()),
        ("Suites", source.suites.join(" ")),
    ];
    if !source.components.is_empty() {
        fields.push(("Components", source.components.join(" ")));
    }
    let signed_by = match &source.key {
        Some(_) => Some(keyring(source)),
        None => source.signed_by.clone(),
    };
    fields.extend(signed_by.map(|key| ("Signed-By", key)));
    if source.trusted {
        fields.push(("Trusted", "yes".to_owned()));
    }
    if source.expired {
        fields.push(("Check-Valid-Until", "no".to_owned()));
    }
    text(&fields)
}

/// Gives the priority for all packages, or for those that are allowed and none of the others. Excluded packages get
/// none; their rule comes first, because the first that matches counts.
fn preferences(source: &AptSource) -> Result<Option<String>, ConfigureError> {
    let paragraph = |packages: String, priority: i32| {
        text(&[
            ("Package", packages),
            ("Pin", source.pin.clone()),
            ("Pin-Priority", priority.to_string()),
        ])
    };
    let PackageFilter { allow, exclude } = &source.filter;
    let mut paragraphs = Vec::new();
    if !exclude.is_empty() {
        paragraphs.push(paragraph(exclude.join(" "), -1)?);
    }
    if !allow.is_empty() {
        let allowed = source.filter.allow_patterns().join(" ");
        paragraphs.push(paragraph(allowed, source.priority.unwrap_or(500))?);
        paragraphs.push(paragraph("*".to_owned(), -1)?);
    } else if let Some(priority) = source.priority {
        paragraphs.push(paragraph("*".to_owned(), priority)?);
    }
    let title = match source.filter == PackageFilter::default() {
        true => "Priority of",
        false => "Which packages are taken from",
    };
    let text = format!("# {title} {}\n{}", source.name, paragraphs.join("\n"));
    Ok(Some(text).filter(|_| !paragraphs.is_empty()))
}

fn text(fields: &[(&str, String)]) -> Result<String, ConfigureError> {
    let mut text = String::new();
    for (name, value) in fields {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name}: {}", one_line(FIELD, value, FILE)?);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stanzas_and_preferences_are_those_of_apt() {
        let mut source = AptSource {
            name: "vendor".into(),
            uri: "https://apt.example.org/x".into(),
            suites: vec!["noble".into()],
            components: vec!["main".into(), "extra".into()],
            key: Some(b"key".to_vec()),
            pin: "origin \"apt.example.org\"".into(),
            ..AptSource::default()
        };
        insta::assert_snapshot!(stanza(&source).unwrap(), @r"
        Types: deb
        URIs: https://apt.example.org/x
        Suites: noble
        Components: main extra
        Signed-By: /etc/apt/keyrings/vendor.gpg
        ");
        assert_eq!(preferences(&source).unwrap(), None);
        source.priority = Some(1001);
        insta::assert_snapshot!(preferences(&source).unwrap().unwrap(), @r#"
        # Priority of vendor
        Package: *
        Pin: origin "apt.example.org"
        Pin-Priority: 1001
        "#);
        source.filter.allow = vec!["curl".into(), "lib*".into()];
        source.filter.exclude = vec!["libx".into(), "*-dev".into()];
        insta::assert_snapshot!(preferences(&source).unwrap().unwrap(), @r#"
        # Which packages are taken from vendor
        Package: libx *-dev
        Pin: origin "apt.example.org"
        Pin-Priority: -1

        Package: curl* lib*
        Pin: origin "apt.example.org"
        Pin-Priority: 1001

        Package: *
        Pin: origin "apt.example.org"
        Pin-Priority: -1
        "#);
        (source.key, source.trusted) = (None, true);
        assert!(stanza(&source).unwrap().ends_with("Trusted: yes\n"));
        source.uri = "https://x\nTrusted: yes".into();
        assert!(stanza(&source).is_err());
    }
}
