//! The index of a plain directory of `.rpm` packages, made in memory.

use std::fmt::Write as _;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use crate::cancel::Cancel;
use crate::durable::{self, PathError};
use crate::package::{RpmRecord, Sha256, Targets};
use crate::repo::rpm::{self, LoadedIndex};
use crate::repo::{Repository, Signed};
use crate::rpmfile::{RpmFileError, RpmHead, Tag};
use crate::secrets::Contents;

use crate::system::directory;
use crate::system::error::SystemError;

/// The flag of a file that a package owns but does not bring (`RPMFILE_GHOST`).
const GHOST: u64 = 1 << 6;

/// Reads the headers of the packages below `directory`, or of those that `repository` names.
///
/// # Errors
/// If `repository` is neither declared trusted nor has a key that the packages are signed with (nothing
/// signs the directory), or a package is damaged.
pub(super) fn load(
    repository: &Repository,
    directory: &Path,
    targets: Targets<'_>,
    cancel: &Cancel,
) -> Result<LoadedIndex, SystemError> {
    let signed = repository.signed == Signed::Packages && !repository.keys.is_empty();
    if !repository.trusted && !signed {
        return Err(directory::unsigned(repository, directory));
    }
    let id: Arc<str> = repository.id.as_str().into();
    let mut records = Vec::new();
    let mut digests = String::new();
    for package in directory::packages(repository, directory, "rpm", cancel)? {
        cancel.check()?;
        let file = &package.file;
        let place = rpm::local::Place {
            path: package.name.clone(),
            size_bytes: file.size_bytes,
            checksum: file.sha256.into(),
            repository: Arc::clone(&id),
            priority: repository.priority,
        };
        // Writing to a String cannot fail.
        let _ = writeln!(digests, "{} {}", file.sha256, place.path);
        let record = record(&file.path, &place).map_err(|error| package.explain(error))?;
        records.extend(Some(record).filter(|record| rpm::is_wanted(record, repository, targets.native)));
    }
    let mut index: LoadedIndex = directory::index(repository, directory, records, Sha256::of(digests));
    index.release.suite.clear();
    Ok(index)
}

/// Reads the files and scripts of the package at `path`.
///
/// # Errors
/// If it is damaged.
pub(super) fn contents(path: &Path) -> Result<Contents, SystemError> {
    let bad = |error: RpmFileError| SystemError::package(path, format!("cannot be used: {error}"));
    let head = head(path)?;
    let text = |tag| head.header.string(tag).map(Option::unwrap_or_default).map_err(bad);
    let scripts = [Tag::PRE_IN, Tag::POST_IN, Tag::POST_TRANS].map(text);
    let scripts: Result<Vec<&str>, SystemError> = scripts.into_iter().collect();
    let flags = head.header.numbers(Tag::FILE_FLAGS).map_err(bad)?;
    let files = head.paths().map_err(bad)?.into_iter().zip(flags);
    // A ghost belongs to the package, but is made by its scripts or programs.
    let brought = files.filter(|(_, flags)| flags & GHOST == 0);
    Ok(Contents {
        package: text(Tag::NAME)?.to_owned(),
        files: brought.map(|(path, _)| path).collect(),
        scripts: scripts?.join("\n"),
    })
}

/// Reads the header of the package at `path`; the record gives `place` as its place.
fn record(path: &Path, place: &rpm::local::Place) -> Result<RpmRecord, SystemError> {
    let bad = |error: RpmFileError| SystemError::package(path, format!("cannot be used: {error}"));
    rpm::local::record(&head(path)?, place).map_err(bad)
}

fn head(path: &Path) -> Result<RpmHead, SystemError> {
    let file = durable::open_regular(path).map_err(PathError::on("open", path))?;
    let bad = |error: RpmFileError| SystemError::package(path, format!("cannot be used: {error}"));
    RpmHead::read(&mut BufReader::new(file)).map_err(bad)
}
