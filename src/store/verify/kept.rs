//! Verification of the work directory: bases, step layers, and the files of images.

use std::fs;
use std::path::PathBuf;

use super::{Bad, Repair, Verified};
use crate::cancel::Cancel;
use crate::durable::PathError;
use crate::image::{artifacts, earlier};
use crate::layer::{self, Below, BelowError, ContentError, LayerStore, Manifest, ManifestError};
use crate::progress::Unit;
use crate::resolve::lockfile::Lockfile;
use crate::snapshot::{self, SnapshotPaths};
use crate::store::StoreError;
use crate::store::inventory::{Image, Provider};
use crate::store::measure::list;
use crate::work::Work;

/// Verifies every step layer of `provider`.
pub(super) fn layers(provider: &Provider, verified: &mut Verified, work: Work<'_>) -> Result<(), StoreError> {
    let found = LayerStore::new(provider.workspace.layers()).entries()?;
    let layers = found.iter().filter_map(|entry| entry.layer.as_ref().ok());
    let total = layers.fold(0_u64, |sum, layer| sum.saturating_add(layer.manifest.scan.size_bytes));
    let task = work.start(&format!("Step layers of {}", provider.id), Unit::Bytes, Some(total));
    for entry in found {
        let bad = |problem| Bad {
            repair: Repair::Layer(entry.key),
            ..Bad::file(provider, entry.directory.clone(), problem)
        };
        let layer = match &entry.layer {
            Ok(layer) => layer,
            // The next build makes it again.
            Err(ManifestError::Older) => continue,
            // A build has removed it, or is making it.
            Err(_) if !entry.directory.exists() => continue,
            Err(error) => {
                verified.bad.push(bad(format!("layer.json: {error}")));
                continue;
            }
        };
        let found = layer::damage(&layer.tree(), &layer.manifest, &layer.sums(), work.cancel).map_err(content_error)?;
        let size_bytes = layer.manifest.scan.size_bytes;
        verified.bytes = verified.bytes.saturating_add(size_bytes);
        task.advance(size_bytes);
        match found {
            None => verified.layers += 1,
            Some(damage) => {
                let files = damage.files.iter().map(|path| path.display().to_string()).collect();
                verified.bad.push(Bad {
                    files,
                    ..bad(damage.problem)
                });
            }
        }
    }
    Ok(())
}

fn content_error(error: ContentError) -> StoreError {
    match error {
        ContentError::Path(error) => error.into(),
        ContentError::Cancelled(error) => error.into(),
    }
}

/// Verifies the snapshot of `provider`, its index and its backing store.
pub(super) fn base(provider: &Provider, verified: &mut Verified, work: Work<'_>) -> Result<(), StoreError> {
    let paths = SnapshotPaths::of(&provider.workspace);
    let Some(metadata) = crate::store::measure::look_at(&paths.tarball)? else {
        return Ok(());
    };
    let label = format!("Snapshot of {}", provider.id);
    let task = work.start(&label, Unit::Bytes, Some(metadata.len()));
    let examined = snapshot::examine(&paths, &|bytes| task.advance(bytes), work.cancel);
    drop(task);
    let examined = examined?;
    verified.members = verified.members.saturating_add(examined.members);
    verified.bytes = verified.bytes.saturating_add(examined.bytes);
    for damaged in examined.damaged {
        let bad = Bad::file(provider, damaged.path.clone(), damaged.problem.clone());
        let files = damaged.files.iter().map(|path| path.display().to_string()).collect();
        let repair = Repair::Snapshot(damaged);
        verified.bad.push(Bad { files, repair, ..bad });
    }
    Ok(())
}

/// Verifies the files of images: the upper, the record of the layers below it, lockfiles, and the disk if the next
/// build continues from it.
pub(super) fn images(provider: &Provider, verified: &mut Verified, work: Work<'_>) -> Result<(), StoreError> {
    for image in provider.images()? {
        upper(provider, &image, verified, work.cancel)?;
        let below = image.build.below();
        if let Err(error @ BelowError::Unusable { .. }) = Below::read(&below) {
            verified.bad.push(Bad::file(provider, below, error.to_string()));
        }
        for path in image.lockfiles()? {
            let text = fs::read(&path).map_err(PathError::on("read", &path))?;
            let problem = match Lockfile::from_json(&text) {
                Ok(lockfile) if lockfile.to_json().as_bytes() == text => continue,
                Ok(_) => "it was changed or damaged".to_owned(),
                Err(error) => error.to_string(),
            };
            verified.bad.push(Bad::file(provider, path, problem));
        }
        disk(provider, &image, verified, work)?;
    }
    Ok(())
}

/// Verifies the upper of `image`, if it has a manifest.
fn upper(provider: &Provider, image: &Image, verified: &mut Verified, cancel: &Cancel) -> Result<(), StoreError> {
    let build = &image.build;
    let parts = vec![build.upper_manifest(), build.upper_sums()];
    let manifest = match Manifest::read(&build.upper_manifest()) {
        Ok(manifest) => manifest,
        // The upper is not finished, or of an older version.
        Err(ManifestError::Path(_) | ManifestError::Older) => return Ok(()),
        Err(error) => {
            // The upper itself stays: the image can still be inspected.
            let bad = Bad::file(provider, build.upper_manifest(), error.to_string());
            verified.bad.push(bad);
            return Ok(());
        }
    };
    let found = layer::damage(&build.upper(), &manifest, &build.upper_sums(), cancel).map_err(content_error)?;
    let Some(damage) = found else { return Ok(()) };
    let files: Vec<_> = damage.files.iter().map(|path| path.display().to_string()).collect();
    let is_upper = !files.is_empty();
    let path = if is_upper { build.upper() } else { build.upper_sums() };
    let upper = is_upper.then(|| [build.upper(), build.below()]);
    let bad = Bad::file(provider, path, damage.problem);
    let repair = Repair::Remove(parts.into_iter().chain(upper.into_iter().flatten()).collect());
    verified.bad.push(Bad { files, repair, ..bad });
    Ok(())
}

/// Verifies the disk of `image`, if its record describes this very file.
fn disk(provider: &Provider, image: &Image, verified: &mut Verified, work: Work<'_>) -> Result<(), StoreError> {
    let record = image.build.image_record();
    let mut disks: Vec<PathBuf> = list(image.build.directory())?;
    disks.retain(|path| path.extension().is_some_and(|extension| extension == "raw"));
    let found = earlier::damage(&disks, &record, work)?;
    if let Some((path, problem)) = found {
        // A delivered image stays; without the record the next build writes all of it.
        let mut parts = vec![record];
        parts.extend(Some(image.build.image_state()).filter(|state| *state == path));
        let bad = Bad::file(provider, path, problem);
        let repair = Repair::Remove(parts);
        verified.bad.push(Bad { repair, ..bad });
    }
    let record = image.build.artifact_record();
    for path in artifacts::damaged(&record, work)? {
        // A delivered file stays; without the record the next build makes it anew.
        let bad = Bad::file(
            provider,
            path,
            "its content is not what it was when it was built".to_owned(),
        );
        let repair = Repair::Remove(vec![record.clone()]);
        verified.bad.push(Bad { repair, ..bad });
    }
    Ok(())
}
