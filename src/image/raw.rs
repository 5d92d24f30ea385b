//! The raw disk image: one sparse file, which has its name only when it is complete.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use uuid::Uuid;

use super::canvas::{Canvas, Drawn};
use super::code::BootCode;
use super::digest::DigestTree;
use super::earlier::Earlier;
use super::error::ImageError;
use super::file_system::{FileSystem, FileSystemError, Files, Volume};
use super::labels::FileContexts;
use super::merged::Merged;
use super::plan::{DiskPlan, PlannedPartition, Table};
use super::populate::{Content, Graft, Origin, Rank};
use super::region::Region;
use super::tree::{self, Tree};
use super::verity::{self, Identity, RootHash, VerityError};
use super::{gpt, luks, mbr};
use crate::durable::{self, AtomicFile, PathError};
use crate::parallel;
use crate::progress::Unit;
use crate::work::Work;

/// A summary of a written image.
#[derive(Debug, Clone)]
pub struct RawSummary {
    /// Size of the image in bytes.
    pub size_bytes: u64,
    /// Identifier of the disk.
    pub uuid: Uuid,
    /// Bytes that it takes on the host's disk.
    pub data_bytes: u64,
    /// Bytes written for it; fewer if an earlier image had most of them.
    pub written_bytes: u64,
    /// Its contents, for [`super::earlier::remember`].
    pub drawn: Drawn,
    /// Its digest, with the tree.
    pub tree: DigestTree,
    /// The root hash of its verified root, if it has one.
    pub root_hash: Option<RootHash>,
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
    /// The contents of the partitions, in the order of the plan, as [`super::populate::contents`] makes them.
    pub contents: &'a [Content],
    /// The code by which a BIOS starts the disk, if it has some.
    pub boot_code: Option<&'a BootCode>,
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
    let labels = FileContexts::of(inputs.merged)?;
    let root_hash = OnceLock::new();
    let fill = |canvas: &Canvas<'_>| {
        let job = Job {
            canvas,
            inputs,
            labels: labels.as_ref(),
            root_hash: &root_hash,
            work,
        };
        job.fill()
    };
    let size = (inputs.plan.size_bytes, inputs.plan.uuid);
    let summary = draw((target, size), earlier, work, fill)?;
    Ok(RawSummary {
        root_hash: root_hash.get().copied(),
        ..summary
    })
}

/// Makes the file of a path, a size (bytes) and an identifier, with the bytes that `fill` puts on its canvas, as [`write`]
/// does.
///
/// # Errors
/// As there.
pub(super) fn draw(
    (target, (size_bytes, uuid)): (&Path, (u64, Uuid)),
    earlier: Option<Earlier>,
    work: Work<'_>,
    fill: impl FnOnce(&Canvas<'_>) -> Result<(), ImageError>,
) -> Result<RawSummary, ImageError> {
    let earlier = earlier.filter(|earlier| earlier.size_bytes() == size_bytes);
    let tree = match &earlier {
        Some(earlier) => earlier.tree(),
        None => DigestTree::of_zeros(size_bytes),
    };
    let (mut atomic, before) = match earlier.map(|earlier| earlier.start(target)).transpose()? {
        Some((file, before)) => (file, Some(before)),
        None => (AtomicFile::create(target)?, None),
    };
    let file = atomic.file().try_clone().map_err(PathError::on("open", target))?;
    file.set_len(size_bytes)
        .map_err(PathError::on("set the size of", target))?;
    let canvas = Canvas::new(&file, target, before.as_ref());
    fill(&canvas)?;
    let (drawn, changed) = canvas.finish()?;
    let tree = synced(&file, target, work, || tree.update(&file, target, &changed, work))?;
    let metadata = atomic.commit()?.metadata().map_err(PathError::on("read", target))?;
    Ok(RawSummary {
        size_bytes: metadata.len(),
        uuid,
        data_bytes: metadata.blocks() * 512,
        written_bytes: canvas.written_bytes(),
        drawn,
        tree,
        root_hash: None,
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
    /// The root hash of the verified root, as soon as it is known.
    root_hash: &'a OnceLock<RootHash>,
    work: Work<'a>,
}

impl Job<'_> {
    /// Writes the partitions of each rank side by side, so that one that a single thread fills does not delay the others,
    /// then what follows from all of them: the partition tables, and the code for a BIOS.
    fn fill(&self) -> Result<(), ImageError> {
        let contents: Vec<_> = self.inputs.plan.partitions.iter().zip(self.inputs.contents).collect();
        let total = Some(contents.len() as u64);
        let task = self.work.start("Write partitions", Unit::Items, total);
        let fill = |&(planned, content): &(&PlannedPartition, &Content)| {
            self.work.cancel.check()?;
            self.partition(planned, content)?;
            task.advance(1);
            Ok::<_, ImageError>(())
        };
        for rank in Rank::ALL {
            let due: Vec<_> = contents
                .iter()
                .filter(|(_, content)| content.rank() == rank)
                .copied()
                .collect();
            parallel::try_map(due.len(), &due, fill)?;
        }
        self.tables()?;
        self.work.cancel.check()?;
        Ok(())
    }

    /// Writes the partition tables.
    fn tables(&self) -> Result<(), ImageError> {
        let named = self.root_hash.get().map(|root| self.inputs.plan.with_root_hash(*root));
        let plan = named.as_ref().unwrap_or(self.inputs.plan);
        let tables = match plan.table {
            Table::Gpt => {
                gpt::tables(plan).map_err(PathError::on("make the partition table of", self.canvas.path()))?
            }
            Table::Mbr { signature } => mbr::tables(plan, signature),
        };
        for (offset_bytes, mut bytes) in tables {
            if let Some(boot_code) = self.inputs.boot_code.filter(|_| offset_bytes == 0) {
                boot_code.complete(&mut bytes);
            }
            self.canvas.put(offset_bytes, &bytes)?;
        }
        if let Some(boot_code) = self.inputs.boot_code {
            self.canvas.put(boot_code.offset_bytes(), &boot_code.core)?;
        }
        Ok(())
    }

    fn partition(&self, planned: &PlannedPartition, content: &Content) -> Result<(), ImageError> {
        let id = || planned.partition.id.clone();
        match content {
            Content::Nothing => Ok(()),
            Content::Files { file_system, grafts } => self
                .files(planned, self.region(planned), *file_system, grafts)
                .map_err(|source| ImageError::FileSystem { id: id(), source }),
            Content::Encrypted { encryption, inner } => {
                for (offset_bytes, bytes) in encryption.head() {
                    self.region(planned).put(offset_bytes, &bytes)?;
                }
                let cipher = encryption.cipher();
                let inside = self.region(planned).encrypted(luks::SEGMENT_OFFSET_BYTES, &cipher);
                match &**inner {
                    Content::Files { file_system, grafts } => self
                        .files(planned, inside, *file_system, grafts)
                        .map_err(|source| ImageError::FileSystem { id: id(), source }),
                    // Nothing else is encrypted.
                    _ => Ok(()),
                }
            }
            Content::HashTree { of, identity, root } => {
                let of = self.inputs.plan.partitions.get(*of);
                let hash = of.map(|of| self.hash_tree(of, planned, *identity)).transpose();
                let hash = hash.map_err(|source| ImageError::HashTree { id: id(), source })?;
                if let Some(hash) = hash {
                    root.keep(hash.to_string().as_bytes());
                    self.root_hash.get_or_init(|| hash);
                }
                Ok(())
            }
        }
    }

    /// Writes the hash tree of the partition `of` onto `planned`.
    fn hash_tree(
        &self,
        of: &PlannedPartition,
        planned: &PlannedPartition,
        identity: Identity,
    ) -> Result<RootHash, VerityError> {
        verity::write(self.region(of), self.region(planned), identity, self.work)
    }

    fn region(&self, planned: &PlannedPartition) -> Region<'_> {
        Region::new(self.canvas, planned.offset_bytes(), planned.size_bytes())
    }

    fn files(
        &self,
        planned: &PlannedPartition,
        region: Region<'_>,
        file_system: &dyn FileSystem,
        grafts: &[Graft],
    ) -> Result<(), FileSystemError> {
        let (mut tree, mut added) = (Tree::empty(), Vec::new());
        for Graft { from, to } in grafts {
            let (mut grafted, path) = match from {
                Origin::Tree { path, excluded } => (self.collect(path, excluded)?, path),
                Origin::Empty(like) => match self.inputs.merged.has(like)? {
                    true => (self.collect(like, &[])?.emptied(), like),
                    false => (Tree::empty(), like),
                },
                Origin::File(source) => {
                    added.push((to.clone(), source.clone()));
                    continue;
                }
            };
            if let Some(labels) = self.labels.filter(|_| file_system.is_unix()) {
                grafted.label(labels, path)?;
            }
            tree.graft(to, grafted)?;
        }
        let volume = Volume {
            uuid: planned.fs_uuid,
            hash_seed: planned.hash_seed,
            label: planned.partition.label.as_deref(),
            compression: planned.partition.compression,
            epoch_seconds: self.inputs.epoch_seconds,
        };
        let files = Files {
            tree: &tree,
            added: &added,
        };
        file_system.write(region, &volume, files, self.work)
    }

    /// Collects the tree below the directory `path` of the image, without what is below the directories `excluded`.
    fn collect(&self, path: &Path, excluded: &[PathBuf]) -> Result<Tree, FileSystemError> {
        let merged = self.inputs.merged;
        let mut left_out = Vec::new();
        for path in excluded {
            // Mount points that are not in the tree need not be left out.
            if merged.has(path)? {
                left_out.push(merged.resolve_directory(path)?);
            }
        }
        let at = merged.resolve_directory(path)?;
        Ok(tree::collect(merged.overlay(), &at, &left_out, self.work.threads)?)
    }
}

#[cfg(test)]
mod tests;
