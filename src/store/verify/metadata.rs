//! Verification of the other files of the package cache: repository indexes, resolutions and records.

use std::cell::Cell;
use std::fs;
use std::io;
use std::path::Path;

use super::{Bad, Verified, read_all};
use crate::cancel::Cancel;
use crate::package::Checksum;
use crate::resolve::memo::Memo;
use crate::store::StoreError;
use crate::store::inventory::Provider;
use crate::store::measure::list;
use crate::{cache, repo};

const CHANGED: &str = "its content is not what its checksum says";

/// Verifies the indexes, resolutions and records of `provider`.
pub(super) fn metadata(provider: &Provider, verified: &mut Verified, cancel: &Cancel) -> Result<(), StoreError> {
    indexes(provider, verified, cancel)?;
    resolutions(provider, verified, cancel)?;
    for path in cache::damaged_records(provider.workspace.package_cache()) {
        verified.bad.push(Bad::file(provider, path, CHANGED.to_owned()));
    }
    Ok(())
}

/// Verifies repository indexes, which are named after their digests: `Packages.{sha256}.xz`. The pointer to the current
/// ones has a checksum.
fn indexes(provider: &Provider, verified: &mut Verified, cancel: &Cancel) -> Result<(), StoreError> {
    for directory in list(&provider.workspace.metadata())? {
        if !directory.is_dir() || directory == provider.workspace.resolutions() {
            continue;
        }
        for path in list(&directory)? {
            if path.ends_with(repo::POINTER) {
                pointer(provider, &path, verified);
                continue;
            }
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Some(expected) = name
                .split('.')
                .nth(1)
                .and_then(|digest| digest.parse::<Checksum>().ok())
            else {
                continue;
            };
            let bytes = Cell::new(0);
            let mut hasher = expected.algorithm().hasher();
            let read = |chunk: &[u8]| {
                bytes.set(bytes.get() + chunk.len() as u64);
                hasher.update(chunk);
            };
            match read_all(&path, cancel, read) {
                // A build has fetched a newer one.
                Err(StoreError::Path(error)) if error.source.kind() == io::ErrorKind::NotFound => continue,
                done => done?,
            }
            let found = hasher.finish();
            verified.bytes = verified.bytes.saturating_add(bytes.get());
            if found == expected {
                verified.indexes += 1;
            } else {
                let problem = format!("it has the {} {found}, not that in its name", found.algorithm());
                verified.bad.push(Bad::file(provider, path, problem));
            }
        }
    }
    Ok(())
}

/// Verifies the pointer to the current indexes of a repository.
fn pointer(provider: &Provider, path: &Path, verified: &mut Verified) {
    // A pointer that cannot be read is of no use either; one that a build replaces always exists.
    if !fs::read(path).is_ok_and(|text| repo::is_pointer(&text)) {
        verified
            .bad
            .push(Bad::file(provider, path.to_owned(), CHANGED.to_owned()));
    }
}

/// Verifies remembered resolutions, which have a checksum.
fn resolutions(provider: &Provider, verified: &mut Verified, cancel: &Cancel) -> Result<(), StoreError> {
    for (path, _) in Memo::new(provider.workspace.resolutions()).list()? {
        cancel.check()?;
        match Memo::read(&path) {
            Ok(Some(_)) => {}
            Ok(None) => {
                let problem = CHANGED.to_owned();
                verified.bad.push(Bad::file(provider, path, problem));
            }
            // A build has removed it.
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
