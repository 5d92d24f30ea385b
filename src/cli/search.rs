//! `oic search` and `oic show`: what the repositories offer.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::sync::Arc;

use clap::{Args, ValueHint};
use serde::Serialize;

use crate::package::glob;
use crate::pipeline;
use crate::system::{Catalogue, Offered};

use super::error::{CommandError, print_line, print_versioned};
use super::interrupt::Interrupt;
use super::templates::RepositoryArgs;
use super::{Format, GlobalOptions, words};

/// Search the packages that a template or a provider can have
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic search nginx                                in names and summaries, for the sample template
  oic search 'linux-image-*' my-template.yml      names that match a pattern
  oic search ssh ubuntu-ubuntu24-x86_64           in what a provider offers
  oic search ssh my-template.yml --offline        with the metadata that is cached

Metadata is verified as for a build; nothing else is fetched, and no root is needed.")]
pub struct SearchArgs {
    /// Part of a name or summary, without regard to case; with *, ? or [ a pattern for whole names
    pattern: String,
    #[command(flatten)]
    asked: Asked,
}

/// Show what the repositories say of a package
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic show openssh-server                         all versions, for the sample template
  oic show openssh-server my-template.yml         with the repositories of a template
  oic show bash azure-linux-azl3-x86_64           in what a provider offers
  oic show bash my-template.yml --format json     for machines

The newest version comes first. Which of them an image gets: oic why, oic lock.")]
pub struct ShowArgs {
    /// Name of the package
    package: String,
    #[command(flatten)]
    asked: Asked,
}

/// The repositories that are asked, and the form of the answer.
#[derive(Debug, Args)]
struct Asked {
    /// Template file, the name of a template that oic brings, or provider id ({os}-{dist}-{arch})
    #[arg(value_hint = ValueHint::FilePath, default_value = "debian13-x86_64-minimal")]
    subject: OsString,
    #[command(flatten)]
    repositories: RepositoryArgs,
    /// How the answer is printed
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Serialize)]
struct Answer {
    packages: Vec<Offered>,
}

/// Finds packages and prints the newest version of each.
pub fn search(global: &GlobalOptions, args: &SearchArgs, interrupt: &Interrupt) -> Result<(), CommandError> {
    let catalogue = args.asked.catalogue(global, interrupt)?;
    let packages = found(&*catalogue, &args.pattern);
    if packages.is_empty() {
        let error = CommandError::failed(format!("no package has {:?} in its name or summary", args.pattern));
        return Err(error.near(&args.pattern, catalogue.names()));
    }
    match args.asked.format {
        Format::Json => print_versioned(&Answer { packages }),
        Format::Text => packages.iter().try_for_each(|package| print_line(&line(package))),
    }
}

/// Prints all versions of a package.
pub fn show(global: &GlobalOptions, args: &ShowArgs, interrupt: &Interrupt) -> Result<(), CommandError> {
    let catalogue = args.asked.catalogue(global, interrupt)?;
    let packages = catalogue.offered(&|name, _| name == args.package);
    if packages.is_empty() {
        let error = CommandError::failed(format!("no repository has a package {:?}", args.package));
        return Err(error.near(&args.package, catalogue.names()));
    }
    match args.asked.format {
        Format::Json => print_versioned(&Answer { packages }),
        Format::Text => {
            let texts: Vec<String> = packages.iter().map(text).collect();
            print_line(texts.join("\n").trim_end())
        }
    }
}

impl Asked {
    /// Verifies and loads the metadata.
    fn catalogue(&self, global: &GlobalOptions, interrupt: &Interrupt) -> Result<Arc<dyn Catalogue>, CommandError> {
        self.repositories
            .ask(global, &self.subject, interrupt, pipeline::catalogue)
    }
}

/// Finds the newest version of each package that `pattern` means, sorted by name.
fn found(catalogue: &dyn Catalogue, pattern: &str) -> Vec<Offered> {
    let word = pattern.to_lowercase();
    let mut packages = match glob::is_pattern(pattern) {
        true => catalogue.offered(&|name, _| glob::matches(pattern, name)),
        false => catalogue
            .offered(&|name, summary| name.to_lowercase().contains(&word) || summary.to_lowercase().contains(&word)),
    };
    packages.dedup_by(|next, newest| next.name == newest.name);
    packages
}

/// Gives the line of a package in a list.
fn line(package: &Offered) -> String {
    let Offered {
        name, version, summary, ..
    } = package;
    match summary.is_empty() {
        true => format!("{name} {version}"),
        false => format!("{name} {version} - {summary}"),
    }
}

/// Gives all fields of a package, one per line.
fn text(package: &Offered) -> String {
    let mut text = String::new();
    let mut field = |name: &str, value: &str| {
        let value = value.trim().replace('\n', "\n    ");
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name}: {value}");
    };
    field("Package", &package.name);
    field("Version", &package.version);
    field("Architecture", &package.architecture);
    field("Repository", &package.repository);
    field("Size", &words::size(package.size_bytes));
    field("Installed size", &words::size(package.installed_size_bytes));
    if !package.summary.is_empty() {
        field("Summary", &package.summary);
    }
    for detail in &package.details {
        field(detail.name, &detail.value);
    }
    text
}
