//! The raw disk image: one sparse file, which has its name only when it is complete.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::canvas::{Canvas, Drawn};
use super::digest::DigestTree;
use super::earlier::Earlier;
use super::error::ImageError;
use super::ext4::{self, ExtError};
use super::fat::{self, FatError};
use super::labels::FileContexts;
use super::merged::Merged;
use super::plan::{DiskPlan, PlannedPartition};
use super::populate::PartitionSource;
use super::tree::{self, Tree};
use super::{gpt, swap};
use crate::durable::{self, AtomicFile, PathError};
use crate::model::FileSystem;
use crate::parallel;
use crate::progress::Unit;
use crate::work::Work;

/// A summary of a written image.
#[derive(Debug, Clone)]
pub struct RawSummary {
    /// Size of the image in bytes.
    pub size_bytes: u64,
    /// GUID of the disk.
    pub uuid: Uuid,
    /// Bytes that it takes on the host's disk.
    pub data_bytes: u64,
    /// Bytes written for it; fewer if an earlier image had most of them.
    pub written_bytes: u64,
    /// Its contents, for [`super::earlier::remember`].
    pub drawn: Drawn,
    /// Its digest, with the tree.
    pub tree: DigestTree,
    /// Start and end (bytes) of each range in which it differs from the earlier image, or from zeros if there was none;
    /// sorted, not touching.
    pub changed: Vec<(u64, u64)>,
}

/// The inputs of an image.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The disk, laid out.
    pub plan: &'a DiskPlan,
    /// The installed tree.
    pub merged: &'a Merged,
    /// The contents of the partitions, from [`super::populate::sources`].
    pub sources: &'a [PartitionSource],
    /// The latest time in the image, in seconds since 1970, UTC.
    pub epoch_seconds: u64,
}

/// Writes the image `target`: the tables and the filled partitions. Then the file is synced and gets its name. With an
/// `earlier` image only the differences are written; the resulting bytes are the same.
///
/// # Errors
/// [`ImageError`]; `target` is then as it was before.
pub fn write(
    target: &Path,
    inputs: Inputs<'_>,
    earlier: Option<Earlier>,
    work: Work<'_>,
) -> Result<RawSummary, ImageError> {
    let plan = inputs.plan;
    let earlier = earlier.filter(|earlier| earlier.size_bytes() == plan.size_bytes);
    let tree = match &earlier {
        Some(earlier) => earlier.tree(),
        None => DigestTree::of_zeros(plan.size_bytes),
    };
    let (mut atomic, before) = match earlier.map(|earlier| earlier.start(target)).transpose()? {
        Some((file, before)) => (file, Some(before)),
        None => (AtomicFile::create(target)?, None),
    };
    let file = atomic.file().try_clone().map_err(PathError::on("open", target))?;
    file.set_len(plan.size_bytes)
        .map_err(PathError::on("set the size of", target))?;
    let canvas = Canvas::new(&file, target, before.as_ref());
    let labels = FileContexts::of(inputs.merged)?;
    let job = Job {
        canvas: &canvas,
        inputs,
        labels: labels.as_ref(),
        work,
    };
    job.fill()?;
    let (drawn, changed) = canvas.finish()?;
    let tree = synced(&file, target, work, || tree.update(&file, target, &changed, work))?;
    let metadata = atomic.commit()?.metadata().map_err(PathError::on("read", target))?;
    Ok(RawSummary {
        size_bytes: metadata.len(),
        uuid: plan.uuid,
        data_bytes: metadata.blocks() * 512,
        written_bytes: canvas.written_bytes(),
        drawn,
        tree,
        changed,
    })
}

/// Syncs `file` while `hash` runs: one waits for the disk, the other needs processors.
fn synced<T>(
    file: &File,
    path: &Path,
    work: Work<'_>,
    hash: impl FnOnce() -> Result<T, ImageError>,
) -> Result<T, ImageError> {
    std::thread::scope(|scope| {
        let synced = scope.spawn(|| {
            durable::write_back(file, work.cancel)?;
            file.sync_all().map_err(PathError::on("sync", path))?;
            Ok::<_, ImageError>(())
        });
        let hashed = hash();
        synced.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        hashed
    })
}

struct Job<'a> {
    canvas: &'a Canvas<'a>,
    inputs: Inputs<'a>,
    labels: Option<&'a FileContexts>,
    work: Work<'a>,
}

impl Job<'_> {
    /// Writes the partition tables, and fills all partitions side by side, so that one that a single thread fills does
    /// not delay the others.
    fn fill(&self) -> Result<(), ImageError> {
        let (plan, path) = (self.inputs.plan, self.canvas.path());
        let tables = gpt::tables(plan).map_err(PathError::on("make the partition table of", path))?;
        for (offset_bytes, bytes) in tables {
            self.canvas.put(offset_bytes, &bytes)?;
        }
        let partitions = &plan.partitions;
        let task = self
            .work
            .start("Write partitions", Unit::Items, Some(partitions.len() as u64));
        let fill = |planned: &PlannedPartition| {
            self.work.cancel.check()?;
            let mut sources = self.inputs.sources.iter();
            let source = sources.find(|source| source.number == planned.number);
            self.partition(planned, source)?;
            task.advance(1);
            Ok::<_, ImageError>(())
        };
        parallel::try_map(partitions.len(), partitions, fill)?;
        self.work.cancel.check()?;
        Ok(())
    }

    fn partition(&self, planned: &PlannedPartition, source: Option<&PartitionSource>) -> Result<(), ImageError> {
        let id = &planned.partition.id;
        let extra = source.map(|source| source.extra.as_slice()).unwrap_or_default();
        let path = source.and_then(|source| source.path.as_deref());
        let kind = planned.partition.file_system;
        if !extra.is_empty() && !matches!(kind, Some(FileSystem::Fat16 | FileSystem::Fat32)) {
            return Err(ImageError::NoFileSystem(id.clone()));
        }
        let ext = |kind| {
            self.ext(planned, kind, source)
                .map_err(|source| ImageError::Ext { id: id.clone(), source })
        };
        match kind {
            None if path.is_some() => Err(ImageError::NoFileSystem(id.clone())),
            // XFS was refused by the plan.
            None | Some(FileSystem::Xfs) => Ok(()),
            Some(FileSystem::Swap) => Ok(swap::write(
                self.canvas,
                planned.offset_bytes(),
                planned.size_bytes(),
                planned.fs_uuid,
                planned.partition.label.as_deref(),
            )?),
            Some(kind @ (FileSystem::Fat16 | FileSystem::Fat32)) => self
                .fat(planned, kind, path, extra)
                .map_err(|source| ImageError::Fat { id: id.clone(), source }),
            Some(FileSystem::Ext2) => ext(ext4::Kind::Ext2),
            Some(FileSystem::Ext3) => ext(ext4::Kind::Ext3),
            Some(FileSystem::Ext4) => ext(ext4::Kind::Ext4),
        }
    }

    fn fat(
        &self,
        planned: &PlannedPartition,
        kind: FileSystem,
        path: Option<&Path>,
        extra: &[(PathBuf, super::content::Source)],
    ) -> Result<(), FatError> {
        let mut tree = fat::Tree::default();
        if let Some(path) = path {
            tree.add_tree(self.inputs.merged, path)?;
        }
        for (path, source) in extra {
            tree.add_file(path, source.clone())?;
        }
        let spec = fat::Spec {
            geometry: fat::Geometry::of(kind, planned.size_bytes())?,
            offset_bytes: planned.offset_bytes(),
            volume_id: planned.fat_volume_id(),
            label: planned.partition.label.as_deref().and_then(fat::volume_label),
            epoch_seconds: self.inputs.epoch_seconds,
        };
        fat::write(self.canvas, &spec, &tree, self.work.cancel)
    }

    fn ext(
        &self,
        planned: &PlannedPartition,
        kind: ext4::Kind,
        source: Option<&PartitionSource>,
    ) -> Result<(), ExtError> {
        let merged = self.inputs.merged;
        let tree = match source.and_then(|source| Some((source, source.path.as_deref()?))) {
            None => Tree::empty(),
            Some((source, path)) => {
                let mut left_out = Vec::new();
                for path in &source.excluded {
                    // Mount points that are not in the tree need not be left out.
                    if merged.has(path)? {
                        left_out.push(merged.resolve_directory(path)?);
                    }
                }
                let at = merged.resolve_directory(path)?;
                let mut tree = tree::collect(merged.overlay(), &at, &left_out, self.work.threads)?;
                if let Some(labels) = self.labels {
                    tree.label(labels, path)?;
                }
                tree
            }
        };
        let spec = ext4::Spec {
            kind,
            offset_bytes: planned.offset_bytes(),
            size_bytes: planned.size_bytes(),
            uuid: planned.fs_uuid,
            hash_seed: planned.hash_seed,
            label: planned.partition.label.clone(),
            epoch_seconds: self.inputs.epoch_seconds,
        };
        ext4::write(self.canvas, &spec, &tree, self.work)
    }
}

#[cfg(test)]
mod tests;
