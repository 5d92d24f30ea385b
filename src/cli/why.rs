//! `oic why`.

use std::ffi::OsString;
use std::time::SystemTime;

use clap::{Args, ValueHint};
use serde::Serialize;

use crate::mount::Engine;
use crate::package::{Dependency, DependencyKind, Resolution, ResolvedPackage};
use crate::pipeline::{self, BuildRequest, Resolved};
use crate::resolve::why;
use crate::yaml::did_you_mean;

use super::environment::{Environment, processors};
use super::error::{CommandError, print_line, print_versioned};
use super::{Format, GlobalOptions, interrupt, progress, templates};

/// Show what pulls a package into an image
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic why libssl3t64 my-template.yml             the shortest chain of dependencies
  oic why perl-base                              in the sample template
  oic why libssl3t64 my-template.yml --offline   with the metadata that is cached

Packages are resolved as for a build, but only metadata is fetched, and no root is needed.")]
pub struct WhyArgs {
    /// Name of the package
    package: String,
    /// Template file, or the name of a template that oic brings
    #[arg(value_hint = ValueHint::FilePath, default_value = "debian13-x86_64-minimal")]
    template: OsString,
    /// Use only metadata that is cached
    #[arg(long)]
    offline: bool,
    /// Mirror of the provider's main archive, or NAME=URL for another one (may be repeated)
    #[arg(long, value_name = "URL")]
    mirror: Vec<String>,
    #[command(flatten)]
    variables: templates::VariableArgs,
    /// How the chain is printed
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Serialize)]
struct Answer<'a> {
    package: &'a str,
    version: &'a str,
    reason: Reason,
    /// From what was asked for to the package.
    chain: Vec<Step<'a>>,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum Reason {
    /// The first package of the chain is in the template.
    Template,
    /// The first package of the chain is in the provider's list for the base.
    Base,
    /// The first package of the chain is essential.
    Essential,
}

#[derive(Serialize)]
struct Step<'a> {
    package: &'a str,
    version: &'a str,
    /// How it needs the next one; absent for the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    needs_next: Option<&'static str>,
}

/// Resolves and prints.
pub fn run(global: &GlobalOptions, args: &WhyArgs) -> Result<(), CommandError> {
    let environment = Environment::load(global, None)?;
    let loaded = templates::load(&environment, &args.template, &args.variables)?;
    let cancel = interrupt::install().map_err(CommandError::failed)?;
    let request = BuildRequest {
        mirrors: environment.mirrors(&args.mirror)?,
        loaded,
        cache_dir: environment.cache_dir(),
        work_dir: environment.work_dir(),
        workers: environment.workers(),
        jobs: processors(),
        lock: None,
        proxies: environment.proxies(),
        offline: args.offline,
        from_scratch: false,
        engine: Engine::default(),
        dot_file: None,
        system_packages_only: false,
        now: SystemTime::now(),
        source_date_epoch: None,
    };
    let progress = progress::for_stderr();
    let resolved = pipeline::resolve(&request, &environment.temp_dir(), &*progress, &cancel);
    let resolved = match resolved {
        Ok(resolved) => resolved,
        Err(_) if cancel.is_cancelled() => return Err(CommandError::interrupted()),
        Err(error) => return Err(CommandError::failed(&error).hint(error.hint())),
    };
    let Some(answer) = answer(&resolved, &request.loaded.provider.base_packages, &args.package) else {
        return Err(absent(&resolved, args));
    };
    match args.format {
        Format::Json => print_versioned(&answer),
        Format::Text => print(&answer),
    }
}

/// The base's reasons come first: what the base brings is there whatever the template says.
fn answer<'a>(resolved: &'a Resolved, listed: &[String], name: &str) -> Option<Answer<'a>> {
    let in_base = find(&resolved.base, name).map(|package| (&resolved.base, package));
    let (resolution, package) = match in_base {
        Some(found) => found,
        None => (&resolved.image, find(&resolved.image, name)?),
    };
    let Some(chain) = why(resolution, name) else {
        return Some(told(resolution, package, &[], Reason::Essential));
    };
    let first = chain.first().and_then(|edge| resolution.packages.get(edge.from));
    let first = first.unwrap_or(package);
    // The base asks for its list and for what is essential.
    let reason = match find(&resolved.base, &first.name) {
        None => Reason::Template,
        Some(_) if listed.contains(&first.name) => Reason::Base,
        Some(_) => Reason::Essential,
    };
    Some(told(resolution, package, &chain, reason))
}

fn find<'a>(resolution: &'a Resolution, name: &str) -> Option<&'a ResolvedPackage> {
    resolution.packages.iter().find(|package| package.name == name)
}

fn told<'a>(
    resolution: &'a Resolution,
    package: &'a ResolvedPackage,
    chain: &[Dependency],
    reason: Reason,
) -> Answer<'a> {
    let step = |package: &'a ResolvedPackage, needs_next| Step {
        package: &package.name,
        version: &package.version,
        needs_next,
    };
    let mut steps: Vec<Step<'a>> = chain
        .iter()
        .filter_map(|edge| {
            let needs = match edge.kind {
                DependencyKind::PreDepends => "pre-depends",
                DependencyKind::Depends => "depends",
            };
            Some(step(resolution.packages.get(edge.from)?, Some(needs)))
        })
        .collect();
    steps.push(step(package, None));
    Answer {
        package: &package.name,
        version: &package.version,
        reason,
        chain: steps,
    }
}

fn print(answer: &Answer<'_>) -> Result<(), CommandError> {
    let reason = match answer.reason {
        Reason::Template => "the template asks for it",
        Reason::Base => "in the provider's list for the base",
        Reason::Essential => "essential",
    };
    let mut needed = "";
    for (depth, step) in answer.chain.iter().enumerate() {
        let Step { package, version, .. } = step;
        let because = if depth == 0 {
            format!("  ({reason})")
        } else {
            String::new()
        };
        let indent = "  ".repeat(depth);
        print_line(&format!("{indent}{needed}{package} {version}{because}"))?;
        needed = match step.needs_next {
            Some("pre-depends") => "pre-depends on ",
            _ => "depends on ",
        };
    }
    Ok(())
}

fn absent(resolved: &Resolved, args: &WhyArgs) -> CommandError {
    let names = resolved.image.packages.iter().map(|package| package.name.as_str());
    let meant = did_you_mean(&args.package, names);
    let error = CommandError::failed(format!(
        "{} is not among the {} packages of this image",
        args.package,
        resolved.image.packages.len()
    ));
    error.hint(meant.map(|meant| format!("did you mean {meant}?")))
}
