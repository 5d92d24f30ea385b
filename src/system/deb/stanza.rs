//! What a package file says of itself, for the index that apt reads during an installation.
//!
//! Always from the file, never from a repository's index: an index may state another priority, apt's order depends on
//! it, and a lockfile must give the same image when the index is gone.

use std::path::Path;

use crate::archive::deb::Deb;
use crate::package::ResolvedPackage;

use crate::system::error::SystemError;

/// Reads the control file of the package at `path`, one paragraph.
///
/// # Errors
/// If the package is damaged, or its control file is no single paragraph.
pub(super) fn control(path: &Path) -> Result<String, SystemError> {
    let bad = |reason: &str| SystemError::package(path, reason);
    let control = Deb::open(path)?
        .control_file("control")?
        .ok_or_else(|| bad("has no control file"))?;
    // dpkg takes any bytes in names of people and descriptions; what oic reads of it is checked by itself.
    let control = String::from_utf8_lossy(&control);
    let control = control.trim();
    if control.lines().any(|line| line.trim().is_empty()) {
        return Err(bad("has a control file of several paragraphs"));
    }
    Ok(control.to_owned())
}

/// Gives `package` with the stanza of its `file`.
///
/// # Errors
/// As [`control`].
pub(super) fn complete(package: &ResolvedPackage, file: &Path) -> Result<ResolvedPackage, SystemError> {
    let control = control(file)?;
    let mut package = package.clone();
    let (size_bytes, field) = (package.size_bytes, package.checksum.algorithm().field());
    package.stanza = format!("{control}\nSize: {size_bytes}\n{field}: {}\n", package.checksum);
    Ok(package)
}
