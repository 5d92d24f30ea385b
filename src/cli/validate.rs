//! `oic validate`.

use std::ffi::OsString;

use clap::{Args, ValueHint};

use super::environment::Environment;
use super::error::{CommandError, print_line};
use super::{GlobalOptions, templates};

/// Check a template and show all findings
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic validate my-template.yml             all findings, each with file, line and column
  oic validate my-template.yml --merged    the template merged over its provider's default")]
pub struct ValidateArgs {
    /// Template file, or the name of a template that oic brings
    #[arg(value_hint = ValueHint::FilePath)]
    template: OsString,
    #[command(flatten)]
    variables: templates::VariableArgs,
    /// Merge it over its provider's default template, check that too, and print it
    #[arg(long)]
    merged: bool,
}

/// Validates and prints.
pub fn run(global: &GlobalOptions, args: &ValidateArgs) -> Result<(), CommandError> {
    let environment = Environment::load(global, None)?;
    if args.merged {
        let loaded = templates::load(&environment, &args.template, &args.variables)?;
        for warning in loaded.warnings.iter() {
            anstream::eprintln!("{warning}");
        }
        let text = loaded.to_yaml().map_err(CommandError::failed)?;
        return print_line(text.trim_end());
    }
    let findings = templates::check(&environment, &args.template, &args.variables)?;
    if findings.has_errors() {
        return Err(templates::refused(&findings));
    }
    for finding in findings.iter() {
        anstream::eprintln!("{finding}");
    }
    print_line(&format!("{} is valid", args.template.display()))
}
