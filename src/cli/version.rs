//! `oic version`.

use clap::Args;
use serde::Serialize;

use super::Format;
use super::error::{CommandError, print_line, print_versioned};

/// The version number alone.
pub const SHORT: &str = env!("CARGO_PKG_VERSION");
/// The commit it was built from, or `unknown`; see `build.rs`.
const COMMIT: &str = env!("OIC_BUILD_COMMIT");
/// The day it was built on, or `unknown`.
const DATE: &str = env!("OIC_BUILD_DATE");

/// Print version, commit and build date
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic version
  oic version --format json
  oic --version                  the number alone")]
pub struct VersionArgs {
    /// How it is printed
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Serialize)]
struct Version {
    version: &'static str,
    commit: &'static str,
    build_date: &'static str,
}

/// Prints it.
pub fn run(args: &VersionArgs) -> Result<(), CommandError> {
    match args.format {
        Format::Text => print_line(&format!("oic {SHORT} (commit {COMMIT}, built {DATE})")),
        Format::Json => print_versioned(&Version {
            version: SHORT,
            commit: COMMIT,
            build_date: DATE,
        }),
    }
}
