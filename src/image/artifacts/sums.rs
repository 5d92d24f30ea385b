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
    write(directory.join(SUMS_NAME), &lines(files))
}

/// Takes the files out of the list in `directory` that are not there: a build takes the raw image of the build before,
/// to start from it.
///
/// # Errors
/// If the list cannot be read or written.
pub fn forget_missing(directory: &Path) -> Result<(), PathError> {
    let path = directory.join(SUMS_NAME);
    let bytes = match fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        read => read.map_err(PathError::on("read", &path))?,
    };
    let text = String::from_utf8_lossy(&bytes);
    let is_there = |line: &&str| {
        let name = line.split_once("  ").map(|(_, name)| name);
        name.is_some_and(|name| directory.join(name).exists())
    };
    let kept: String = text.lines().filter(is_there).flat_map(|line| [line, "\n"]).collect();
    if kept != text {
        write(path, &kept)?;
    }
    Ok(())
}

/// Writes the list `text` to `path`, and returns that; an empty list is removed.
fn write(path: PathBuf, text: &str) -> Result<Option<PathBuf>, PathError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_gone_is_not_listed_any_more() {
        let directory = tempfile::tempdir().unwrap();
        let [one, other] = ["one.raw", "other.raw.gz"].map(|name| directory.path().join(name));
        let list = || fs::read_to_string(directory.path().join(SUMS_NAME)).ok();
        forget_missing(directory.path()).unwrap();
        assert_eq!(list(), None);
        for path in [&one, &other] {
            fs::write(path, "x").unwrap();
        }
        let sums = [&one, &other].map(|path| (path.as_path(), Sha256::of("x")));
        write_sums(directory.path(), sums).unwrap();
        let all = list();
        forget_missing(directory.path()).unwrap();
        assert_eq!(list(), all);
        fs::remove_file(&one).unwrap();
        forget_missing(directory.path()).unwrap();
        assert_eq!(list(), Some(format!("{}  other.raw.gz\n", Sha256::of("x"))));
        fs::remove_file(&other).unwrap();
        forget_missing(directory.path()).unwrap();
        assert_eq!(list(), None);
    }
}
