//! The command line: the only module that prints, reads the environment and
//! knows exit codes. One file per command.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

mod audit;
mod boot;
mod build;
mod cache;
mod cat;
mod certificates;
mod compare;
mod completion;
mod config;
mod cp;
mod credentials;
mod debug;
mod diff;
mod digest;
mod environment;
mod error;
mod escapes;
mod events;
mod fmt;
mod full_disk;
mod inspect;
mod install;
mod interrupt;
pub mod limits;
mod lock;
mod logging;
mod ls;
mod man;
mod mount;
mod new;
mod new_file;
mod owner;
mod place;
mod progress;
pub mod reference;
mod report;
mod resolve;
mod samples;
mod sbom;
mod schema;
mod search;
mod sign;
mod templates;
mod tree;
mod trust;
mod validate;
mod verify_image;
mod version;
mod why;
mod words;

use error::CommandError;
use interrupt::Interrupt;

/// The names that the program is installed under; it does the same under each.
const PROGRAM_NAMES: [&str; 2] = ["oic", "os-image-composer"];

/// Composes OS images: a YAML template and pre-built packages become a bootable disk image.
#[derive(Debug, Parser)]
#[command(name = "oic", version = version::SHORT, propagate_version = false, arg_required_else_help = true)]
#[command(after_help = "\
Examples:
  oic build debian13-x86_64-minimal       an image from a template that oic brings
  oic build my-template.yml               from your own
  oic boot my-template.yml                start its image in a virtual machine, which cannot change it
  oic new my-template.yml                 a template of your own
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
    /// Trust the key of a repository with this fingerprint, now and from now on, where the provider pins none
    #[arg(long, global = true, value_name = "FINGERPRINT")]
    trust_key: Vec<String>,
    /// Same as --log-level debug
    #[arg(short, long, global = true)]
    verbose: bool,
}

impl GlobalOptions {
    /// Lists the flags of settings that the user gave, with their values.
    fn flags(&self) -> Vec<(&'static str, OsString)> {
        let level = self.verbose.then_some("debug").or(self.log_level.as_deref());
        let path = |path: &Option<PathBuf>| path.clone().map(PathBuf::into_os_string);
        let given = [
            ("--cache-dir", path(&self.cache_dir)),
            ("--work-dir", path(&self.work_dir)),
            ("--log-level", level.map(OsString::from)),
            ("--log-file", path(&self.log_file)),
        ];
        given
            .into_iter()
            .filter_map(|(flag, value)| Some((flag, value?)))
            .collect()
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
    Audit(audit::AuditArgs),
    Boot(boot::BootArgs),
    Build(build::BuildArgs),
    Cache(cache::CacheArgs),
    Cat(cat::CatArgs),
    Compare(compare::CompareArgs),
    Completion(completion::CompletionArgs),
    Config(config::ConfigArgs),
    Cp(cp::CpArgs),
    Diff(diff::DiffArgs),
    Digest(digest::DigestArgs),
    Fmt(fmt::FmtArgs),
    Inspect(inspect::InspectArgs),
    Install(install::InstallArgs),
    Lock(lock::LockArgs),
    Ls(ls::LsArgs),
    Man(man::ManArgs),
    Debug(debug::DebugArgs),
    Mount(mount::MountArgs),
    Resolve(resolve::ResolveArgs),
    Umount(mount::UmountArgs),
    New(new::NewArgs),
    Sbom(sbom::SbomArgs),
    Schema(schema::SchemaArgs),
    Search(search::SearchArgs),
    Show(search::ShowArgs),
    Sign(sign::SignArgs),
    Templates(samples::TemplatesArgs),
    Validate(validate::ValidateArgs),
    VerifyImage(verify_image::VerifyImageArgs),
    Version(version::VersionArgs),
    Why(why::WhyArgs),
}

/// Parses the process's arguments and runs the command.
pub fn main() -> ExitCode {
    // First of all: no temporary file is made before.
    let interrupt = match Interrupt::install() {
        Ok(interrupt) => interrupt,
        Err(error) => return CommandError::failed(error).report(),
    };
    let cli = Cli::parse();
    match run(&cli, &interrupt) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => full_disk::advise(interrupt.reason(error), &cli.global).report(),
    }
}

/// Starts the log of a mount server, which has no command line: warnings, on standard error.
pub fn log_server() {
    logging::start_server();
}

fn run(cli: &Cli, interrupt: &Interrupt) -> Result<(), CommandError> {
    match &cli.command {
        Command::Audit(args) => audit::run(args),
        Command::Boot(args) => boot::run(&cli.global, args, interrupt),
        Command::Build(args) => build::run(&cli.global, args, interrupt),
        Command::Cache(args) => cache::run(&cli.global, args, interrupt),
        Command::Cat(args) => cat::run(args, interrupt),
        Command::Compare(args) => compare::run(&cli.global, args, interrupt),
        Command::Completion(args) => completion::run(args),
        Command::Config(args) => config::run(&cli.global, args, interrupt),
        Command::Cp(args) => cp::run(args, interrupt),
        Command::Diff(args) => diff::run(&cli.global, args, interrupt),
        Command::Digest(args) => digest::run(args, interrupt),
        Command::Fmt(args) => fmt::run(args, interrupt),
        Command::Inspect(args) => inspect::run(args, interrupt),
        Command::Install(args) => install::run(args, interrupt),
        Command::Lock(args) => lock::run(args),
        Command::Ls(args) => ls::run(args),
        Command::Man(args) => man::run(args),
        Command::Debug(args) => debug::run(args, interrupt),
        Command::Mount(args) => mount::mount(&cli.global, args, interrupt),
        Command::Umount(args) => mount::umount(&cli.global, args),
        Command::New(args) => new::run(&cli.global, args, interrupt),
        Command::Resolve(args) => resolve::run(&cli.global, args),
        Command::Sbom(args) => sbom::run(&cli.global, args, interrupt),
        Command::Schema(args) => schema::run(args),
        Command::Search(args) => search::search(&cli.global, args, interrupt),
        Command::Show(args) => search::show(&cli.global, args, interrupt),
        Command::Sign(args) => sign::run(args),
        Command::Templates(args) => samples::run(args),
        Command::Validate(args) => validate::run(&cli.global, args),
        Command::VerifyImage(args) => verify_image::run(args, interrupt),
        Command::Version(args) => version::run(args),
        Command::Why(args) => why::run(&cli.global, args, interrupt),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_definition_is_sound() {
        super::Cli::command().debug_assert();
    }

    #[test]
    fn each_flag_of_a_setting_is_declared() {
        let command = super::Cli::command();
        let build = command.find_subcommand("build").unwrap();
        let declared: Vec<String> = command
            .get_arguments()
            .chain(build.get_arguments())
            .filter_map(|argument| Some(format!("--{}", argument.get_long()?)))
            .collect();
        for flag in crate::config::SETTINGS.iter().filter_map(|setting| setting.flag) {
            assert!(declared.iter().any(|name| name == flag), "{flag}: {declared:?}");
        }
    }
}
