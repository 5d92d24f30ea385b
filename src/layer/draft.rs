//! A layer while it is made: under a temporary name, until it is whole.

use std::fs;
use std::path::{Path, PathBuf};

use super::scan;
use super::{Facts, Layer, LayerError, MANIFEST, Manifest, SUMS, Sums, TREE};
use crate::cancel::Cancel;
use crate::durable::{self, FileLock, PathError, TEMPORARY_PREFIX};

/// The file whose lock shows that a process works on the draft.
const LOCK: &str = "lock";

/// A directory of the store for a future layer; removed when dropped, unless it was published.
#[derive(Debug)]
pub struct Draft {
    directory: PathBuf,
    published: bool,
    _lock: FileLock,
}

impl Draft {
    /// Makes a draft in the store's directory, whose lock the caller holds.
    pub(super) fn create_in(store: &Path) -> Result<Self, PathError> {
        let directory = durable::private_scratch(TEMPORARY_PREFIX, store)?.keep();
        let lock = FileLock::exclusive(directory.join(LOCK))?;
        Ok(Self {
            directory,
            published: false,
            _lock: lock,
        })
    }

    /// Returns the directory for the content, which does not exist yet.
    pub fn tree(&self) -> PathBuf {
        self.directory.join(TREE)
    }

    /// Returns a directory on the same file system for files that are needed only while the content is written.
    pub fn work(&self) -> PathBuf {
        self.directory.join("work")
    }

    /// Makes the content durable and gives it its final name, with `facts` in its manifest. The caller holds the lock
    /// of the key. If a sound layer exists already, it stays and the draft is returned: a caller that uses the draft
    /// as a lower layer still needs it. An unsound layer is replaced.
    ///
    /// # Errors
    /// If something cannot be written, or `cancel` is set; the draft is then removed.
    pub fn publish(mut self, facts: Facts, cancel: &Cancel) -> Result<Result<Layer, Self>, LayerError> {
        let store = self.directory.parent().unwrap_or(Path::new("/")).to_owned();
        for entry in fs::read_dir(&self.directory).map_err(PathError::on("list", &self.directory))? {
            let path = entry.map_err(PathError::on("list", &self.directory))?.path();
            if path.file_name().is_some_and(|name| name != TREE && name != LOCK) {
                durable::remove_tree(&path)?;
            }
        }
        let (manifest, sums) = seal(&self.tree(), facts, cancel)?;
        sums.write(&self.directory.join(SUMS))?;
        manifest.write(&self.directory.join(MANIFEST))?;
        let key = manifest.facts.key;
        let target = store.join(key.to_string());
        if target.exists() {
            if super::LayerStore::new(store).check(key).is_ok() {
                return Ok(Err(self));
            }
            durable::remove_tree(&target)?;
        }
        fs::rename(&self.directory, &target).map_err(PathError::on("rename into place", &target))?;
        self.published = true;
        durable::sync_directory(target.parent().unwrap_or(Path::new("/")))?;
        // No process looks at it under this name.
        durable::remove_tree(&target.join(LOCK))?;
        Ok(Ok(Layer {
            manifest,
            directory: target,
        }))
    }
}

/// Writes the finished `tree` to disk, and returns its manifest and the checksums of its files. The work directory
/// must be gone: overlayfs keeps a link there to the whiteouts, whose removal changes them.
///
/// # Errors
/// If it cannot be synced or read, or `cancel` is set.
pub fn seal(tree: &Path, facts: Facts, cancel: &Cancel) -> Result<(Manifest, Sums), LayerError> {
    // The disk works while contents are read, which are still in memory.
    scan::each_file(tree, &|file| durable::start_write_back(file, cancel))?;
    let (content, sums) = scan::content(tree, cancel)?;
    scan::each_file(tree, &|file| durable::write_back(file, cancel))?;
    let directory = fs::File::open(tree).map_err(PathError::on("open", tree))?;
    rustix::fs::syncfs(&directory).map_err(|errno| PathError::on("sync", tree)(errno.into()))?;
    let scan = scan::glance(tree)?;
    Ok((Manifest { scan, content, facts }, sums))
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.published {
            return;
        }
        if let Err(error) = durable::remove_tree(&self.directory) {
            tracing::warn!(%error, "an unfinished step layer stays; the next build removes it");
        }
    }
}

/// Returns whether a process works on the draft in `directory`.
pub(super) fn is_used(directory: &Path) -> bool {
    let lock = directory.join(LOCK);
    lock.exists() && !matches!(FileLock::try_exclusive(&lock), Ok(Some(_)))
}
