//! The face of a file system that the image writer makes; `super::kinds` lists them.

use std::fmt::Debug;
use std::path::PathBuf;

use uuid::Uuid;

use super::content::Source;
use super::labels::LabelError;
use super::region::Region;
use super::stream::StreamError;
use super::tree::{Tree, TreeError};
use crate::cancel::Cancelled;
use crate::durable::PathError;
use crate::model::FileCompression;
use crate::work::Work;

/// A file system that the image writer makes.
pub trait FileSystem: Debug + Sync {
    /// Says whether it keeps owners, permissions, links and extended attributes, so that a root can lie on it.
    fn is_unix(&self) -> bool;

    /// Checks, before any work starts, a partition of `size_bytes` with `label`, which is not too long.
    ///
    /// # Errors
    /// [`Unfit`].
    fn check(&self, size_bytes: u64, label: Option<&str>) -> Result<(), Unfit>;

    /// Writes itself, with `files`, onto `region`. The bytes depend on the arguments alone, not on the threads of
    /// `work`. What it leaves out reads as zeros.
    ///
    /// # Errors
    /// [`FileSystemError`]; the region then holds a part of it.
    fn write(
        &self,
        region: Region<'_>,
        volume: &Volume<'_>,
        files: Files<'_>,
        work: Work<'_>,
    ) -> Result<(), FileSystemError>;
}

/// What tells a file system from others of its kind.
#[derive(Debug, Clone, Copy)]
pub struct Volume<'a> {
    /// Its UUID. Kinds with a shorter identifier use the first bytes.
    pub uuid: Uuid,
    /// Seed of the directory hashes, where there are some.
    pub hash_seed: Uuid,
    /// Its label.
    pub label: Option<&'a str>,
    /// How its contents are compressed, where they can be.
    pub compression: Option<FileCompression>,
    /// The time of its making, in seconds since 1970; no file in it is younger.
    pub epoch_seconds: u64,
}

/// The files of a file system.
#[derive(Debug, Clone, Copy)]
pub struct Files<'a> {
    /// The files of the image's tree.
    pub tree: &'a Tree,
    /// Other files by their path; they replace those of the tree. Kinds for a root refuse them.
    pub added: &'a [(PathBuf, Source)],
}

impl Files<'_> {
    /// Refuses files that are not in the tree.
    ///
    /// # Errors
    /// [`FileSystemError::Unstorable`] if there are some.
    pub(super) fn refuse_added(&self) -> Result<(), FileSystemError> {
        match self.added.first() {
            Some((path, _)) => Err(FileSystemError::Unstorable {
                path: path.clone(),
                reason: "it is no file of the image's tree".into(),
            }),
            None => Ok(()),
        }
    }
}

/// The reason why a partition cannot have a file system.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Its size is not possible.
    #[error("{0}")]
    Size(String),
    /// Its label is not possible.
    #[error("{0}")]
    Label(&'static str),
}

/// The reason why no file system was made.
#[derive(Debug, thiserror::Error)]
pub enum FileSystemError {
    /// No file system of this kind has this size.
    #[error("its {} MiB are too {what}", size_bytes >> 20)]
    Size {
        /// Size of the partition in bytes.
        size_bytes: u64,
        /// `small for FAT32` and the like.
        what: &'static str,
    },
    /// The files need more than the partition.
    #[error("the files do not fit into {} MiB{}", size_bytes >> 20, needs(*needed_bytes))]
    Full {
        /// Size of the partition in bytes.
        size_bytes: u64,
        /// The size of a partition that takes them, in bytes, if there is one.
        needed_bytes: Option<u64>,
    },
    /// This file system cannot hold such a file.
    #[error("{} cannot be stored: {reason}", path.display())]
    Unstorable {
        /// The file, from the top of the partition.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
    /// A file was cut short while it was read.
    #[error("{} became shorter while it was read", .0.display())]
    Changed(PathBuf),
    /// A file could not be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A file's label is not known.
    #[error("the labels of the image's SELinux policy: {0}")]
    Labels(#[from] LabelError),
    /// Writing failed.
    #[error(transparent)]
    Io(#[from] PathError),
    /// The user asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

fn needs(needed_bytes: Option<u64>) -> String {
    match needed_bytes {
        Some(bytes) => format!(": they need at least {} MiB", bytes.div_ceil(1 << 20)),
        None => ", and into no larger one either".into(),
    }
}

impl From<StreamError> for FileSystemError {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Tree(error) => Self::Tree(error),
            StreamError::Io(error) => Self::Io(error),
            StreamError::Cancelled(error) => Self::Cancelled(error),
        }
    }
}
