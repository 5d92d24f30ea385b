//! Verification of package files by the digests that they had when they came.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::{Bad, Verified, read_all};
use crate::cache;
use crate::cancel::Cancel;
use crate::durable::PathError;
use crate::package::{Algorithm, Checksum, ResolvedPackage, Sha256};
use crate::progress::Unit;
use crate::resolve::lockfile::Lockfile;
use crate::resolve::memo::Memo;
use crate::store::StoreError;
use crate::store::inventory::Provider;
use crate::work::Work;

/// Verifies the package files of `provider`.
pub(super) fn packages(provider: &Provider, verified: &mut Verified, work: Work<'_>) -> Result<(), StoreError> {
    let packages = provider.packages()?;
    let known = known_digests(provider)?;
    let total = packages
        .iter()
        .fold(0_u64, |sum, package| sum.saturating_add(package.size.length_bytes));
    let label = format!("Packages of {}", provider.id);
    let task = work.start(&label, Unit::Bytes, Some(total));
    for package in packages {
        let name = package.name();
        let Some(expected) = known.get(&name).copied().or_else(|| own_digest(&name)) else {
            verified.unknown.push(package.path);
            continue;
        };
        let algorithm = expected.algorithm();
        let problem = match digest(&package.path, algorithm, work.cancel, &|bytes| task.advance(bytes)) {
            Ok(found) if found == expected => None,
            Ok(found) => Some(format!("it has the {algorithm} {found}, expected {expected}")),
            Err(StoreError::Path(error)) if error.source.kind() == io::ErrorKind::NotFound => continue,
            Err(StoreError::Path(error)) => Some(error.source.to_string()),
            Err(error) => return Err(error),
        };
        verified.bytes = verified.bytes.saturating_add(package.size.length_bytes);
        match problem {
            None => verified.packages += 1,
            Some(problem) => verified.bad.push(Bad::file(provider, package.path, problem)),
        }
    }
    Ok(())
}

/// Returns the digest that the name of a downloaded file says.
fn own_digest(name: &str) -> Option<Checksum> {
    let digest = name.strip_suffix(cache::FILE_SUFFIX)?;
    digest.parse::<Sha256>().ok().map(Checksum::from)
}

/// Returns the digests of package files by name: those in remembered resolutions, those in the lockfiles of images, and
/// those verified at the download. The later ones take precedence.
fn known_digests(provider: &Provider) -> Result<BTreeMap<String, Checksum>, StoreError> {
    let mut known = BTreeMap::new();
    let digest = |package: &ResolvedPackage| (package.file_name(), package.checksum);
    for (path, _) in Memo::new(provider.workspace.resolutions()).list()? {
        // A damaged one is a finding of its own.
        if let Ok(Some(answer)) = Memo::read(&path) {
            known.extend(answer.base.packages.iter().chain(&answer.image.packages).map(digest));
        }
    }
    for image in provider.images()? {
        for path in image.lockfiles()? {
            let text = std::fs::read(&path).map_err(PathError::on("read", &path))?;
            match Lockfile::from_json(&text) {
                Ok(lockfile) => known.extend(
                    lockfile
                        .packages
                        .iter()
                        .map(|package| (package.file_name(), package.checksum)),
                ),
                Err(error) => tracing::warn!("{}: {error}", path.display()),
            }
        }
    }
    known.extend(cache::verified_digests(provider.workspace.package_cache()));
    Ok(known)
}

fn digest(path: &Path, algorithm: Algorithm, cancel: &Cancel, advance: &dyn Fn(u64)) -> Result<Checksum, StoreError> {
    let mut hasher = algorithm.hasher();
    read_all(path, cancel, |chunk| {
        hasher.update(chunk);
        advance(chunk.len() as u64);
    })?;
    Ok(hasher.finish())
}
