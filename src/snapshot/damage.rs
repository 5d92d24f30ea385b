//! Finds the damaged files of a snapshot on disk, and removes them, so that they are made again.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::foreign::{self, PrepareOptions};
use super::index::Index;
use super::store::Store;
use super::{MemberId, Snapshot, SnapshotError, SnapshotPaths, toc};
use crate::cancel::Cancel;
use crate::durable::{self, PathError, ScratchDir};

/// The result of [`examine`].
#[derive(Debug, Default)]
pub struct Examined {
    /// Number of sound members of the tarball.
    pub members: u64,
    /// Bytes of the tarball that were read.
    pub bytes: u64,
    /// The damaged files.
    pub damaged: Vec<Damaged>,
}

/// A damaged file of a snapshot.
#[derive(Debug)]
pub struct Damaged {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: String,
    /// Some files of the base that cannot be read any more.
    pub files: Vec<PathBuf>,
    part: Part,
}

/// The part that a damaged file is; it determines how the file is made again.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// The tarball: the base has to be made again.
    Tarball,
    /// The index: it is made again from the tarball.
    Index,
    /// A small file of the backing store, with the marks or the order of members. Losing it does no harm.
    Notes,
    /// Members in the backing store, which are unpacked again.
    Copies(Vec<MemberId>),
}

impl Damaged {
    fn new(part: Part, path: &Path, problem: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            problem: problem.into(),
            files: Vec::new(),
            part,
        }
    }

    /// Returns whether the base has to be made again.
    pub fn is_base(&self) -> bool {
        self.part == Part::Tarball
    }

    /// Removes the damaged file or copies, so that their next user makes them again.
    ///
    /// # Errors
    /// If removing fails.
    pub fn remove(&self, paths: &SnapshotPaths) -> Result<(), SnapshotError> {
        match &self.part {
            Part::Tarball => {
                durable::remove_tree(&paths.index)?;
                durable::remove_tree(&paths.tarball)?;
            }
            Part::Index | Part::Notes => durable::remove_tree(&self.path)?,
            // The tarball of the copies may be gone already.
            Part::Copies(_) if !paths.tarball.exists() => {}
            Part::Copies(members) => Snapshot::open(paths)?.forget_copies(members)?,
        }
        Ok(())
    }
}

/// Reads and verifies every byte of the existing snapshot at `paths`; `advance` gets the number of the tarball's bytes
/// as they are read. Changes nothing, except that it makes a missing or outdated index of a tarball from elsewhere.
///
/// # Errors
/// If a file cannot be read, or `cancel` is set. Damage is no error.
pub fn examine(paths: &SnapshotPaths, advance: &dyn Fn(u64), cancel: &Cancel) -> Result<Examined, SnapshotError> {
    let mut examined = Examined::default();
    match examine_parts(paths, &mut examined, advance, cancel) {
        Err(SnapshotError::Tarball { path, problem } | SnapshotError::Foreign { path, problem }) => {
            examined.damaged.push(Damaged::new(Part::Tarball, &path, problem));
        }
        Err(SnapshotError::Index { problem, .. }) => {
            examined.damaged.push(Damaged::new(Part::Index, &paths.index, problem));
        }
        result => result?,
    }
    Ok(examined)
}

fn examine_parts(
    paths: &SnapshotPaths,
    examined: &mut Examined,
    advance: &dyn Fn(u64),
    cancel: &Cancel,
) -> Result<(), SnapshotError> {
    let mut good = paths.clone();
    // Opening a snapshot repairs what is damaged of it; the repairs go to a scratch directory.
    let directory = paths.index.parent().unwrap_or(Path::new("/"));
    let mut apart = None;
    let mut scratch = || -> Result<PathBuf, SnapshotError> {
        let scratch = apart.get_or_insert(ScratchDir::create_in(directory)?);
        Ok(scratch.path().to_owned())
    };
    if !has_sound_index(paths, cancel)? {
        let problem = "it is not what the tarball's table of contents says";
        examined.damaged.push(Damaged::new(Part::Index, &paths.index, problem));
        good.index = scratch()?.join("index");
        toc::rebuild_index(&good.tarball, &good.index)?;
    }
    let index = match Index::open(&good.index) {
        Ok(index) => Some(index),
        Err(SnapshotError::Path(_)) => None,
        Err(error) => return Err(error),
    };
    if let Some(index) = index {
        let id = index.header().snapshot_id;
        for (path, problem) in Store::damaged_files(&paths.backing_dir, id, index.members()) {
            examined.damaged.push(Damaged::new(Part::Notes, &path, problem));
            good.backing_dir = scratch()?.join("store");
        }
    }
    let snapshot = Snapshot::open(&good)?;
    let check = snapshot.check(advance, cancel)?;
    examined.members = check.members - check.damaged.len() as u64;
    examined.bytes = check.bytes;
    for (problem, files) in check.damaged {
        let damaged = Damaged::new(Part::Tarball, &paths.tarball, problem);
        examined.damaged.push(Damaged { files, ..damaged });
    }
    if !check.damaged_copies.is_empty() {
        let problem = format!(
            "{} unpacked members are not what they should be",
            check.damaged_copies.len()
        );
        let part = Part::Copies(check.damaged_copies);
        examined
            .damaged
            .push(Damaged::new(part, snapshot.store.path(), problem));
    }
    Ok(())
}

/// Returns whether the index is whole, or absent and can be made. Makes the index of a tarball from elsewhere.
///
/// # Errors
/// Damage of the tarball; of the index, if the tarball came from elsewhere.
fn has_sound_index(paths: &SnapshotPaths, cancel: &Cancel) -> Result<bool, SnapshotError> {
    let file = File::open(&paths.tarball).map_err(PathError::on("open", &paths.tarball))?;
    match toc::footer(&file, &paths.tarball) {
        Ok(_) if paths.index.exists() => toc::is_index(&paths.tarball, &paths.index),
        Ok(_) => Ok(true),
        Err(error) if paths.index.exists() && Index::open(&paths.index)?.header().foreign.is_none() => {
            // The index says that oic has written the tarball.
            Err(error)
        }
        Err(_) => {
            let options = PrepareOptions {
                cancel: cancel.clone(),
                ..PrepareOptions::default()
            };
            foreign::prepare(paths, &options).map(|_| true)
        }
    }
}
