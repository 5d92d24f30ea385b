//! Hashes everything, and names what is bad.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::Digest as _;

use crate::cache;
use crate::cancel::Cancel;
use crate::durable::{self, PathError};
use crate::layer::{self, ContentError, LayerStore};
use crate::package::{Checksum, Sha256};
use crate::progress::{Progress, Unit};
use crate::resolve::lockfile::Lockfile;
use crate::resolve::memo::Memo;
use crate::snapshot::foreign::{self, PrepareOptions};
use crate::snapshot::{Snapshot, SnapshotError, SnapshotPaths};

use super::inventory::{Provider, providers};
use super::measure::list;
use super::usage::{InUse, Removal};
use super::{Store, StoreError};

const BUFFER_BYTES: usize = 1 << 20;

/// What was found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Verified {
    /// Package files whose digest is the one on record.
    pub packages: u64,
    /// Repository indexes whose digest is the one in their name.
    pub indexes: u64,
    /// Package files that no record knows; a build verifies them before it uses them.
    #[serde(serialize_with = "super::lossy_list")]
    pub unknown: Vec<PathBuf>,
    /// Snapshot members that are right.
    pub members: u64,
    /// Step layers whose content is what it was when they were made.
    pub layers: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// What is bad.
    pub bad: Vec<Bad>,
}

/// Something bad.
#[derive(Debug, Clone, Serialize)]
pub struct Bad {
    /// Provider id.
    pub provider: String,
    /// The file.
    #[serde(serialize_with = "super::lossy")]
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: String,
    /// Some files of the base that cannot be read any more.
    pub files: Vec<String>,
    /// What was done about it, with `repair`.
    pub repaired: bool,
}

/// Verifies all providers, or `only`. With `repair`, bad files are removed: what needs them makes
/// or fetches them again.
///
/// # Errors
/// [`StoreError::InUse`] if there is something to repair while a build runs; if something cannot be read.
pub fn verify(
    store: &Store,
    only: Option<&str>,
    repair: bool,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Verified, StoreError> {
    let mut verified = Verified::default();
    for provider in providers(store, only)? {
        // So that nothing is removed meanwhile; without rights to lock, looking still tells something.
        let waiting = |by: &str| progress.note(&format!("waiting for {by}"));
        let in_use = InUse::claim(&provider.workspace, cancel, &waiting);
        let in_use = match in_use {
            Ok(lock) => Some(lock),
            Err(durable::LockError::Cancelled(error)) => return Err(error.into()),
            Err(durable::LockError::Path(error)) if repair => return Err(error.into()),
            Err(durable::LockError::Path(_)) => None,
        };
        let first_new = verified.bad.len();
        packages(&provider, &mut verified, progress, cancel)?;
        metadata(&provider, &mut verified, cancel)?;
        resolutions(&provider, &mut verified, cancel)?;
        let copies = snapshot(&provider, &mut verified, progress, cancel)?;
        layers(&provider, &mut verified, progress, cancel)?;
        drop(in_use);
        let bad = verified.bad.get_mut(first_new..).unwrap_or_default();
        if repair && !bad.is_empty() {
            let _lock = Removal::claim(&provider)?;
            if let Some((snapshot, members)) = copies {
                snapshot.forget_copies(&members)?;
            }
            for bad in bad {
                tracing::info!(path = %bad.path.display(), problem = bad.problem, "removing what is bad");
                // The backing store's file stays: only marks in it were taken away.
                if bad.path != provider.workspace.backing_store() {
                    durable::remove_tree(&bad.path)?;
                }
                bad.repaired = true;
            }
        }
    }
    Ok(verified)
}

fn packages(
    provider: &Provider,
    verified: &mut Verified,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<(), StoreError> {
    let packages = provider.packages()?;
    let known = known_digests(provider)?;
    let total = packages
        .iter()
        .fold(0_u64, |sum, package| sum.saturating_add(package.size.length_bytes));
    let label = format!("Packages of {}", provider.id);
    let task = progress.start(&label, Unit::Bytes, Some(total));
    for package in packages {
        let Some(expected) = known.get(&package.name()) else {
            verified.unknown.push(package.path);
            continue;
        };
        let problem = match digest(&package.path, cancel, &|bytes| progress.advance(task, bytes)) {
            Ok(found) if found == *expected => None,
            Ok(found) => Some(format!("it has the SHA-256 {found}, expected {expected}")),
            Err(StoreError::Path(error)) if error.source.kind() == io::ErrorKind::NotFound => continue,
            Err(StoreError::Path(error)) => Some(error.source.to_string()),
            Err(error) => return Err(error),
        };
        verified.bytes = verified.bytes.saturating_add(package.size.length_bytes);
        match problem {
            None => verified.packages += 1,
            Some(problem) => verified.bad.push(Bad::new(provider, package.path, problem)),
        }
    }
    progress.finish(task);
    Ok(())
}

/// Repository indexes are named after their digests: `Packages.{sha256}.xz`. What has another name, such as a remembered
/// resolution, is no index, and is looked at by who uses it.
fn metadata(provider: &Provider, verified: &mut Verified, cancel: &Cancel) -> Result<(), StoreError> {
    for directory in list(&provider.workspace.metadata())? {
        if !directory.is_dir() || directory == provider.workspace.resolutions() {
            continue;
        }
        for path in list(&directory)? {
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
                verified.bad.push(Bad::new(provider, path, problem));
            }
        }
    }
    Ok(())
}

/// Resolutions that are remembered have a checksum.
fn resolutions(provider: &Provider, verified: &mut Verified, cancel: &Cancel) -> Result<(), StoreError> {
    for (path, _) in Memo::new(provider.workspace.resolutions()).list()? {
        cancel.check()?;
        match Memo::is_whole(&path) {
            Ok(true) => {}
            Ok(false) => {
                let problem = "its content is not what its checksum says".to_owned();
                verified.bad.push(Bad::new(provider, path, problem));
            }
            // A build has let it go.
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Digests of package files by name: what was verified when it came, and what lockfiles of images say.
fn known_digests(provider: &Provider) -> Result<BTreeMap<String, Sha256>, StoreError> {
    let mut known = BTreeMap::new();
    for image in provider.images()? {
        for path in image.lockfiles()? {
            let text = std::fs::read(&path).map_err(PathError::on("read", &path))?;
            match Lockfile::from_json(&text) {
                Ok(lockfile) => {
                    known.extend(
                        lockfile
                            .packages
                            .iter()
                            .map(|package| (package.file_name(), package.sha256)),
                    );
                }
                Err(error) => tracing::warn!("{}: {error}", path.display()),
            }
        }
    }
    known.extend(cache::verified_digests(provider.workspace.package_cache()));
    Ok(known)
}

fn digest(path: &Path, cancel: &Cancel, advance: &dyn Fn(u64)) -> Result<Sha256, StoreError> {
    let mut hasher = sha2::Sha256::new();
    read_all(path, cancel, |chunk| {
        hasher.update(chunk);
        advance(chunk.len() as u64);
    })?;
    Ok(Sha256(hasher.finalize().into()))
}

/// Gives the content of a file to `take`, in pieces.
fn read_all(path: &Path, cancel: &Cancel, mut take: impl FnMut(&[u8])) -> Result<(), StoreError> {
    let mut file = File::open(path).map_err(PathError::on("open", path))?;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        cancel.check()?;
        let count = match io::Read::read(&mut file, &mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(PathError::on("read", path)(error).into()),
        };
        take(buffer.get(..count).unwrap_or_default());
    }
}

/// Reads every step layer.
fn layers(
    provider: &Provider,
    verified: &mut Verified,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<(), StoreError> {
    let found = LayerStore::new(provider.workspace.layers()).list()?;
    let total = found
        .iter()
        .fold(0_u64, |sum, layer| sum.saturating_add(layer.manifest.scan.size_bytes));
    let task = progress.start(&format!("Step layers of {}", provider.id), Unit::Bytes, Some(total));
    for layer in found {
        let problem = match layer::content(&layer.tree(), cancel) {
            Ok(found) if found == layer.manifest.content => None,
            Ok(_) => Some("its content is not what it was when it was made".to_owned()),
            Err(ContentError::Path(error)) => Some(error.to_string()),
            Err(ContentError::Cancelled(error)) => return Err(error.into()),
        };
        let size_bytes = layer.manifest.scan.size_bytes;
        verified.bytes = verified.bytes.saturating_add(size_bytes);
        progress.advance(task, size_bytes);
        match problem {
            None => verified.layers += 1,
            Some(problem) => verified
                .bad
                .push(Bad::new(provider, layer.directory().to_owned(), problem)),
        }
    }
    progress.finish(task);
    Ok(())
}

/// Members of a backing store that are to be unpacked again.
type BadCopies = (Snapshot, Vec<crate::snapshot::MemberId>);

fn snapshot(
    provider: &Provider,
    verified: &mut Verified,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Option<BadCopies>, StoreError> {
    let workspace = &provider.workspace;
    let paths = SnapshotPaths::of(workspace);
    let Ok(metadata) = paths.tarball.symlink_metadata() else {
        return Ok(None);
    };
    let label = format!("Snapshot of {}", provider.id);
    let task = progress.start(&label, Unit::Bytes, Some(metadata.len()));
    let options = PrepareOptions {
        cancel: cancel.clone(),
        ..PrepareOptions::default()
    };
    let opened = foreign::prepare(&paths, &options).and_then(|_| Snapshot::open(&paths));
    let checked = opened.and_then(|snapshot| {
        let check = snapshot.check(&|bytes| progress.advance(task, bytes), cancel)?;
        Ok((snapshot, check))
    });
    progress.finish(task);
    let (snapshot, check) = match checked {
        Ok(checked) => checked,
        Err(
            SnapshotError::Tarball { path, problem }
            | SnapshotError::Foreign { path, problem }
            | SnapshotError::Index { path, problem },
        ) => {
            verified.bad.push(Bad::new(provider, path, problem));
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    verified.members = verified
        .members
        .saturating_add(check.members - check.damaged.len() as u64);
    verified.bytes = verified.bytes.saturating_add(check.bytes);
    for (problem, files) in check.damaged {
        let bad = Bad::new(provider, paths.tarball.clone(), problem);
        let files = files.iter().map(|path| path.display().to_string()).collect();
        verified.bad.push(Bad { files, ..bad });
    }
    if check.damaged_copies.is_empty() {
        return Ok(None);
    }
    let problem = format!(
        "{} unpacked members are not what they should be",
        check.damaged_copies.len()
    );
    verified.bad.push(Bad::new(provider, paths.backing_dir, problem));
    Ok(Some((snapshot, check.damaged_copies)))
}

impl Bad {
    fn new(provider: &Provider, path: PathBuf, problem: String) -> Self {
        Self {
            provider: provider.id.clone(),
            path,
            problem,
            files: Vec::new(),
            repaired: false,
        }
    }
}
