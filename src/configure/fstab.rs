//! `/etc/fstab` (fstab(5)).

use std::fmt::Write as _;

use super::error::one_line;
use super::{ConfigureError, Context};

const HEADER: &str = "# <file system> <mount point> <type> <options> <dump> <pass>\n";

/// A line of fstab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FstabEntry {
    /// First field, such as `PARTUUID=…`.
    pub source: String,
    /// Absolute path; `none` for swap.
    pub mount_point: String,
    /// Third field, as `FileSystem::fstab_type` gives it.
    pub fs_type: String,
    /// Fourth field; empty means `defaults`.
    pub options: String,
    /// Sixth field: 1 for the root file system, 2 for others that fsck checks, else 0.
    pub pass: u8,
}

/// Writes the file and makes the mount points.
pub(super) fn write(context: &Context<'_>) -> Result<(), ConfigureError> {
    for entry in context.request.fstab {
        if entry.mount_point.starts_with('/') {
            context.root.create_directory(&entry.mount_point)?;
        }
    }
    Ok(context.root.write("/etc/fstab", text(context.request.fstab)?, 0o644)?)
}

/// Gives the content of the file for `entries`.
///
/// # Errors
/// [`ConfigureError::BadText`] if a value does not fit into a line.
pub fn text(entries: &[FstabEntry]) -> Result<String, ConfigureError> {
    let mut text = HEADER.to_owned();
    for entry in entries {
        let options = if entry.options.is_empty() {
            "defaults"
        } else {
            &entry.options
        };
        let fields = [
            field(&entry.source)?,
            field(&entry.mount_point)?,
            field(&entry.fs_type)?,
            field(options)?,
        ];
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{} 0 {}", fields.join(" "), entry.pass);
    }
    Ok(text)
}

/// Gives a field with its blanks escaped (getmntent(3)).
fn field(value: &str) -> Result<String, ConfigureError> {
    let value = one_line("disk.partitions", value, "/etc/fstab")?;
    Ok(value.replace('\\', "\\134").replace(' ', "\\040").replace('#', "\\043"))
}
