//! `oic build`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::{Args, ValueHint};

use crate::pipeline::report::BuildReport;
use crate::pipeline::{self, BuildError, BuildRequest};
use crate::progress::Progress;

use super::environment::{Environment, processors};
use super::error::{CommandError, print_json, print_line};
use super::events::{Events, Watched};
use super::{Format, GlobalOptions, interrupt, progress, report, templates};

/// Build a disk image from a template
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic build debian13-x86_64-minimal           a template that oic brings
  oic build my-template.yml                   your own
  oic build my-template.yml --offline         only from the cache
  oic build my-template.yml --format json     the report for machines
  oic build my-template.yml --events -        progress for machines: a JSON object per line

Building needs root: it mounts the overlay and sets the owners of files.")]
pub struct BuildArgs {
    /// Template file, or the name of a template that oic brings
    #[arg(value_hint = ValueHint::FilePath)]
    template: OsString,
    #[command(flatten)]
    variables: templates::VariableArgs,
    /// Downloads at once [default: 16]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100))]
    workers: Option<u64>,
    /// Use only what is cached, repository metadata included
    #[arg(long)]
    offline: bool,
    /// Mirror of the provider's main archive, or NAME=URL for another one (may be repeated)
    #[arg(long, value_name = "URL")]
    mirror: Vec<String>,
    /// Also write the dependency graph to this file (Graphviz)
    #[arg(short = 'f', long, value_name = "FILE")]
    dotfile: Option<PathBuf>,
    /// In that graph, only what the template's own packages need
    #[arg(long, requires = "dotfile")]
    system_packages_only: bool,
    /// Write what happens to this file as it happens, one JSON object per line; - is standard
    /// output, which then has nothing else
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    events: Option<PathBuf>,
    /// Reuse nothing of an earlier build; the image is the same
    #[arg(long)]
    from_scratch: bool,
    /// Who merges the layers; the image is the same
    #[arg(long, value_enum, default_value = "auto")]
    overlay: super::mount::Engine,
    /// How the report is printed
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Builds and prints the report.
pub fn run(global: &GlobalOptions, args: &BuildArgs) -> Result<(), CommandError> {
    let events = args.events.as_deref().map(Events::open).transpose()?;
    if let Some(events) = &events {
        events.started(&args.template.to_string_lossy());
    }
    let outcome = build(global, args, events.as_ref());
    if let (Some(events), Err(error)) = (&events, &outcome) {
        events.failed(error);
    }
    let built = outcome?;
    if let Some(events) = &events {
        events.finished(&built);
    }
    match args.format {
        _ if args.events.as_deref() == Some(Path::new("-")) => Ok(()),
        Format::Text => report::table(&built).iter().try_for_each(|line| print_line(line)),
        Format::Json => print_json(&built),
    }
}

fn build(global: &GlobalOptions, args: &BuildArgs, events: Option<&Events>) -> Result<BuildReport, CommandError> {
    let environment = Environment::load(global, args.workers)?;
    let mirrors = environment.mirrors(&args.mirror)?;
    let loaded = templates::load(&environment, &args.template, &args.variables)?;
    for warning in loaded.warnings.iter() {
        anstream::eprintln!("{warning}");
    }
    if !rustix::process::geteuid().is_root() {
        return Err(
            CommandError::failed("building needs root: it mounts the overlay and sets the owners of files")
                .hint(Some("run the same command with sudo")),
        );
    }
    // Before any thread starts: from here on, whatever is mounted vanishes with this process.
    crate::mount::namespace::enter_private().map_err(|error| CommandError::failed(&error).hint(error.hint()))?;
    let cancel = interrupt::install().map_err(CommandError::failed)?;
    let request = BuildRequest {
        loaded,
        mirrors,
        cache_dir: environment.cache_dir(),
        work_dir: environment.work_dir(),
        workers: environment.workers(),
        jobs: processors(),
        lock: None,
        proxies: environment.proxies(),
        offline: args.offline,
        from_scratch: args.from_scratch,
        engine: args.overlay.into(),
        dot_file: args.dotfile.clone(),
        system_packages_only: args.system_packages_only,
        now: SystemTime::now(),
        source_date_epoch: environment.source_date_epoch()?,
    };
    let progress: Box<dyn Progress + '_> = match events {
        Some(events) => Box::new(Watched::new(events, progress::for_stderr())),
        None => progress::for_stderr(),
    };
    let built = pipeline::build(&request, &*progress, &cancel);
    let built = match built {
        Ok(built) => built,
        // Whatever fails after the user asked to stop fails because of that.
        Err(_) if cancel.is_cancelled() => return Err(CommandError::interrupted()),
        Err(BuildError::NotBuildable(findings)) => return Err(templates::refused(&findings)),
        Err(error) => return Err(CommandError::failed(&error).hint(error.hint())),
    };
    for warning in &built.warnings {
        progress.note(&format!("warning: {warning}"));
    }
    Ok(built)
}
