//! Keys of repositories that the user trusts: `--trust-key`, and the file that remembers it.

use std::path::{Path, PathBuf};

use crate::durable;

use super::error::CommandError;

/// The file below the home directory: a fingerprint on each line.
const FILE: &str = ".config/oic/trusted-keys";
/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Returns the fingerprints in the user's file and those of `new`, upper-case; adds the latter to the file.
///
/// # Errors
/// If a fingerprint is none, or the file cannot be read or written.
pub fn keys(home: Option<&Path>, new: &[String]) -> Result<Vec<String>, CommandError> {
    let file = home.map(|home| home.join(FILE));
    let mut known = file.as_deref().map_or_else(|| Ok(Vec::new()), read)?;
    let before = known.len();
    for text in new {
        let fingerprint: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let fingerprint = fingerprint.to_ascii_uppercase();
        if !is_fingerprint(&fingerprint) {
            let message = format!("--trust-key: {text:?} is no fingerprint of 40 or 64 hexadecimal digits");
            return Err(CommandError::usage(message));
        }
        if !known.contains(&fingerprint) {
            known.push(fingerprint);
        }
    }
    if known.len() > before
        && let Some(file) = file
    {
        remember(&file, &known)?;
    }
    Ok(known)
}

fn is_fingerprint(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Reads the file; one that does not exist has no fingerprints. Lines that hold none are comments.
fn read(file: &Path) -> Result<Vec<String>, CommandError> {
    let unusable = |error: std::io::Error| CommandError::failed(format!("{}: {error}", file.display()));
    let opened = match durable::open_regular(file) {
        Ok(opened) => opened,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unusable(error)),
    };
    let bytes = durable::read_at_most(opened, MAX_BYTES).map_err(unusable)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.lines().map(|line| line.trim().to_ascii_uppercase());
    Ok(lines.filter(|line| is_fingerprint(line)).collect())
}

/// Writes the file whole, and makes its directory.
fn remember(file: &Path, known: &[String]) -> Result<(), CommandError> {
    let directory = file.parent().map_or_else(PathBuf::new, Path::to_owned);
    std::fs::create_dir_all(&directory).map_err(durable::PathError::on("create", &directory))?;
    let header = "# Keys of repositories that you trust (oic --trust-key); remove a line to trust it no more.\n";
    Ok(durable::write_file(file, format!("{header}{}\n", known.join("\n")))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_trusted_once_stays_so() {
        let home = tempfile::tempdir().unwrap();
        let fingerprint = "0123 4567 89ab cdef 0123  4567 89ab cdef 0123 4567".to_owned();
        let plain = "0123456789ABCDEF0123456789ABCDEF01234567".to_owned();
        assert!(keys(Some(home.path()), &[]).unwrap().is_empty());
        let given = [fingerprint];
        for _ in 0..2 {
            let known = keys(Some(home.path()), &given).unwrap();
            assert_eq!(known, std::slice::from_ref(&plain));
        }
        assert_eq!(keys(Some(home.path()), &[]).unwrap(), [plain]);
        assert!(keys(Some(home.path()), &["0123".to_owned()]).is_err());
        assert!(keys(None, &[]).unwrap().is_empty());
    }
}
