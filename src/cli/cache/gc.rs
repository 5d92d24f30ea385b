//! `oic cache gc`.

use std::time::{Duration, SystemTime};

use clap::{ArgGroup, Args};

use crate::cli::environment::Environment;
use crate::cli::error::{CommandError, print_line, print_versioned};
use crate::cli::interrupt::Interrupt;
use crate::cli::{Format, words};
use crate::store::Store;
use crate::store::gc::{self, Collected, Kind, Policy};

use super::OnlyArgs;

/// Remove what has been unused for the longest time
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("limit").args(["max_size", "unused_for"]).multiple(true).required(true))]
#[command(after_help = "\
Examples:
  oic cache gc --unused-for 180d          packages and bases that no build used for half a year
  oic cache gc --max-size 40G             the least recently used ones, until the rest fits
  oic cache gc --images --unused-for 5d   also images that were built more than five days ago
  oic cache gc --max-size 40G --dry-run   only tell

What the lockfile of an image names stays, and the base that its upper or a writable layer of
oic mount belongs to. A provider whose build is running is passed over. For a cache that hosts share, one host is enough: builds
note what they use in the cache itself.")]
pub struct GcArgs {
    /// Remove until what remains takes no more than this, such as 40G or 500MiB
    #[arg(long, value_name = "SIZE", value_parser = words::parse_size)]
    max_size: Option<u64>,
    /// Remove what was not used for this long, such as 12h, 30d or 8w
    #[arg(long, value_name = "TIME", value_parser = words::parse_duration)]
    unused_for: Option<Duration>,
    /// Images, too, by the time of their build
    #[arg(long, requires = "unused_for")]
    images: bool,
    #[command(flatten)]
    only: OnlyArgs,
    /// Only show what would be removed
    #[arg(long)]
    dry_run: bool,
    /// How the result is printed
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Removes and prints.
pub fn run(environment: &Environment, store: &Store, args: &GcArgs, interrupt: &Interrupt) -> Result<(), CommandError> {
    let policy = Policy {
        max_bytes: args.max_size,
        unused_for: args.unused_for,
        images: args.images,
        dry_run: args.dry_run,
        now: SystemTime::now(),
    };
    let only = args.only.checked(environment, store)?;
    let collected = gc::collect(store, &policy, only, &interrupt.cancel())?;
    match args.format {
        Format::Json => print_versioned(&collected),
        Format::Text => print(&collected, args),
    }
}

fn print(collected: &Collected, args: &GcArgs) -> Result<(), CommandError> {
    let verb = if args.dry_run { "would remove" } else { "removed" };
    for item in &collected.removed {
        let kind = match item.kind {
            Kind::Package => "package",
            Kind::Resolution => "resolution",
            Kind::Layer => "step layer",
            Kind::Tarball => "tarball",
            Kind::Base => "base",
            Kind::State => "raw state",
            Kind::Image => "image",
        };
        let (size, used) = (words::size(item.size.disk_bytes), words::ago(item.last_used));
        print_line(&format!("{verb} {size:>10}  {kind}  {}  ({used})", item.path.display()))?;
    }
    for skipped in &collected.skipped {
        print_line(&format!("passed over {}: {}", skipped.provider, skipped.reason))?;
    }
    print_line(&format!(
        "{verb} {}; {} stay, {} of it because images need it",
        words::size(collected.bytes_before.saturating_sub(collected.bytes_after)),
        words::size(collected.bytes_after),
        words::size(collected.protected_bytes)
    ))?;
    if args.max_size.is_some_and(|max| collected.bytes_after > max) {
        print_line("that is still more than --max-size; oic cache clean --images removes images")?;
    }
    Ok(())
}
