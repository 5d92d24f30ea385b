//! `oic audit`.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum, ValueHint};
use serde::Serialize;

use crate::audit::{self, DATABASE_BYTES_MAX, Finding, Severity, System};
use crate::resolve::lockfile::Lockfile;

use super::Format;
use super::error::{CommandError, print_line, print_versioned};
use super::place::PartitionArgs;
use super::tree;

/// The least severity that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Threshold {
    /// Every vulnerability but unimportant ones.
    Low,
    /// Medium ones, and those that nobody has rated.
    Medium,
    /// High ones.
    High,
    /// Critical ones.
    Critical,
    /// None.
    Never,
}

impl Threshold {
    /// Says whether a vulnerability of this severity fails.
    fn is_met(self, severity: Severity) -> bool {
        let least = match self {
            Self::Low => Severity::Low,
            Self::Medium => Severity::Unknown,
            Self::High => Severity::High,
            Self::Critical => Severity::Critical,
            Self::Never => return false,
        };
        severity >= least
    }
}

/// Find known vulnerabilities of the packages of an image or a lockfile, in a database that you have downloaded
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic audit image.raw --db debian-tracker.json         the JSON export of Debian's security tracker
  oic audit image.lock.json --db osv.json              entries of OSV: one, a list, or one on each line
  oic audit image.raw --db a.json --db b.json --fail-on critical

There is no network: the database is as new as the file.
Exit codes: 0 nothing as bad as --fail-on, 1 something is (or failed), 2 wrong use.")]
pub struct AuditArgs {
    /// Disk image, directory with a system, or lockfile
    #[arg(value_hint = ValueHint::AnyPath)]
    subject: PathBuf,
    /// Database of vulnerabilities, JSON; may be given several times
    #[arg(long, required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    db: Vec<PathBuf>,
    /// The least severity that fails
    #[arg(long, value_enum, default_value = "medium")]
    fail_on: Threshold,
    /// How the findings are printed
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    #[command(flatten)]
    chosen: PartitionArgs,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    subject: String,
    packages: usize,
    findings: &'a [Finding],
}

/// Audits and prints.
pub fn run(args: &AuditArgs) -> Result<(), CommandError> {
    let system = system(args)?;
    let mut findings = Vec::new();
    for path in &args.db {
        let content = read(path, DATABASE_BYTES_MAX)?;
        findings.extend(audit::audit(&system, &content).map_err(|error| failed(path, &error))?);
    }
    findings.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.cmp(b)));
    findings.dedup();
    match args.format {
        Format::Json => print_versioned(&Report {
            subject: args.subject.display().to_string(),
            packages: system.packages.len(),
            findings: &findings,
        })?,
        Format::Text => {
            findings.iter().try_for_each(line)?;
            print_line(&format!(
                "{} packages, {} known vulnerabilities",
                system.packages.len(),
                findings.len()
            ))?;
        }
    }
    match findings.iter().filter(|one| args.fail_on.is_met(one.severity)).count() {
        0 => Ok(()),
        count => Err(CommandError::verdict(
            1,
            "vulnerable",
            format!("{count} vulnerabilities count"),
        )),
    }
}

fn failed(path: &Path, error: &dyn std::fmt::Display) -> CommandError {
    CommandError::failed(format!("{}: {error}", path.display()))
}

/// Reads the file at `path`, of at most `limit_bytes`.
fn read(path: &Path, limit_bytes: u64) -> Result<Vec<u8>, CommandError> {
    let file = std::fs::File::open(path).map_err(|error| failed(path, &error))?;
    let mut content = Vec::new();
    let count = file
        .take(limit_bytes + 1)
        .read_to_end(&mut content)
        .map_err(|error| failed(path, &error))?;
    match count as u64 > limit_bytes {
        true => Err(failed(path, &"it is too large")),
        false => Ok(content),
    }
}

fn system(args: &AuditArgs) -> Result<System, CommandError> {
    let path = &args.subject;
    let is_json = path.is_file() && path.extension().is_some_and(|end| end == "json");
    if is_json {
        let content = read(path, DATABASE_BYTES_MAX)?;
        let lockfile = Lockfile::from_json(&content).map_err(|error| failed(path, &error).advise(error.hint()))?;
        return Ok(System::of_lockfile(&lockfile));
    }
    let layer = tree::open(path, args.chosen.partition.as_deref())?;
    System::of_tree(&*layer).map_err(|error| failed(path, &error))
}

fn line(finding: &Finding) -> Result<(), CommandError> {
    let fixed = match finding.fixed.is_empty() {
        true => "no repaired version".to_owned(),
        false => format!("repaired in {}", finding.fixed),
    };
    let Finding {
        severity,
        id,
        package,
        version,
        ..
    } = finding;
    print_line(&format!("{:<11} {id} {package} {version}, {fixed}", severity.word()))
}
