//! `oic cache verify`.

use clap::Args;

use crate::cli::environment::{Environment, processors};
use crate::cli::error::{CommandError, print_line, print_versioned};
use crate::cli::interrupt::Interrupt;
use crate::cli::{Format, progress, words};
use crate::store::Store;
use crate::store::verify::{self, Verified};
use crate::work::Work;

use super::OnlyArgs;

/// Hash everything and list what is damaged
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic cache verify             packages, metadata, bases, step layers, images and all records of them
  oic cache verify --repair    remove what is bad; the next build fetches or makes it again

A build verifies what it copies, and makes again what is damaged. But it trusts a package that it has verified
before, and what an image has already, if they were not written to since; this finds the disk's own errors
there, too. Exit code 1 if something bad stays.")]
pub struct VerifyArgs {
    #[command(flatten)]
    only: OnlyArgs,
    /// Remove what is damaged
    #[arg(long)]
    repair: bool,
    /// How the result is printed
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Verifies and prints.
pub fn run(
    environment: &Environment,
    store: &Store,
    args: &VerifyArgs,
    interrupt: &Interrupt,
) -> Result<(), CommandError> {
    let cancel = interrupt.cancel();
    let only = args.only.checked(environment, store)?;
    let progress = progress::for_stderr();
    let work = Work {
        progress: &*progress,
        cancel: &cancel,
        threads: processors(),
    };
    let verified = verify::verify(store, only, args.repair, work)?;
    match args.format {
        Format::Json => print_versioned(&verified)?,
        Format::Text => print(&verified)?,
    }
    match verified.bad.iter().filter(|bad| !bad.repaired).count() {
        0 => Ok(()),
        count => {
            let things = if count == 1 { "thing is" } else { "things are" };
            let error = CommandError::verdict(1, "error", format!("{count} {things} bad"));
            Err(error.hint(Some(
                "oic cache verify --repair removes what is bad; the next build makes it again",
            )))
        }
    }
}

fn print(verified: &Verified) -> Result<(), CommandError> {
    for bad in &verified.bad {
        let state = if bad.repaired { "repaired" } else { "bad" };
        print_line(&format!("{state}: {}: {}", bad.path.display(), bad.problem))?;
        for file in &bad.files {
            print_line(&format!("  cannot be read: {file}"))?;
        }
    }
    for path in &verified.unknown {
        print_line(&format!("unknown: {}: no digest is on record", path.display()))?;
    }
    for path in &verified.strange {
        print_line(&format!("strange: {}: oic has not made it", path.display()))?;
    }
    print_line(&format!(
        "verified {} packages, {} repository indexes, {} snapshot members and {} step layers: {} read",
        verified.packages,
        verified.indexes,
        verified.members,
        verified.layers,
        words::size(verified.bytes)
    ))
}
