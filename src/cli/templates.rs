//! What commands share about templates: how they are named, their variables, and how findings are shown.

use std::ffi::OsStr;
use std::path::PathBuf;

use clap::{Args, ValueHint};

use crate::provider::Providers;
use crate::template::{self, Loaded, TemplateSource, Variables};
use crate::yaml::Findings;

use super::environment::Environment;
use super::error::CommandError;

/// The values of a template's variables.
#[derive(Debug, Clone, Default, Args)]
pub struct VariableArgs {
    /// Value of ${NAME} in the template; beats --vars and OIC_VAR_NAME of the environment
    #[arg(long = "var", value_name = "NAME=VALUE")]
    pairs: Vec<String>,
    /// YAML file with values of variables: a map of names to texts
    #[arg(long = "vars", value_name = "FILE", value_hint = ValueHint::FilePath)]
    files: Vec<PathBuf>,
}

/// The template that `argument` names, merged and validated.
pub fn load(environment: &Environment, argument: &OsStr, variables: &VariableArgs) -> Result<Loaded, CommandError> {
    let source = source(argument)?;
    let variables = self::variables(environment, variables)?;
    template::load(&source, &providers(environment)?, &variables).map_err(|findings| refused(&findings))
}

/// Everything that is wrong with the template that `argument` names.
pub fn check(environment: &Environment, argument: &OsStr, variables: &VariableArgs) -> Result<Findings, CommandError> {
    let source = source(argument)?;
    let variables = self::variables(environment, variables)?;
    Ok(template::validate(&source, &providers(environment)?, &variables))
}

/// Where the template that `argument` names comes from.
fn source(argument: &OsStr) -> Result<TemplateSource, CommandError> {
    TemplateSource::named(argument).map_err(|findings| CommandError::failed(findings.to_string().trim_end()))
}

/// Variables from the environment, then files, then flags: later ones win.
fn variables(environment: &Environment, args: &VariableArgs) -> Result<Variables, CommandError> {
    let mut variables = Variables::new();
    for (name, value) in environment.template_variables() {
        variables.set(&name, &value).map_err(CommandError::failed)?;
    }
    for file in &args.files {
        let read = variables.read(file);
        read.map_err(|findings| CommandError::failed(format!("--vars: {}", findings.to_string().trim_end())))?;
    }
    for pair in &args.pairs {
        let set = variables.set_pair(pair);
        set.map_err(|reason| CommandError::usage(format!("--var: {reason}")))?;
    }
    Ok(variables)
}

/// The providers that oic brings, overlaid with those of `config_dir`.
pub fn providers(environment: &Environment) -> Result<Providers, CommandError> {
    let unusable = |findings: Findings| {
        CommandError::failed(format!(
            "the provider data cannot be used\n\n{}",
            findings.to_string().trim_end()
        ))
    };
    Providers::load(environment.config_dir().as_deref()).map_err(unusable)
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
