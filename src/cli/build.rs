//! `oic build`.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, ValueHint};

use crate::durable::{self, PathError, ScratchDir};
use crate::pipeline::report::BuildReport;
use crate::pipeline::{self, BuildError, BuildRequest, check};
use crate::progress::Progress;
use crate::work::Work;

use super::environment::{Environment, processors};
use super::error::{AS_ROOT, CommandError, print_json, tell};
use super::events::{Events, Watched};
use super::interrupt::Interrupt;
use super::owner::{Outputs, Receiver};
use super::report::{self, html};
use super::{Format, GlobalOptions, escapes, full_disk, progress, templates};

/// Build a disk image from a template
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic build debian13-x86_64-minimal           a template that oic brings
  oic build my-template.yml                   your own
  oic build my-template.yml --offline         only from the cache
  oic build my-template.yml --format json     the report for machines
  oic build my-template.yml --events -        progress for machines: a JSON object per line
  oic build my-template.yml --lock my.lock    exactly the packages in this lockfile, even if the mirror has newer ones
  oic build my-template.yml --lock my.lock --update-lock    the newest packages, and writes them down there
  oic build my-template.yml --check           builds twice, and says what differs
  oic build one.yml two.yml three.yml         side by side; what they share is done once

Building needs root: it mounts the overlay and sets the owners of files.")]
pub struct BuildArgs {
    /// Template file, - for standard input, or the name of a template that oic brings; several are built side by side
    #[arg(value_hint = ValueHint::FilePath, required = true)]
    template: Vec<OsString>,
    #[command(flatten)]
    values: templates::ValueArgs,
    /// Number of downloads at once [default: 16]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100))]
    workers: Option<u64>,
    /// Number of threads for work that takes a processor, and of builds at once [default: the number of processors]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1024))]
    jobs: Option<u64>,
    /// Install exactly the packages of this lockfile (a build writes one beside its image)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    lock: Option<PathBuf>,
    /// Resolve anew, build, and write the result to the lockfile of --lock
    #[arg(long, requires = "lock")]
    update_lock: bool,
    /// Reuse nothing of an earlier build; the image is the same
    #[arg(long)]
    from_scratch: bool,
    /// As --from-scratch, and download packages and metadata anew, into a package cache that is removed at the end
    #[arg(long, conflicts_with = "offline")]
    no_cache: bool,
    /// Build again from scratch in another directory; exit code 1, with the first difference, if the images differ
    #[arg(long)]
    check: bool,
    /// Also compute the SHA-256 of a raw image; it takes the time of its size, holes too (see also the setting digest)
    #[arg(long)]
    sha256: bool,
    /// Also write a report for browsers, with the timeline and the packages' sizes; it needs no network
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    report: Option<PathBuf>,
    /// Use only what is cached, repository metadata included
    #[arg(long)]
    offline: bool,
    /// Mirror of the provider's main archive, or NAME=URL for another one (may be repeated)
    #[arg(long, value_name = "URL")]
    mirror: Vec<String>,
    /// Also write the dependency graph to this file (Graphviz)
    #[arg(short = 'f', long, value_name = "FILE", conflicts_with = "lock")]
    dotfile: Option<PathBuf>,
    /// In that graph, only what the template's own packages need
    #[arg(long, requires = "dotfile")]
    system_packages_only: bool,
    /// Write events to this file as they happen, one JSON object per line; - is standard output, which then has nothing
    /// else
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    events: Option<PathBuf>,
    /// The engine that merges the layers; the image is the same
    #[arg(long, value_enum, default_value = "auto")]
    overlay: super::mount::Engine,
    /// Give what the build delivers to this user [default: the user behind sudo, in that user's directories]
    #[arg(long, value_name = "USER[:GROUP]")]
    owner: Option<String>,
    /// Tell the desktop, through the terminal, when a build of over ten seconds ends (see also the setting notify)
    #[arg(long)]
    notify: bool,
    /// How the report is printed
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Builds and prints the report.
pub fn run(global: &GlobalOptions, args: &BuildArgs, interrupt: &Interrupt) -> Result<(), CommandError> {
    let outputs = Outputs::note(Receiver::find(args.owner.as_deref())?, named_files(global, args));
    let events = args.events.as_deref().map(Events::open).transpose()?;
    if let Some(events) = &events {
        args.template
            .iter()
            .for_each(|template| events.started(&template.to_string_lossy()));
    }
    let outcome = build(global, args, events.as_ref(), interrupt);
    let built = outcome.and_then(|built| {
        if let Some(events) = &events {
            built.iter().for_each(|report| events.finished(report));
        }
        show(args, &built)
    });
    let built = built.map_err(|error| full_disk::advise(error, global));
    if let (Some(events), Err(error)) = (&events, &built) {
        events.failed(error);
    }
    outputs.give();
    built
}

/// Lists the files that the command writes by the names that it was given.
fn named_files<'a>(global: &'a GlobalOptions, args: &'a BuildArgs) -> impl Iterator<Item = &'a Path> {
    let lock = args.lock.iter().filter(|_| args.update_lock);
    let events = args.events.iter().filter(|path| path.as_path() != Path::new("-"));
    let files = args.report.iter().chain(&args.dotfile).chain(lock).chain(events);
    files.chain(&global.log_file).map(PathBuf::as_path)
}

/// Prints the reports.
fn show(args: &BuildArgs, built: &[BuildReport]) -> Result<(), CommandError> {
    if let (Some(path), [report]) = (&args.report, built) {
        durable::write_file(path, html::page(report))?;
    }
    match args.format {
        _ if args.events.as_deref() == Some(Path::new("-")) => Ok(()),
        Format::Text => built.iter().try_for_each(report::print),
        Format::Json => match built {
            [report] => print_json(report),
            reports => print_json(&reports),
        },
    }
}

fn build(
    global: &GlobalOptions,
    args: &BuildArgs,
    events: Option<&Events>,
    interrupt: &Interrupt,
) -> Result<Vec<BuildReport>, CommandError> {
    let begun = Instant::now();
    let environment = Environment::load(global, args.workers)?;
    check_several(args)?;
    let requests = args
        .template
        .iter()
        .map(|template| request(&environment, args, template));
    let mut requests = requests.collect::<Result<Vec<_>, _>>()?;
    check_distinct(&requests)?;
    if !rustix::process::geteuid().is_root() {
        return Err(
            CommandError::failed("building needs root: it mounts the overlay and sets the owners of files")
                .hint(Some(AS_ROOT)),
        );
    }
    let own_cache = own_cache(args, &environment.work_dir())?;
    for (request, (cache, _)) in requests.iter_mut().zip(own_cache.iter().cycle()) {
        cache.path().clone_into(&mut request.selecting.cache_dir);
    }
    super::mount::clear_dead()?;
    // Before any thread starts: from here on, every mount vanishes with this process.
    crate::mount::namespace::enter_private()?;
    let cancel = interrupt.cancel();
    let progress: Box<dyn Progress + '_> = match events {
        Some(events) => Box::new(Watched::new(events, progress::for_stderr())),
        None => progress::for_stderr(),
    };
    let work = Work {
        progress: &*progress,
        cancel: &cancel,
        threads: jobs(args),
    };
    let built = carry_out(args, &requests, work, &|error| interrupt.reason(error.into()));
    let asked = args.notify || environment.wants_notification();
    escapes::notify(asked, &ending(&requests, built.is_ok()), begun.elapsed());
    built
}

/// Makes a package cache that exists until the result is dropped, if the options ask for it.
fn own_cache(args: &BuildArgs, work_dir: &Path) -> Result<Option<(ScratchDir, File)>, CommandError> {
    if !args.no_cache {
        return Ok(None);
    }
    durable::public_directory(work_dir)?;
    let cache = ScratchDir::create_in(work_dir)?;
    // What a process has open is no leftover to another one that sweeps.
    let open = File::open(cache.path()).map_err(PathError::on("open", cache.path()))?;
    Ok(Some((cache, open)))
}

/// Builds, and does with the results what the options ask for.
fn carry_out(
    args: &BuildArgs,
    requests: &[BuildRequest],
    work: Work<'_>,
    failed: &dyn Fn(BuildError) -> CommandError,
) -> Result<Vec<BuildReport>, CommandError> {
    let built = settle(requests, pipeline::build_all(requests, work), failed)?;
    for (report, request) in built.iter().zip(requests) {
        for warning in &report.warnings {
            work.progress.note(&format!("warning: {warning}"));
        }
        if let (true, Some(path)) = (args.update_lock, &args.lock) {
            let text = std::fs::read(&report.lockfile).map_err(CommandError::failed)?;
            durable::write_public_file(path, text)?;
        }
        if args.check {
            let difference = check::check(request, report, work).map_err(failed)?;
            if let Some(difference) = difference {
                return Err(CommandError::verdict(1, "different", difference.to_string()));
            }
            work.progress.note("a build from scratch gives the same image");
        }
    }
    Ok(built)
}

/// Says how the builds of `requests` ended.
fn ending(requests: &[BuildRequest], is_done: bool) -> String {
    let names = requests
        .iter()
        .map(|request| request.loaded().template.system.name.as_str());
    let names = names.collect::<Vec<_>>().join(", ");
    match is_done {
        true => format!("oic: {names} is built"),
        false => format!("oic: the build of {names} failed"),
    }
}

/// Collects all reports, or gives the first error after printing the others.
fn settle(
    requests: &[BuildRequest],
    results: Vec<Result<BuildReport, BuildError>>,
    failed: &dyn Fn(BuildError) -> CommandError,
) -> Result<Vec<BuildReport>, CommandError> {
    let (mut built, mut first) = (Vec::new(), None);
    for (request, result) in requests.iter().zip(results) {
        match (result, &first) {
            (Ok(report), _) => built.push(report),
            (Err(error), None) => first = Some(failed(error)),
            (Err(error), Some(_)) => {
                let name = &request.loaded().template.system.name;
                tell(&format_args!("{name} failed too: {error}"));
            }
        }
    }
    match first {
        Some(error) => Err(error),
        None => Ok(built),
    }
}

/// Refuses what makes sense for one template only.
fn check_several(args: &BuildArgs) -> Result<(), CommandError> {
    if args.template.len() == 1 {
        return Ok(());
    }
    let single = [
        (args.lock.is_some(), "--lock"),
        (args.dotfile.is_some(), "--dotfile"),
        (args.report.is_some(), "--report"),
    ];
    match single.iter().find(|(given, _)| *given) {
        Some((_, option)) => Err(CommandError::usage(format!(
            "{option} is for one template; there are several"
        ))),
        None => Ok(()),
    }
}

/// Refuses two builds of one directory.
fn check_distinct(requests: &[BuildRequest]) -> Result<(), CommandError> {
    let mut seen = BTreeSet::new();
    for request in requests {
        let (provider, name) = (request.loaded().provider.id(), &request.loaded().template.system.name);
        if !seen.insert((provider.clone(), name)) {
            return Err(CommandError::usage(format!(
                "two templates have the systemConfig.name {name:?} for {provider}: one image would replace the other"
            )));
        }
    }
    Ok(())
}

fn jobs(args: &BuildArgs) -> usize {
    let asked = args.jobs.and_then(|jobs| usize::try_from(jobs).ok());
    asked.unwrap_or_else(processors)
}

fn request(environment: &Environment, args: &BuildArgs, template: &OsStr) -> Result<BuildRequest, CommandError> {
    let loaded = templates::load(environment, template, &args.values)?;
    for warning in loaded.warnings.iter() {
        tell(warning);
    }
    let lock = args.lock.as_deref().filter(|_| !args.update_lock);
    let mirrors = environment.mirrors(&args.mirror)?;
    let selecting = templates::selecting(environment, loaded, mirrors, args.offline);
    Ok(BuildRequest {
        selecting,
        signing: environment.signing(),
        lock: lock.map(super::lock::read).transpose()?,
        from_scratch: args.from_scratch || args.no_cache,
        sha256: args.sha256 || environment.wants_sha256(),
        engine: args.overlay.choose(true),
        dot_file: args.dotfile.clone(),
        system_packages_only: args.system_packages_only,
        source_date_epoch: environment.source_date_epoch()?,
        owner: Receiver::find(args.owner.as_deref())?.and_then(|receiver| receiver.of(&environment.work_dir())),
        payload: None,
    })
}
