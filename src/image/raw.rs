//! The raw disk image: one sparse file, complete under its name or not there.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread::ScopedJoinHandle;

use rustix::fs::SeekFrom;

use super::canvas::{Canvas, Drawn};
use super::digest::{Checkpoints, Follower};
use super::earlier::Earlier;
use super::ext4::{self, ExtError};
use super::fat::{self, FatError};
use super::frontier::Hold;
use super::labels::{FileContexts, LabelError};
use super::merged::Merged;
use super::plan::{DiskPlan, PlannedPartition};
use super::populate::PartitionSource;
use super::tool::ToolError;
use super::tree::{self, Tree};
use super::{gpt, swap};
use crate::cancel::{Cancel, Cancelled};
use crate::durable::{self, AtomicFile, PathError};
use crate::package::Sha256;
use crate::progress::{Progress, Unit};
use crate::template::model::FileSystem;

/// Why no image was written. Nothing is left behind then.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A partition could not be filled.
    #[error("partition {id:?}: {source}")]
    Ext {
        /// Its id in the template.
        id: String,
        /// Why.
        source: ExtError,
    },
    /// A partition could not be filled.
    #[error("partition {id:?}: {source}")]
    Fat {
        /// Its id in the template.
        id: String,
        /// Why.
        source: FatError,
    },
    /// Files cannot be labelled.
    #[error("the labels of the image's SELinux policy: {0}")]
    Labels(#[from] LabelError),
    /// There is more for a partition than its kind can hold.
    #[error("partition {0:?} was given files, but has no file system to put them in")]
    NoFileSystem(String),
    /// A helper program is missing.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] PathError),
    /// The user asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl ImageError {
    /// Whether the user asked to stop.
    pub fn is_cancelled(&self) -> bool {
        matches!(
            self,
            Self::Cancelled(_)
                | Self::Tool(ToolError::Cancelled(_))
                | Self::Ext {
                    source: ExtError::Cancelled(_),
                    ..
                }
                | Self::Fat {
                    source: FatError::Cancelled(_),
                    ..
                }
        )
    }

    /// Whether the host's disk is full.
    pub fn is_no_space(&self) -> bool {
        match self {
            Self::Io(error)
            | Self::Ext {
                source: ExtError::Io(error),
                ..
            }
            | Self::Fat {
                source: FatError::Io(error),
                ..
            } => error.is_no_space(),
            _ => false,
        }
    }

    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            _ if self.is_no_space() => Some("free some space, or give another --work-dir".into()),
            Self::Tool(error) => error.hint(),
            Self::Ext {
                id,
                source: ExtError::Full { .. },
            }
            | Self::Fat {
                id,
                source: FatError::Full { .. },
            } => Some(format!(
                "enlarge the partition {id:?} in disk.partitions, or install less"
            )),
            _ => None,
        }
    }
}

/// What was written.
#[derive(Debug, Clone)]
pub struct RawSummary {
    /// Size of the image.
    pub size_bytes: u64,
    /// What it takes on the host's disk.
    pub data_bytes: u64,
    /// What was written for it; less if most was there already.
    pub written_bytes: u64,
    /// What is in it, for [`super::earlier::remember`].
    pub drawn: Drawn,
    /// Its digest, if it is known: nothing had to be changed.
    pub sha256: Option<Sha256>,
    /// What is known of its digest otherwise, for [`super::digest::digest`].
    pub checkpoints: Checkpoints,
}

/// What an image is made from.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The disk, laid out.
    pub plan: &'a DiskPlan,
    /// The installed tree.
    pub merged: &'a Merged,
    /// What goes onto which partition, from [`super::populate::sources`].
    pub sources: &'a [PartitionSource],
    /// No time in the image is later. Seconds since 1970, UTC.
    pub epoch_seconds: u64,
    /// Threads that inflate, read and write.
    pub threads: usize,
}

/// Writes the image `target`: the tables and the filled partitions. Then the file is synced and gets its name.
/// With an `earlier` image only what differs is written; the image is the same.
///
/// # Errors
/// [`ImageError`]; `target` is then as it was before.
pub fn write(
    target: &Path,
    inputs: Inputs<'_>,
    earlier: Option<Earlier>,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<RawSummary, ImageError> {
    let plan = inputs.plan;
    let earlier = earlier.filter(|earlier| earlier.size_bytes() == plan.size_bytes);
    let (sha256, checkpoints) = earlier.as_ref().map(Earlier::digest).unwrap_or_default();
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
        cancel,
    };
    let (drawn, unchanged_bytes, digest) = job.fill(&file, before.is_none(), progress)?;
    let (sha256, checkpoints) = match digest {
        Some((sha256, checkpoints)) => (Some(sha256), checkpoints),
        None => (
            sha256.filter(|_| unchanged_bytes >= plan.size_bytes),
            checkpoints.within(unchanged_bytes, plan.size_bytes),
        ),
    };
    let metadata = atomic.commit()?.metadata().map_err(PathError::on("read", target))?;
    Ok(RawSummary {
        size_bytes: metadata.len(),
        data_bytes: metadata.blocks() * 512,
        written_bytes: canvas.written_bytes(),
        drawn,
        sha256,
        checkpoints,
    })
}

/// What is in the file, how much of it is as it was before, and its digest if that was made.
type Filled = (Drawn, u64, Option<(Sha256, Checkpoints)>);

struct Job<'a> {
    canvas: &'a Canvas<'a>,
    inputs: Inputs<'a>,
    labels: Option<&'a FileContexts>,
    cancel: &'a Cancel,
}

impl<'a> Job<'a> {
    /// Writes the tables; gives a hold at each partition, in their order.
    fn begin(&self) -> Result<Vec<Hold<'a>>, ImageError> {
        let (plan, path) = (self.inputs.plan, self.canvas.path());
        let tables = gpt::tables(plan).map_err(PathError::on("make the partition table of", path))?;
        for (offset_bytes, bytes) in tables {
            self.canvas.put(offset_bytes, &bytes)?;
        }
        let partitions = plan.partitions.iter();
        Ok(partitions
            .map(|planned| self.canvas.hold(planned.offset_bytes()))
            .collect())
    }

    /// Fills and syncs `file`; what [`Canvas::finish`] says. The digest of a new file is made meanwhile: it begins with
    /// what is placed first, and its holes are known long before all contents are there.
    fn fill(&self, file: &File, is_new: bool, progress: &dyn Progress) -> Result<Filled, ImageError> {
        let (canvas, path) = (self.canvas, self.canvas.path());
        let holds = self.begin()?;
        let follower = Follower {
            file,
            path,
            size_bytes: self.inputs.plan.size_bytes,
            finished: &|offset_bytes| canvas.wait_beyond(offset_bytes),
        };
        let follow = || follower.digest(Checkpoints::default(), progress, self.cancel);
        std::thread::scope(|scope| {
            let followed = is_new.then(|| scope.spawn(follow));
            let filled = self.partitions(holds, progress).and_then(|()| {
                self.cancel.check()?;
                let filled = canvas.finish()?;
                durable::write_back(file, self.cancel)?;
                file.sync_all().map_err(PathError::on("sync", path))?;
                Ok(filled)
            });
            if filled.is_err() {
                canvas.abandon();
            }
            let digest = followed.map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
            let (drawn, unchanged_bytes) = filled?;
            Ok((drawn, unchanged_bytes, digest.transpose()?))
        })
    }

    /// Fills all partitions, side by side: one that a single thread fills does not hold up the others.
    fn partitions(&self, holds: Vec<Hold<'a>>, progress: &dyn Progress) -> Result<(), ImageError> {
        let partitions = &self.inputs.plan.partitions;
        let task = progress.start("Write partitions", Unit::Items, Some(partitions.len() as u64));
        let fill = |planned: &PlannedPartition, hold: Hold<'_>| {
            self.cancel.check()?;
            let source = self
                .inputs
                .sources
                .iter()
                .find(|source| source.number == planned.number);
            self.partition(planned, hold, source)?;
            progress.advance(task, 1);
            Ok::<_, ImageError>(())
        };
        let done = std::thread::scope(|scope| {
            let fill = &fill;
            let partitions = partitions.iter().zip(holds);
            let threads = partitions.map(|(planned, hold)| scope.spawn(move || fill(planned, hold)));
            let threads: Vec<_> = threads.collect();
            let join = |thread: ScopedJoinHandle<'_, _>| thread.join().unwrap_or_else(|panic| resume_unwind(panic));
            let results: Vec<Result<(), ImageError>> = threads.into_iter().map(join).collect();
            results.into_iter().collect::<Result<(), _>>()
        });
        progress.finish(task);
        done
    }

    fn partition(
        &self,
        planned: &PlannedPartition,
        hold: Hold<'_>,
        source: Option<&PartitionSource>,
    ) -> Result<(), ImageError> {
        let id = &planned.partition.id;
        let extra = source.map(|source| source.extra.as_slice()).unwrap_or_default();
        let path = source.and_then(|source| source.path.as_deref());
        let excluded = source.map(|source| source.excluded.as_slice()).unwrap_or_default();
        let kind = planned.partition.file_system;
        if !extra.is_empty() && !matches!(kind, Some(FileSystem::Fat16 | FileSystem::Fat32)) {
            return Err(ImageError::NoFileSystem(id.clone()));
        }
        let ext = |kind| {
            self.ext(planned, hold, kind, path, excluded)
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
        fat::write(self.canvas, &spec, &tree, self.cancel)
    }

    fn ext(
        &self,
        planned: &PlannedPartition,
        hold: Hold<'_>,
        kind: ext4::Kind,
        path: Option<&Path>,
        excluded: &[PathBuf],
    ) -> Result<(), ExtError> {
        let merged = self.inputs.merged;
        let tree = match path {
            None => Tree::empty(),
            Some(path) => {
                // Mount points that are not in the tree need not be left out.
                let excluded: Vec<_> = excluded
                    .iter()
                    .filter_map(|path| merged.resolve_directory(path).ok())
                    .collect();
                let at = merged.resolve_directory(path)?;
                let mut tree = tree::collect(merged.overlay(), &at, &excluded, self.inputs.threads)?;
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
        ext4::write(self.canvas, hold, &spec, &tree, self.inputs.threads, self.cancel)
    }
}

/// Start and end of the next data at or behind `offset`; both are the size if there is none.
pub(super) fn next_data(file: &File, offset: u64, size_bytes: u64) -> io::Result<(u64, u64)> {
    let start = match rustix::fs::seek(file.as_fd(), SeekFrom::Data(offset)) {
        Ok(start) => start.min(size_bytes),
        Err(rustix::io::Errno::NXIO) => size_bytes,
        // A file system without holes.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::OPNOTSUPP) => return Ok((offset, size_bytes)),
        Err(errno) => return Err(errno.into()),
    };
    if start == size_bytes {
        return Ok((start, start));
    }
    let end = rustix::fs::seek(file.as_fd(), SeekFrom::Hole(start))?.min(size_bytes);
    Ok((start, end.max(start + 1)))
}

#[cfg(test)]
mod tests;
