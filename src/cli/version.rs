//! `oic version`.

use clap::Args;
use serde::Serialize;

use super::Format;
use super::error::{CommandError, print_line, print_versioned};
use crate::date;

/// The version number alone.
pub const SHORT: &str = env!("CARGO_PKG_VERSION");
/// The commit it was built from, or `unknown`; see `build.rs`.
const COMMIT: &str = env!("OIC_BUILD_COMMIT");
/// The time of the build, in seconds since 1970, or `unknown`; see `build.rs`.
const EPOCH: &str = env!("OIC_BUILD_EPOCH");

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
    build_date: String,
}

/// Gives the day of the build in UTC, as `2024-05-11`, or `unknown`.
fn build_date() -> String {
    match EPOCH.parse() {
        Ok(seconds) => date::civil(seconds).date().to_string(),
        Err(_) => EPOCH.to_owned(),
    }
}

/// Prints version, commit and build date.
pub fn run(args: &VersionArgs) -> Result<(), CommandError> {
    let build_date = build_date();
    match args.format {
        Format::Text => print_line(&format!("oic {SHORT} (commit {COMMIT}, built {build_date})")),
        Format::Json => print_versioned(&Version {
            version: SHORT,
            commit: COMMIT,
            build_date,
        }),
    }
}
