//! `SHA256SUMS`: the digests of delivered files, in the form of sha256sum(1), which systemd-sysupdate reads too
//! (sysupdate.d(5), "url-file").

use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::durable::{self, PathError};
use crate::package::Sha256;

/// The name of the file.
pub const SUMS_NAME: &str = "SHA256SUMS";

/// Writes the digests of `files`, which lie in `directory`, and returns the path of the list. Without any file there is
/// no list.
///
/// # Errors
/// If it cannot be written, or an older one not removed.
pub fn write_sums<'a>(
    directory: &Path,
    files: impl IntoIterator<Item = (&'a Path, Sha256)>,
) -> Result<Option<PathBuf>, PathError> {
    let path = directory.join(SUMS_NAME);
    let text = lines(files);
    if !text.is_empty() {
        durable::write_file(&path, text)?;
        return Ok(Some(path));
    }
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(PathError::on("remove", &path)(error)),
        _ => Ok(None),
    }
}

/// Returns a line for each file, by name: the digest in hexadecimal digits, two spaces, the name. Names of images have
/// no character that sha256sum(1) escapes.
fn lines<'a>(files: impl IntoIterator<Item = (&'a Path, Sha256)>) -> String {
    let names = files
        .into_iter()
        .filter_map(|(path, sha256)| Some((path.file_name()?.to_str()?, sha256)));
    let mut lines: Vec<_> = names.collect();
    lines.sort_unstable();
    lines.iter().fold(String::new(), |mut text, (name, sha256)| {
        let _ = writeln!(text, "{sha256}  {name}");
        text
    })
}
