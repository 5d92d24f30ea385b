//! `oic resolve`.

use std::ffi::OsString;

use clap::{Args, ValueHint};

use crate::template::Scope;

use super::environment::Environment;
use super::error::{CommandError, print_data, tell};
use super::{GlobalOptions, templates};

/// Print a template merged over those that it extends, without its secrets
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic resolve my-template.yml                    over the templates that it extends
  oic resolve my-template.yml --full             and over its provider's default template
  oic resolve my-template.yml --full --origin    with the file and line that each value comes from

Passwords and the paths of secret files are printed as [REDACTED]; oic validate --merged prints all.")]
pub struct ResolveArgs {
    /// Template file, - for standard input, or the name of a template that oic brings
    #[arg(value_hint = ValueHint::FilePath)]
    template: OsString,
    #[command(flatten)]
    values: templates::ValueArgs,
    /// Merge it over its provider's default template too
    #[arg(long)]
    full: bool,
    /// Print the file and line of each value behind it
    #[arg(long)]
    origin: bool,
}

/// Loads and prints.
pub fn run(global: &GlobalOptions, args: &ResolveArgs) -> Result<(), CommandError> {
    let environment = Environment::load(global, None)?;
    let loaded = templates::load(&environment, &args.template, &args.values)?;
    for warning in loaded.warnings.iter() {
        tell(warning);
    }
    if !loaded.extends() && !args.full {
        tell(&"note: the template extends no other one; --full shows it over its provider's default");
    }
    let scope = if args.full { Scope::Full } else { Scope::Chain };
    let text = loaded.resolved(scope, args.origin).map_err(CommandError::failed)?;
    print_data(text.trim_end())
}
