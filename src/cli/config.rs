//! `oic config`.

use std::fs;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use serde::Serialize;

use crate::config;
use crate::durable::PathError;

use super::environment::Environment;
use super::error::{CommandError, print_line, print_versioned};
use super::interrupt::Interrupt;
use super::{Format, GlobalOptions, new_file};

/// Show the configuration, or write a file to start from
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic config show                                     each value, and where it comes from
  sudo oic config init /etc/os-image-composer/config.yml")]
pub struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    Init(InitArgs),
    Show(ShowArgs),
}

/// Write a commented configuration file
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic config init                                     ./os-image-composer.yml
  sudo oic config init /etc/os-image-composer/config.yml

Every line of the file is commented out: it changes nothing until you edit it. Only its owner
can read it.")]
struct InitArgs {
    /// Where to write it
    #[arg(value_hint = ValueHint::FilePath, default_value = "os-image-composer.yml")]
    file: PathBuf,
    /// Replace an existing file
    #[arg(long)]
    force: bool,
}

/// Show each setting, its value, and where that comes from
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic config show
  oic config show --format json
  OIC_WORKERS=4 oic config show --config ./my.yml     what these two change

Flags beat OIC_* variables, which beat the configuration file, which beats the defaults.")]
struct ShowArgs {
    /// How the settings are printed
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Runs the command.
pub fn run(global: &GlobalOptions, args: &ConfigArgs, interrupt: &Interrupt) -> Result<(), CommandError> {
    match &args.command {
        ConfigCommand::Init(args) => {
            // Writing ends within milliseconds; a signal does not cut it short.
            let _cancel = interrupt.cancel();
            init(args)
        }
        ConfigCommand::Show(args) => show(global, args),
    }
}

fn init(args: &InitArgs) -> Result<(), CommandError> {
    let file = &args.file;
    if !new_file::is_yaml(file) {
        let error = CommandError::usage(format!("{} does not end in .yml or .yaml", file.display()));
        return Err(error.hint(Some(
            "a configuration file with another name is refused when it is read",
        )));
    }
    if let Some(parent) = file.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(PathError::on("create", parent))?;
    }
    new_file::write(file, &config::template(), 0o600, args.force)?;
    print_line(&format!("wrote {}", file.display()))
}

#[derive(Serialize)]
struct Row {
    key: String,
    value: String,
    origin: String,
}

#[derive(Serialize)]
struct Shown {
    settings: Vec<Row>,
}

fn show(global: &GlobalOptions, args: &ShowArgs) -> Result<(), CommandError> {
    let environment = Environment::load(global, None)?;
    let rows = config::rows(environment.config()).into_iter();
    let settings: Vec<Row> = rows.map(|(key, value, origin)| Row { key, value, origin }).collect();
    if args.format == Format::Json {
        return print_versioned(&Shown { settings });
    }
    let width = |field: fn(&Row) -> &String| settings.iter().map(|row| field(row).chars().count()).max();
    let key_width = width(|row| &row.key).unwrap_or(0);
    let value_width = width(|row| &row.value).unwrap_or(0);
    for Row { key, value, origin } in &settings {
        print_line(&format!("{key:<key_width$}  {value:<value_width$}  {origin}"))?;
    }
    Ok(())
}
