//! Where the image's own apt gets packages from (sources.list(5), deb822 style), with the
//! keys and the preferences (apt_preferences(5)) that belong to it.

use std::fmt::Write as _;

use super::error::one_line;
use super::{ConfigureError, Context};

const FILE: &str = "package source";
const FIELD: &str = "packageRepositories";
/// Sources of the template's repositories.
const ADDED: &str = "/etc/apt/sources.list.d/package-repositories.sources";

/// One stanza of a `.sources` file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AptSource {
    /// Names its files: letters, digits and `-_.`.
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
    /// Nothing is signed.
    pub trusted: bool,
    /// Pin priority, where it is not the usual one.
    pub priority: Option<i32>,
    /// Only these packages are taken from it: names, how they begin, or patterns; empty means all.
    pub allow_packages: Vec<String>,
    /// The `Pin` of its preferences.
    pub pin: String,
}

/// Writes sources in place of a `sources.list`: `{os}.sources` for the distribution's own, and
/// another file for those that the template adds.
pub(super) fn write(context: &Context<'_>) -> Result<(), ConfigureError> {
    let sources = context.request.sources;
    if sources.is_empty() {
        return Ok(());
    }
    let root = &context.root;
    root.remove("/etc/apt/sources.list")?;
    let os = context.request.template.target.os.replace('/', "_");
    let own_file = format!("/etc/apt/sources.list.d/{os}.sources");
    for (path, own) in [(own_file.as_str(), true), (ADDED, false)] {
        let mut stanzas = Vec::new();
        for source in sources.iter().filter(|source| source.own == own) {
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

fn keyring(source: &AptSource) -> String {
    format!("/etc/apt/keyrings/{}.gpg", source.name)
}

fn stanza(source: &AptSource) -> Result<String, ConfigureError> {
    let mut fields = vec![
        ("Types", "deb".to_owned()),
        ("URIs", source.uri.clone()),
        ("Suites", source.suites.join(" ")),
        ("Components", source.components.join(" ")),
    ];
    let signed_by = match &source.key {
        Some(_) => Some(keyring(source)),
        None => source.signed_by.clone(),
    };
    fields.extend(signed_by.map(|key| ("Signed-By", key)));
    if source.trusted {
        fields.push(("Trusted", "yes".to_owned()));
    }
    text(&fields)
}

/// The priority for all packages; or for those that are allowed, and none of the others.
fn preferences(source: &AptSource) -> Result<Option<String>, ConfigureError> {
    let paragraph = |packages: String, priority: i32| {
        text(&[
            ("Package", packages),
            ("Pin", source.pin.clone()),
            ("Pin-Priority", priority.to_string()),
        ])
    };
    if source.allow_packages.is_empty() {
        let Some(priority) = source.priority else {
            return Ok(None);
        };
        return Ok(Some(format!(
            "# Priority of {}\n{}",
            source.name,
            paragraph("*".to_owned(), priority)?
        )));
    }
    let pattern = |entry: &String| match entry.contains(['*', '?', '[']) {
        true => entry.clone(),
        false => format!("{entry}*"),
    };
    let allowed: Vec<_> = source.allow_packages.iter().map(pattern).collect();
    Ok(Some(format!(
        "# Packages that {} may provide\n{}\n{}",
        source.name,
        paragraph(allowed.join(" "), source.priority.unwrap_or(500))?,
        paragraph("*".to_owned(), -1)?
    )))
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
        source.allow_packages = vec!["curl".into(), "lib*".into()];
        insta::assert_snapshot!(preferences(&source).unwrap().unwrap(), @r#"
        # Packages that vendor may provide
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
