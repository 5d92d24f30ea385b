//! What commands share about templates: how they are named, and how findings are shown.

use std::ffi::OsStr;

use crate::provider::Providers;
use crate::template::{self, Loaded, TemplateSource};
use crate::yaml::Findings;

use super::error::CommandError;

/// The template that `argument` names, merged and validated.
pub fn load(argument: &OsStr) -> Result<Loaded, CommandError> {
    let source = source(argument)?;
    template::load(&source, &providers()?).map_err(|findings| refused(&findings))
}

/// Where the template that `argument` names comes from.
pub fn source(argument: &OsStr) -> Result<TemplateSource, CommandError> {
    TemplateSource::named(argument).map_err(|findings| CommandError::failed(findings.to_string().trim_end()))
}

/// The providers that oic brings.
pub fn providers() -> Result<Providers, CommandError> {
    Providers::embedded().map_err(|findings| refused(&findings))
}

/// All findings as one error.
pub fn refused(findings: &Findings) -> CommandError {
    let count = findings.errors();
    let things = if count == 1 { "finding" } else { "findings" };
    CommandError::failed(format!(
        "the template cannot be used: {count} {things}\n\n{}",
        findings.to_string().trim_end()
    ))
}
