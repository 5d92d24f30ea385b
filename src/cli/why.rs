//! `oic why`.

use std::ffi::OsString;
use std::path::Path;

use clap::{Args, ValueHint};
use serde::Serialize;

use crate::package::{Dependency, DependencyKind, Resolution, ResolvedPackage};
use crate::pipeline::{self, Resolved, Selecting};
use crate::resolve::{is_called, why};
use crate::work::Work;

use super::error::{CommandError, print_line, print_versioned};
use super::interrupt::Interrupt;
use super::{Format, GlobalOptions, templates};

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
    #[command(flatten)]
    repositories: templates::RepositoryArgs,
    /// How the chain is printed
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Serialize)]
struct Answer<'a> {
    package: &'a str,
    version: &'a str,
    reason: Reason,
    /// The packages from the requested one to this one.
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
pub fn run(global: &GlobalOptions, args: &WhyArgs, interrupt: &Interrupt) -> Result<(), CommandError> {
    let resolve = |selecting: &Selecting, temporary: &Path, work: Work<'_>| {
        let resolved = pipeline::resolve(selecting, temporary, work)?;
        Ok((resolved, selecting.loaded.provider.base_packages.clone()))
    };
    let (resolved, listed) = args.repositories.ask(global, &args.template, interrupt, resolve)?;
    let Some(answer) = answer(&resolved, &listed, &args.package) else {
        return Err(absent(&resolved, args));
    };
    match args.format {
        Format::Json => print_versioned(&answer),
        Format::Text => print(&answer),
    }
}

/// Finds the reasons. Those of the base come first: its packages are installed with any template.
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
    // The base requests its list and what is essential.
    let reason = match find(&resolved.base, &first.name) {
        None => Reason::Template,
        Some(_) if listed.contains(&first.name) => Reason::Base,
        Some(_) => Reason::Essential,
    };
    Some(told(resolution, package, &chain, reason))
}

fn find<'a>(resolution: &'a Resolution, name: &str) -> Option<&'a ResolvedPackage> {
    resolution.packages.iter().find(|package| is_called(package, name))
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
                DependencyKind::Recommends => "recommends",
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
            Some("recommends") => "recommends ",
            _ => "depends on ",
        };
    }
    Ok(())
}

fn absent(resolved: &Resolved, args: &WhyArgs) -> CommandError {
    let names = resolved.image.packages.iter().map(|package| package.name.as_str());
    let error = CommandError::failed(format!(
        "{} is not among the {} packages of this image",
        args.package,
        resolved.image.packages.len()
    ));
    error.near(&args.package, names)
}
