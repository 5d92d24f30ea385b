//! Where the image's own apt gets packages from (sources.list(5), deb822 style).

use std::fmt::Write as _;

use super::error::one_line;
use super::{ConfigureError, Context};

const FILE: &str = "package source";

/// One stanza of a `.sources` file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AptSource {
    /// Base URL.
    pub uri: String,
    /// Suites, such as `trixie` and `trixie-updates`.
    pub suites: Vec<String>,
    /// Components, such as `main`.
    pub components: Vec<String>,
    /// Path of the keyring inside the image; `None` for apt's own trusted keys.
    pub signed_by: Option<String>,
}

/// Writes `/etc/apt/sources.list.d/{os}.sources`, in place of a `sources.list`.
pub(super) fn write(context: &Context<'_>) -> Result<(), ConfigureError> {
    let sources = context.request.sources;
    if sources.is_empty() {
        return Ok(());
    }
    let stanzas = sources.iter().map(stanza).collect::<Result<Vec<_>, _>>()?;
    let name = &context.request.template.target.os;
    context.root.remove("/etc/apt/sources.list")?;
    let path = format!("/etc/apt/sources.list.d/{}.sources", name.replace('/', "_"));
    Ok(context.root.write(path, stanzas.join("\n"), 0o644)?)
}

fn stanza(source: &AptSource) -> Result<String, ConfigureError> {
    let mut fields = vec![
        ("Types", "deb".to_owned()),
        ("URIs", source.uri.clone()),
        ("Suites", source.suites.join(" ")),
        ("Components", source.components.join(" ")),
    ];
    fields.extend(source.signed_by.clone().map(|key| ("Signed-By", key)));
    let mut text = String::new();
    for (name, value) in fields {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name}: {}", one_line("packageRepositories", &value, FILE)?);
    }
    Ok(text)
}
