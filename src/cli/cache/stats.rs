//! `oic cache stats`.

use std::path::Path;

use clap::Args;
use serde::Serialize;

use crate::cli::environment::Environment;
use crate::cli::error::{CommandError, print_line, print_versioned};
use crate::cli::{Format, words};
use crate::store::Store;
use crate::store::stats::{self, ProviderStats, Stats, Total};

use super::OnlyArgs;

/// Show what there is, and how much it takes
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic cache stats                                    for people
  oic cache stats --format json                      for machines
  oic cache stats --warn-above 40G --crit-above 80G  for monitoring

The limits hold for the cache directory and for the work directory, each by itself, and count
bytes on disk, as du does. Exit codes: 0 below the limits, 1 above the first, 2 above the second
(or wrong use).")]
pub struct StatsArgs {
    #[command(flatten)]
    only: OnlyArgs,
    /// End with exit code 1 if one of the two directories takes more than this
    #[arg(long, value_name = "SIZE", value_parser = words::parse_size)]
    warn_above: Option<u64>,
    /// End with exit code 2 if one of the two directories takes more than this
    #[arg(long, value_name = "SIZE", value_parser = words::parse_size)]
    crit_above: Option<u64>,
    /// How the numbers are printed
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    Warning,
    Critical,
}

#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    stats: &'a Stats,
    status: Status,
}

/// Measures, prints and compares.
pub fn run(environment: &Environment, store: &Store, args: &StatsArgs) -> Result<(), CommandError> {
    let stats = stats::stats(store, args.only.checked(environment, store)?)?;
    let alerts = [alert("cache", &stats.cache, args), alert("work", &stats.work, args)];
    let status = alerts.iter().flatten().map(|(status, _)| *status).max();
    let status = status.unwrap_or(Status::Ok);
    match args.format {
        Format::Json => print_versioned(&Report { stats: &stats, status })?,
        Format::Text => table(&stats).iter().try_for_each(|line| print_line(line))?,
    }
    let lines: Vec<String> = alerts.into_iter().flatten().map(|(_, line)| line).collect();
    match status {
        Status::Ok => Ok(()),
        Status::Warning => Err(CommandError::verdict(1, "warning", lines.join("\n"))),
        Status::Critical => Err(CommandError::verdict(2, "critical", lines.join("\n"))),
    }
}

fn alert(name: &str, total: &Total, args: &StatsArgs) -> Option<(Status, String)> {
    let taken = total.size.disk_bytes;
    let limits = [(Status::Critical, args.crit_above), (Status::Warning, args.warn_above)];
    let (status, limit) = limits
        .into_iter()
        .find_map(|(status, limit)| Some((status, limit.filter(|limit| taken > *limit)?)))?;
    let line = format!(
        "the {name} directory {} takes {}, more than {}",
        total.directory.display(),
        words::size(taken),
        words::size(limit)
    );
    Some((status, line))
}

fn table(stats: &Stats) -> Vec<String> {
    let mut lines: Vec<String> = stats.providers.iter().flat_map(provider).collect();
    if stats.tarballs.count > 0 {
        let (count, bytes) = (stats.tarballs.count, stats.tarballs.size.disk_bytes);
        lines.push(row(
            "tarballs",
            Some(count),
            bytes,
            "indexed and unpacked for oic mount TARBALL",
        ));
        lines.push(String::new());
    }
    let total = |name: &str, total: &Total| row(name, None, total.size.disk_bytes, &shown(&total.directory));
    lines.push(total("cache directory", &stats.cache));
    lines.push(total("work directory", &stats.work));
    lines
}

fn provider(stats: &ProviderStats) -> Vec<String> {
    let used = stats
        .last_used
        .map_or_else(String::new, |seconds| format!("  last used {}", words::ago(seconds)));
    let mut lines = vec![format!("{}{used}", stats.provider)];
    let packages = stats.packages;
    lines.push(row("  packages", Some(packages.files), packages.disk_bytes, ""));
    lines.push(row("  metadata", None, stats.metadata.disk_bytes, ""));
    lines.push(row("  snapshot", None, stats.snapshot.disk_bytes, ""));
    lines.push(row(
        "  backing store",
        None,
        stats.backing_store.disk_bytes,
        "unpacked of the snapshot",
    ));
    lines.push(row(
        "  step layers",
        Some(stats.layers.count),
        stats.layers.size.disk_bytes,
        "",
    ));
    lines.push(row(
        "  mounts",
        None,
        stats.mounts.disk_bytes,
        "writable layers of oic mount",
    ));
    push_images(stats, &mut lines);
    if stats.leftovers.files > 0 {
        let note = "of killed processes, or of running ones";
        let leftovers = stats.leftovers;
        lines.push(row("  leftovers", Some(leftovers.files), leftovers.disk_bytes, note));
    }
    if stats.strange.files > 0 {
        let strange = stats.strange;
        lines.push(row(
            "  strange",
            Some(strange.files),
            strange.disk_bytes,
            "not made by oic",
        ));
    }
    lines.push(String::new());
    lines
}

/// Adds the lines of images, and of what belongs to them.
fn push_images(stats: &ProviderStats, lines: &mut Vec<String>) {
    let images: u64 = stats
        .images
        .iter()
        .fold(0, |sum, image| sum.saturating_add(image.size.disk_bytes));
    lines.push(row("  images", Some(stats.images.len() as u64), images, ""));
    lines.push(row(
        "    uppers",
        Some(stats.uppers.count),
        stats.uppers.size.disk_bytes,
        "part of the images",
    ));
    if stats.states.count > 0 {
        let (count, bytes) = (stats.states.count, stats.states.size.disk_bytes);
        let note = "part of the images: raw images that only the next build needs";
        lines.push(row("    raw states", Some(count), bytes, note));
    }
    for image in &stats.images {
        let built = format!("built {}", words::ago(image.built));
        lines.push(row(&format!("    {}", image.name), None, image.size.disk_bytes, &built));
    }
}

fn row(name: &str, count: Option<u64>, bytes: u64, note: &str) -> String {
    let count = count.map_or_else(String::new, |count| count.to_string());
    let line = format!("{name:<28} {count:>7} {:>12}  {note}", words::size(bytes));
    line.trim_end().to_owned()
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
