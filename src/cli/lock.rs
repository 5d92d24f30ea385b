//! `oic lock`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueHint};
use serde::Serialize;

use crate::durable::PathError;
use crate::resolve::lockfile::{Lockfile, label};

use super::Format;
use super::error::{CommandError, print_line, print_versioned};

/// Compare lockfiles
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic lock diff old.lock.json new.lock.json   which packages changed")]
pub struct LockArgs {
    #[command(subcommand)]
    command: LockCommand,
}

#[derive(Debug, Subcommand)]
enum LockCommand {
    Diff(DiffArgs),
}

/// Show which packages two lockfiles do not have in common; exit code 1 if there are any
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic lock diff old.lock.json new.lock.json

A build writes the lockfile beside its image; oic build --lock builds exactly what one says.
Exit codes: 0 the same packages, 1 others (or failed), 2 wrong use.")]
struct DiffArgs {
    /// The older lockfile
    #[arg(value_hint = ValueHint::FilePath)]
    a: PathBuf,
    /// The newer lockfile
    #[arg(value_hint = ValueHint::FilePath)]
    b: PathBuf,
    /// How the difference is printed
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Added,
    Removed,
    Changed,
    /// The same version, but another file.
    Rebuilt,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Change {
    /// `name:architecture`
    package: String,
    action: Action,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
}

#[derive(Serialize)]
struct Report {
    changes: Vec<Change>,
    unchanged: usize,
}

/// Runs the subcommand.
pub fn run(args: &LockArgs) -> Result<(), CommandError> {
    let LockCommand::Diff(args) = &args.command;
    let report = compare(&read(&args.a)?, &read(&args.b)?);
    match args.format {
        Format::Json => print_versioned(&report)?,
        Format::Text => lines(&report).iter().try_for_each(|line| print_line(line))?,
    }
    match report.changes.len() {
        0 => Ok(()),
        count => Err(CommandError::verdict(1, "different", format!("{count} packages"))),
    }
}

/// Reads the lockfile at `path`.
///
/// # Errors
/// If the file cannot be read or is no lockfile.
pub(super) fn read(path: &Path) -> Result<Lockfile, CommandError> {
    let text = std::fs::read(path).map_err(PathError::on("read", path))?;
    Lockfile::from_json(&text)
        .map_err(|error| CommandError::failed(format!("{}: {error}", path.display())).advise(error.hint()))
}

fn compare(a: &Lockfile, b: &Lockfile) -> Report {
    let by_label = |lockfile: &Lockfile| -> BTreeMap<String, _> {
        let packages = lockfile.packages.iter();
        packages
            .map(|package| (label(package), (package.version.clone(), package.checksum)))
            .collect()
    };
    let (old, new) = (by_label(a), by_label(b));
    let labels: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let total = labels.len();
    let change = |package: &String| {
        let (before, after) = (old.get(package), new.get(package));
        let action = match (before, after) {
            (None, _) => Action::Added,
            (_, None) => Action::Removed,
            (Some(before), Some(after)) if before == after => return None,
            (Some(before), Some(after)) if before.0 == after.0 => Action::Rebuilt,
            _ => Action::Changed,
        };
        Some(Change {
            package: package.clone(),
            action,
            before: before.map(|(version, _)| version.clone()),
            after: after.map(|(version, _)| version.clone()),
        })
    };
    let changes: Vec<Change> = labels.into_iter().filter_map(change).collect();
    Report {
        unchanged: total - changes.len(),
        changes,
    }
}

fn lines(report: &Report) -> Vec<String> {
    let mut lines: Vec<String> = report.changes.iter().map(line).collect();
    lines.push(format!(
        "{} changes, {} packages unchanged",
        report.changes.len(),
        report.unchanged
    ));
    lines
}

fn line(change: &Change) -> String {
    let version = |version: &Option<String>| version.clone().unwrap_or_default();
    let (before, after) = (version(&change.before), version(&change.after));
    let package = &change.package;
    match change.action {
        Action::Added => format!("A {package} {after}"),
        Action::Removed => format!("D {package} {before}"),
        Action::Changed => format!("M {package} {before} -> {after}"),
        Action::Rebuilt => format!("M {package} {after} (another file of the same version)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::{ResolvedPackage, Sha256};
    use crate::resolve::lockfile::Steps;

    fn lockfile(packages: &[(&str, &str, &str)]) -> Lockfile {
        let package = |(name, version, content): &(&str, &str, &str)| ResolvedPackage {
            name: (*name).into(),
            version: (*version).into(),
            architecture: "amd64".into(),
            repository: "r".into(),
            path: format!("{name}.deb"),
            size_bytes: 1,
            installed_size_bytes: 1,
            checksum: Sha256::of(content).into(),
            stanza: String::new(),
        };
        Lockfile {
            provider: "p".into(),
            repositories: vec![],
            requested: vec![],
            packages: packages.iter().map(package).collect(),
            steps: Steps::default(),
            recommended: Vec::new(),
            newest: None,
        }
    }

    #[test]
    fn every_kind_of_change_is_told() {
        let old = lockfile(&[
            ("bash", "5.1", "a"),
            ("dash", "1", "b"),
            ("gone", "1", "c"),
            ("same", "1", "d"),
        ]);
        let new = lockfile(&[
            ("same", "1", "d"),
            ("dash", "1", "B"),
            ("bash", "5.2", "e"),
            ("new", "2:1", "f"),
        ]);
        insta::assert_snapshot!(lines(&compare(&old, &new)).join("\n"), @r"
        M bash:amd64 5.1 -> 5.2
        M dash:amd64 1 (another file of the same version)
        D gone:amd64 1
        A new:amd64 2:1
        4 changes, 1 packages unchanged
        ");
        assert!(compare(&old, &old).changes.is_empty());
    }
}
