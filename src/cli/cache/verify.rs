//! `oic cache verify`.

use clap::Args;

use crate::cli::environment::Environment;
use crate::cli::error::{CommandError, print_line, print_versioned};
use crate::cli::{Format, interrupt, progress, words};
use crate::store::Store;
use crate::store::verify::{self, Verified};

use super::{OnlyArgs, failed};

/// Hash everything and name what is bad
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic cache verify             packages, repository indexes, snapshots, backing stores
  oic cache verify --repair    remove what is bad; the next build fetches or makes it again

A build verifies what it uses, but trusts a package that it has verified before and that was not
written to since; this finds the disk's own errors, too. Exit code 1 if something bad stays.")]
pub struct VerifyArgs {
    #[command(flatten)]
    only: OnlyArgs,
    /// Remove what is bad
    #[arg(long)]
    repair: bool,
    /// How the result is printed
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Verifies and prints.
pub fn run(environment: &Environment, store: &Store, args: &VerifyArgs) -> Result<(), CommandError> {
    let cancel = interrupt::install().map_err(CommandError::failed)?;
    let only = args.only.checked(environment, store)?;
    let progress = progress::for_stderr();
    let verified = verify::verify(store, only, args.repair, &*progress, &cancel).map_err(failed)?;
    match args.format {
        Format::Json => print_versioned(&verified)?,
        Format::Text => print(&verified)?,
    }
    match verified.bad.iter().filter(|bad| !bad.repaired).count() {
        0 => Ok(()),
        count => {
            let things = if count == 1 { "thing is" } else { "things are" };
            let error = CommandError::failed(format!("{count} {things} bad"));
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
    print_line(&format!(
        "verified {} packages, {} repository indexes, {} snapshot members and {} step layers: {} read",
        verified.packages,
        verified.indexes,
        verified.members,
        verified.layers,
        words::size(verified.bytes)
    ))
}
