//! Step layers: what one step of a build wrote, kept under a key over everything that went in, and
//! reused by any later build that arrives at the same key.
//!
//! ```text
//! layers/{key}/tree/         the step's upper, in the Linux overlayfs format
//! layers/{key}/layer.json    its [`Manifest`]
//! layers/{key}/layer.sums    checksums of its files: [`Sums`]
//! layers/{key}.lock          held by the process that makes that layer
//! ```
//!
//! Invariant: a layer under its final name was written whole and synced, and [`LayerStore::find`] returns it only if
//! every entry is unchanged since then. Layers are never changed, only removed. Damage by the disk itself shows only
//! in the bytes: code that copies them compares them with [`Sums`].

mod below;
mod content_error;
mod damage;
mod draft;
mod key;
mod manifest;
mod scan;
mod sums;
mod times;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

pub use below::{Below, BelowError};
pub use content_error::ContentError;
pub use damage::{Damage, damage};
pub use draft::{Draft, seal};
pub use key::KeyBuilder;
pub use manifest::{Facts, Manifest, ManifestError, Secret};
pub use scan::{Scan, content, glance};
pub use sums::{PIECE_BYTES, Sums, SumsError};
pub use times::Times;

use crate::cancel::{Cancel, Cancelled};
use crate::durable::{self, FileLock, LockError, PathError, TEMPORARY_PREFIX};
use crate::hint::Hint;
use crate::package::Sha256;

/// The name of the directory that a layer consists of.
const TREE: &str = "tree";
const MANIFEST: &str = "layer.json";
/// The name of the file with checksums.
const SUMS: &str = "layer.sums";
/// The lock that is held while drafts are made or swept.
const LOCK: &str = "lock";

/// A reason why a layer could not be used or made.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// A file could not be used.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The user asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// The checksums of a layer cannot be used.
    #[error("the step layer in {}: {error}", directory.display())]
    Sums {
        /// The directory of the layer.
        directory: PathBuf,
        /// The problem with them.
        #[source]
        error: SumsError,
    },
    /// A layer below another one is missing or was changed.
    #[error("the step layer {key} in {} is {problem}", directory.display())]
    Unusable {
        /// Its key.
        key: Sha256,
        /// The directory where it should be.
        directory: PathBuf,
        /// The problem with it.
        problem: String,
    },
}

impl LayerError {
    /// Returns what the user can do next.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::Unusable { .. } | Self::Sums { .. } => Some("build the image again".into()),
            Self::Path(_) | Self::Cancelled(_) => None,
        }
    }
}

impl From<ContentError> for LayerError {
    fn from(error: ContentError) -> Self {
        match error {
            ContentError::Path(error) => Self::Path(error),
            ContentError::Cancelled(error) => Self::Cancelled(error),
        }
    }
}

impl From<LockError> for LayerError {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Path(error) => Self::Path(error),
            LockError::Cancelled(error) => Self::Cancelled(error),
        }
    }
}

/// A layer that is complete.
#[derive(Debug, Clone)]
pub struct Layer {
    /// The facts about it, as its maker wrote them.
    pub manifest: Manifest,
    directory: PathBuf,
}

impl Layer {
    /// Returns the directory with its content.
    pub fn tree(&self) -> PathBuf {
        self.directory.join(TREE)
    }

    /// Returns the file with the checksums of its files.
    pub fn sums(&self) -> PathBuf {
        sums_of(&self.tree())
    }

    /// Returns the directory with everything that belongs to it.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns when a build last used it.
    pub fn last_used(&self) -> SystemTime {
        let manifest = self.directory.join(MANIFEST).symlink_metadata();
        manifest
            .and_then(|metadata| metadata.modified())
            .unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// Records that it is used now.
    fn note_use(&self) {
        let manifest = fs::File::open(self.directory.join(MANIFEST));
        // Only the order of later removals depends on it.
        if let Err(error) = manifest.and_then(|file| file.set_modified(SystemTime::now())) {
            tracing::debug!(%error, "the use of a step layer was not noted");
        }
    }
}

/// Returns the file with the checksums of the layer, or of the draft, whose tree is `tree`.
pub fn sums_of(tree: &Path) -> PathBuf {
    tree.with_file_name(SUMS)
}

/// An entry of the store under a layer's name.
#[derive(Debug)]
pub struct Entry {
    /// The key that is its name.
    pub key: Sha256,
    /// Its directory.
    pub directory: PathBuf,
    /// The layer, or the reason why it is none.
    pub layer: Result<Layer, ManifestError>,
}

/// The layers of one provider.
#[derive(Debug, Clone)]
pub struct LayerStore {
    directory: PathBuf,
}

impl LayerStore {
    /// Returns the store in `directory`, which need not exist.
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Waits until no other process makes the layer `key`, and keeps others from doing so.
    ///
    /// # Errors
    /// As [`FileLock::exclusive_unless`].
    pub fn lock(&self, key: Sha256, cancel: &Cancel, waiting: impl FnOnce()) -> Result<FileLock, LayerError> {
        self.make()?;
        let path = self.directory.join(format!("{key}.lock"));
        Ok(FileLock::exclusive_unless(&path, cancel, waiting)?)
    }

    /// Finds the layer `key` and records its use; `None` if it is missing.
    ///
    /// # Errors
    /// [`LayerError::Unusable`] if an entry of it was changed or cannot be examined.
    pub fn find(&self, key: Sha256) -> Result<Option<Layer>, LayerError> {
        match self.check(key) {
            Ok(layer) => {
                layer.note_use();
                Ok(Some(layer))
            }
            Err(LayerError::Unusable { problem, .. }) if problem == ABSENT => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Checks that the layer `key` exists and is unchanged, and returns it.
    ///
    /// # Errors
    /// [`LayerError::Unusable`] if it is missing, or an entry of it was changed.
    pub fn check(&self, key: Sha256) -> Result<Layer, LayerError> {
        let directory = self.directory.join(key.to_string());
        let unusable = |problem: String| LayerError::Unusable {
            key,
            directory: directory.clone(),
            problem,
        };
        let manifest = match self.manifest(key) {
            Ok(manifest) => manifest,
            Err(ManifestError::Path(error)) if error.source.kind() == io::ErrorKind::NotFound => {
                return Err(unusable(ABSENT.to_owned()));
            }
            Err(ManifestError::Path(error)) if !error.is_unreadable() => return Err(error.into()),
            Err(error) => return Err(unusable(format!("damaged: {error}"))),
        };
        let layer = Layer {
            manifest,
            directory: directory.clone(),
        };
        match glance(&layer.tree()) {
            Ok(scan) if scan == layer.manifest.scan => Ok(layer),
            Ok(_) => Err(unusable("not as it was left".to_owned())),
            Err(error) => Err(unusable(format!("damaged: {error}"))),
        }
    }

    /// Returns all layers, by key, without examining their content. Unreadable ones are left out.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn list(&self) -> Result<Vec<Layer>, PathError> {
        let entries = self.entries()?.into_iter();
        Ok(entries.filter_map(|entry| entry.layer.ok()).collect())
    }

    /// Lists all entries under a layer's name, by key.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn entries(&self) -> Result<Vec<Entry>, PathError> {
        let names = match fs::read_dir(&self.directory) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(PathError::on("list", &self.directory)(error)),
        };
        let mut entries = Vec::new();
        for name in names {
            let directory = name.map_err(PathError::on("list", &self.directory))?.path();
            let name = directory.file_name().and_then(|name| name.to_str());
            let Some(key) = name.and_then(|name| name.parse::<Sha256>().ok()) else {
                continue;
            };
            let layer = self.manifest(key).map(|manifest| Layer {
                manifest,
                directory: directory.clone(),
            });
            entries.push(Entry { key, directory, layer });
        }
        entries.sort_by_key(|entry| entry.key.0);
        Ok(entries)
    }

    /// Reads the manifest of the layer `key`.
    fn manifest(&self, key: Sha256) -> Result<Manifest, ManifestError> {
        let manifest = Manifest::read(&self.directory.join(key.to_string()).join(MANIFEST))?;
        match manifest.facts.key == key {
            true => Ok(manifest),
            false => Err(ManifestError::Other("is of another layer")),
        }
    }

    /// Removes the layers `keys` and all layers above one of them: a layer made from damaged input is damaged, too.
    ///
    /// # Errors
    /// If one cannot be removed.
    pub fn remove(&self, keys: &BTreeSet<Sha256>) -> Result<(), PathError> {
        let mut gone = keys.clone();
        let layers = self.list()?;
        loop {
            let lies_on_one = |layer: &&Layer| gone.contains(&layer.manifest.facts.parent);
            let above: Vec<_> = layers
                .iter()
                .filter(lies_on_one)
                .map(|layer| layer.manifest.facts.key)
                .collect();
            let before = gone.len();
            gone.extend(above);
            if gone.len() == before {
                break;
            }
        }
        gone.iter()
            .try_for_each(|key| durable::remove_tree(&self.directory.join(key.to_string())))
    }

    /// Makes a place for a new layer.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn draft(&self) -> Result<Draft, LayerError> {
        self.make()?;
        let _lock = FileLock::exclusive(self.directory.join(LOCK))?;
        Ok(Draft::create_in(&self.directory)?)
    }

    /// Removes what killed builds left.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn sweep(&self) -> Result<(), PathError> {
        if !self.directory.exists() {
            return Ok(());
        }
        let _lock = FileLock::exclusive(self.directory.join(LOCK))?;
        for entry in fs::read_dir(&self.directory).map_err(PathError::on("list", &self.directory))? {
            let path = entry.map_err(PathError::on("list", &self.directory))?.path();
            let name = path.file_name().unwrap_or_default().as_encoded_bytes();
            if name.starts_with(TEMPORARY_PREFIX.as_bytes()) && !draft::is_used(&path) {
                durable::remove_tree(&path)?;
            }
        }
        Ok(())
    }

    /// Makes the directory, for its owner alone: layers hold password hashes under readable names.
    fn make(&self) -> Result<(), PathError> {
        durable::private_directory(&self.directory)
    }
}

const ABSENT: &str = "missing";

#[cfg(test)]
mod tests;
