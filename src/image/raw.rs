//! The raw disk image: one sparse file, complete under its name or not there.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::SeekFrom;
use sha2::Digest as _;

use super::ext4::{self, ExtError, Mke2fs};
use super::fat::{self, FatError};
use super::plan::{DiskPlan, PlannedPartition};
use super::populate::{Hidden, PartitionSource};
use super::tool::ToolError;
use super::{gpt, swap};
use crate::cancel::{Cancel, Cancelled};
use crate::durable::{AtomicFile, PathError};
use crate::package::Sha256;
use crate::progress::{Progress, Unit};
use crate::root::Root;
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
                    source: ExtError::Tool(ToolError::Cancelled(_)),
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
            Self::Ext {
                source: ExtError::NoSpace(_),
                ..
            } => true,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawSummary {
    /// Size of the image.
    pub size_bytes: u64,
    /// What it takes on the host's disk.
    pub data_bytes: u64,
}

/// The helper programs that an image needs, looked up before any work starts.
#[derive(Debug, Clone)]
pub struct Tools {
    mke2fs: Option<Mke2fs>,
}

impl Tools {
    /// Looks for what `plan` needs.
    ///
    /// # Errors
    /// [`ToolError::Missing`], naming the package and the field.
    pub fn find(plan: &DiskPlan) -> Result<Self, ToolError> {
        let needs = plan.partitions.iter().find(|planned| {
            let kind = planned.partition.file_system;
            matches!(kind, Some(FileSystem::Ext2 | FileSystem::Ext3 | FileSystem::Ext4))
        });
        let field =
            |p: &PlannedPartition| format!("disk.partitions[{}].fsType (id {:?})", p.number - 1, p.partition.id);
        let mke2fs = needs.map(|planned| Mke2fs::find(&field(planned))).transpose()?;
        Ok(Self { mke2fs })
    }
}

/// What an image is made from.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The disk, laid out.
    pub plan: &'a DiskPlan,
    /// The installed tree. If a source excludes something, mounts are made over
    /// it: opened in the calling thread's mount namespace, which is a private one.
    pub root: &'a Root,
    /// What goes onto which partition, from [`super::populate::sources`].
    pub sources: &'a [PartitionSource],
    /// From [`Tools::find`].
    pub tools: &'a Tools,
    /// No time in the image is later. Seconds since 1970, UTC.
    pub epoch_seconds: u64,
}

/// Writes the image `target`: the tables and the filled partitions. Then the
/// file is synced and gets its name.
///
/// # Errors
/// [`ImageError`]; `target` is then as it was before.
pub fn write(
    target: &Path,
    inputs: Inputs<'_>,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<RawSummary, ImageError> {
    let Inputs { plan, sources, .. } = inputs;
    let mut atomic = AtomicFile::create(target)?;
    let raw = atomic.temporary_path().to_owned();
    atomic
        .file()
        .set_len(plan.size_bytes)
        .map_err(PathError::on("set the size of", target))?;
    gpt::write(atomic.file(), target, plan)?;
    let job = Job {
        raw: &raw,
        file: atomic.file(),
        inputs,
        cancel,
    };
    let task = progress.start("Write partitions", Unit::Items, Some(plan.partitions.len() as u64));
    let done = plan.partitions.iter().try_for_each(|planned| {
        cancel.check()?;
        job.partition(planned, sources.iter().find(|source| source.number == planned.number))?;
        progress.advance(task, 1);
        Ok::<_, ImageError>(())
    });
    progress.finish(task);
    done?;
    cancel.check()?;
    let metadata = atomic.commit()?.metadata().map_err(PathError::on("read", target))?;
    Ok(RawSummary {
        size_bytes: metadata.len(),
        data_bytes: metadata.blocks() * 512,
    })
}

struct Job<'a> {
    raw: &'a Path,
    file: &'a File,
    inputs: Inputs<'a>,
    cancel: &'a Cancel,
}

impl Job<'_> {
    fn partition(&self, planned: &PlannedPartition, source: Option<&PartitionSource>) -> Result<(), ImageError> {
        let id = &planned.partition.id;
        let extra = source.map(|source| source.extra.as_slice()).unwrap_or_default();
        let path = source.and_then(|source| source.path.as_deref());
        let kind = planned.partition.file_system;
        if !extra.is_empty() && !matches!(kind, Some(FileSystem::Fat16 | FileSystem::Fat32)) {
            return Err(ImageError::NoFileSystem(id.clone()));
        }
        let hidden = Hidden::cover(
            self.inputs.root,
            source.map(|s| s.excluded.as_slice()).unwrap_or_default(),
        )?;
        match kind {
            None if path.is_some() => return Err(ImageError::NoFileSystem(id.clone())),
            None => {}
            Some(FileSystem::Swap) => swap::write(
                self.file,
                self.raw,
                planned.offset_bytes(),
                planned.size_bytes(),
                planned.fs_uuid,
                planned.partition.label.as_deref(),
            )?,
            Some(kind @ (FileSystem::Fat16 | FileSystem::Fat32)) => self
                .fat(planned, kind, path, extra)
                .map_err(|source| ImageError::Fat { id: id.clone(), source })?,
            // XFS was refused by the plan.
            Some(kind) => self.ext(planned, kind, path)?,
        }
        drop(hidden);
        Ok(())
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
            tree.add_tree(self.inputs.root, path)?;
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
        fat::write(self.file, self.raw, &spec, &tree, self.cancel)
    }

    fn ext(&self, planned: &PlannedPartition, kind: FileSystem, path: Option<&Path>) -> Result<(), ImageError> {
        let mke2fs = match &self.inputs.tools.mke2fs {
            Some(mke2fs) => mke2fs.clone(),
            None => Mke2fs::find("disk.partitions")?,
        };
        let source = path.map(|path| self.inputs.root.resolve_directory(path)).transpose()?;
        let spec = ext4::Spec {
            kind,
            offset_bytes: planned.offset_bytes(),
            size_bytes: planned.size_bytes(),
            uuid: planned.fs_uuid,
            hash_seed: planned.hash_seed,
            label: planned.partition.label.clone(),
            epoch_seconds: self.inputs.epoch_seconds,
        };
        mke2fs
            .make(self.raw, source.as_deref(), &spec, self.cancel)
            .map_err(|source| ImageError::Ext {
                id: planned.partition.id.clone(),
                source,
            })
    }
}

/// The SHA-256 of the file `path`, with its holes as the zeros they stand for.
/// Holes are not read, but every byte goes through the hash, so this is worth a
/// thread beside other work.
///
/// # Errors
/// If reading fails or the user asked to stop.
pub fn digest(path: &Path, progress: &dyn Progress, cancel: &Cancel) -> Result<Sha256, ImageError> {
    let mut hasher = sha2::Sha256::new();
    let file = File::open(path).map_err(PathError::on("open", path))?;
    let size_bytes = file.metadata().map_err(PathError::on("read", path))?.len();
    let task = progress.start("Hash image", Unit::Bytes, Some(size_bytes));
    let result = for_each_block(&file, size_bytes, |block| {
        cancel.check().map_err(io::Error::other)?;
        hasher.update(block);
        progress.advance(task, block.len() as u64);
        Ok(())
    });
    progress.finish(task);
    cancel.check()?;
    result.map_err(PathError::on("read", path))?;
    Ok(Sha256(hasher.finalize().into()))
}

/// Gives the file's bytes to `take` in order, in blocks of at most 1 MiB.
fn for_each_block(file: &File, size_bytes: u64, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 20];
    let zeros = vec![0; 1 << 20];
    let (mut offset, mut data_end) = (0, 0);
    while offset < size_bytes {
        let (data_start, end) = if offset < data_end {
            (offset, data_end)
        } else {
            next_data(file, offset, size_bytes)?
        };
        data_end = end;
        let is_hole = data_start > offset;
        let limit = if is_hole { data_start } else { data_end };
        let count = (limit - offset).min(buffer.len() as u64) as usize;
        if is_hole {
            take(&zeros[..count])?;
            // What follows is found again when the hole is passed.
            data_end = 0;
        } else {
            file.read_exact_at(&mut buffer[..count], offset)?;
            take(&buffer[..count])?;
        }
        offset += count as u64;
    }
    Ok(())
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
