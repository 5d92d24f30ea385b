//! The command line: the only module that prints, reads the environment and
//! knows exit codes. One file per command.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

mod build;
mod cache;
mod completion;
mod config;
mod debug;
mod diff;
mod environment;
mod error;
mod events;
mod interrupt;
mod lock;
mod logging;
mod man;
mod mount;
mod progress;
pub mod reference;
mod report;
mod schema;
mod templates;
mod validate;
mod version;
mod why;
mod words;

use error::CommandError;

/// The names that the program is installed under; it is the same under each.
const PROGRAM_NAMES: [&str; 2] = ["oic", "os-image-composer"];

/// Composes OS images: a YAML template and pre-built packages become a bootable disk image.
#[derive(Debug, Parser)]
#[command(name = "oic", version = version::SHORT, propagate_version = false, arg_required_else_help = true)]
#[command(after_help = "\
Examples:
  oic build debian13-x86_64-minimal       an image from a template that oic brings
  oic build my-template.yml               from your own
  oic cache stats                         what builds keep for the next one

Exit codes: 0 done, 1 failed, 2 wrong use, 130 interrupted.")]
pub struct Cli {
    #[command(flatten)]
    global: GlobalOptions,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalOptions {
    /// Configuration file [default: the first of the usual places that exists]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory of the package cache [default: /var/cache/os-image-composer]
    #[arg(short = 'd', long, global = true, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// Directory of bases and images [default: /var/tmp/os-image-composer]
    #[arg(long, global = true, value_name = "DIR")]
    work_dir: Option<PathBuf>,
    /// How much to log: debug, info, warn or error
    #[arg(long, global = true, value_name = "LEVEL", value_parser = ["debug", "info", "warn", "error"])]
    log_level: Option<String>,
    /// Also write the log to this file
    #[arg(long, global = true, value_name = "FILE")]
    log_file: Option<PathBuf>,
    /// Same as --log-level debug
    #[arg(short, long, global = true)]
    verbose: bool,
}

impl GlobalOptions {
    /// The log level that was asked for, if one was.
    fn level(&self) -> Option<&str> {
        if self.verbose {
            Some("debug")
        } else {
            self.log_level.as_deref()
        }
    }
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For machines.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    Build(build::BuildArgs),
    Cache(cache::CacheArgs),
    Completion(completion::CompletionArgs),
    Config(config::ConfigArgs),
    Diff(diff::DiffArgs),
    Lock(lock::LockArgs),
    Man(man::ManArgs),
    Debug(debug::DebugArgs),
    Mount(mount::MountArgs),
    Umount(mount::UmountArgs),
    Schema(schema::SchemaArgs),
    Validate(validate::ValidateArgs),
    Version(version::VersionArgs),
    Why(why::WhyArgs),
}

/// Parses the process's arguments and runs the command.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}

/// Starts the log of a mount server, which has no command line: warnings, on standard error.
pub fn log_server() {
    logging::start_server();
}

fn run(cli: Cli) -> Result<(), CommandError> {
    match cli.command {
        Command::Build(args) => build::run(&cli.global, &args),
        Command::Cache(args) => cache::run(&cli.global, &args),
        Command::Completion(args) => completion::run(&args),
        Command::Config(args) => config::run(&cli.global, &args),
        Command::Diff(args) => diff::run(&cli.global, &args),
        Command::Lock(args) => lock::run(&args),
        Command::Man(args) => man::run(&args),
        Command::Debug(args) => debug::run(&args),
        Command::Mount(args) => mount::mount(&cli.global, &args),
        Command::Umount(args) => mount::umount(&cli.global, &args),
        Command::Schema(args) => schema::run(&args),
        Command::Validate(args) => validate::run(&cli.global, &args),
        Command::Version(args) => version::run(&args),
        Command::Why(args) => why::run(&cli.global, &args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_definition_is_sound() {
        super::Cli::command().debug_assert();
    }
}
