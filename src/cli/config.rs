//! `oic config`.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueHint};
use serde::Serialize;

use crate::config;
use crate::durable::{PathError, TEMPORARY_PREFIX};

use super::environment::Environment;
use super::error::{CommandError, print_line, print_versioned};
use super::{Format, GlobalOptions};

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
    /// Replace a file that is there
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
pub fn run(global: &GlobalOptions, args: &ConfigArgs) -> Result<(), CommandError> {
    match &args.command {
        ConfigCommand::Init(args) => init(args),
        ConfigCommand::Show(args) => show(global, args),
    }
}

fn init(args: &InitArgs) -> Result<(), CommandError> {
    let file = &args.file;
    let is_yaml = file
        .extension()
        .is_some_and(|extension| extension == "yml" || extension == "yaml");
    if !is_yaml {
        let error = CommandError::usage(format!("{} does not end in .yml or .yaml", file.display()));
        return Err(error.hint(Some(
            "a configuration file with another name is refused when it is read",
        )));
    }
    if let Some(parent) = file.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent)
            .map_err(PathError::on("create", parent))
            .map_err(CommandError::failed)?;
    }
    write(file, args.force).map_err(|error| match error.source.kind() {
        ErrorKind::AlreadyExists => {
            let error = CommandError::failed(format!("{} is there already", file.display()));
            error.hint(Some("choose another name, or replace it with --force"))
        }
        ErrorKind::PermissionDenied => CommandError::failed(&error).hint(Some("run the same command with sudo")),
        _ => CommandError::failed(&error),
    })?;
    print_line(&format!("wrote {}", file.display()))
}

/// Never follows a symbolic link, never replaces a directory, and a file only with `force`, by the whole new one.
fn write(file: &Path, force: bool) -> Result<(), PathError> {
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    let private = fs::Permissions::from_mode(0o600);
    let mut temporary = tempfile::Builder::new()
        .prefix(TEMPORARY_PREFIX)
        .permissions(private)
        .tempfile_in(directory)
        .map_err(PathError::on("write to", directory))?;
    temporary
        .write_all(config::TEMPLATE.as_bytes())
        .and_then(|()| temporary.as_file().sync_all())
        .map_err(PathError::on("write", file))?;
    let placed = match force {
        true => temporary.persist(file),
        false => temporary.persist_noclobber(file),
    };
    placed
        .map(drop)
        .map_err(|error| PathError::on("create", file)(error.error))
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
