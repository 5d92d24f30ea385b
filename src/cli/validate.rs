//! `oic validate`.

use std::ffi::OsString;

use clap::{Args, ValueHint};

use crate::pipeline;

use super::environment::Environment;
use super::error::{CommandError, print_data, print_line, tell};
use super::{GlobalOptions, templates};

/// Check a template as a build would before any work, and show all findings
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic validate my-template.yml             all findings, each with file, line and column
  generate | oic validate -                a template from standard input
  oic validate my-template.yml --strict    an error if a build on this host would refuse it
  oic validate my-template.yml --merged    the template merged over its provider's default")]
pub struct ValidateArgs {
    /// Template file, - for standard input, or the name of a template that oic brings
    #[arg(value_hint = ValueHint::FilePath)]
    template: OsString,
    #[command(flatten)]
    values: templates::ValueArgs,
    /// Print it merged over its provider's default template
    #[arg(long)]
    merged: bool,
    /// Refuse it if a build would refuse it here and now
    #[arg(long)]
    strict: bool,
    /// Mirror of the provider's main archive, or NAME=URL for another one (may be repeated), as for a build
    #[arg(long, value_name = "URL")]
    mirror: Vec<String>,
}

/// Validates and prints.
pub fn run(global: &GlobalOptions, args: &ValidateArgs) -> Result<(), CommandError> {
    let environment = Environment::load(global, None)?;
    let loaded = templates::load(&environment, &args.template, &args.values)?;
    for warning in loaded.warnings.iter() {
        tell(warning);
    }
    if args.merged {
        let text = loaded.to_yaml().map_err(CommandError::failed)?;
        return print_data(text.trim_end());
    }
    let mut obstacles = pipeline::obstacles(&loaded, &environment.mirrors(&args.mirror)?);
    if args.strict {
        obstacles = obstacles.as_errors();
    }
    if obstacles.has_errors() {
        return Err(templates::refused(&obstacles));
    }
    let is_known = |field: &str| loaded.warnings.iter().any(|warning| warning.field == field);
    for obstacle in obstacles.iter().filter(|obstacle| !is_known(&obstacle.field)) {
        tell(obstacle);
    }
    let name = args.template.display();
    print_line(&match obstacles.iter().count() {
        0 => format!("{name} is valid"),
        _ => format!("{name} is valid, but cannot be built here and now: see the warnings"),
    })
}
