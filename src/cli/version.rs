//! `oic version`.

use super::error::CommandError;

/// The version number alone.
pub const SHORT: &str = env!("CARGO_PKG_VERSION");

/// Prints name and version.
pub fn print() -> Result<(), CommandError> {
    super::error::print_line(&format!("oic {SHORT}"))
}
