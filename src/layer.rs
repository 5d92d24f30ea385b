//! Step layers: what one step of a build wrote, kept under a key over everything that went in, and
//! reused by any later build that arrives at the same key.
//!
//! ```text
//! layers/{key}/tree/         the step's upper, in the Linux overlayfs format
//! layers/{key}/layer.json    its [`Manifest`]
//! layers/{key}.lock          held by whoever makes that layer
//! ```
//!
//! Invariant: a layer under its final name was written whole and synced, and [`LayerStore::find`] gives it only
//! if every entry is still as it was then. Layers are never changed, only removed.

mod below;
mod draft;
mod key;
mod manifest;
mod scan;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

pub use below::Below;
pub use draft::{Draft, seal};
pub use key::KeyBuilder;
pub use manifest::{Facts, Manifest, ManifestError};
pub use scan::{ContentError, Scan, content, glance};

use crate::cancel::{Cancel, Cancelled};
use crate::durable::{self, FileLock, LockError, PathError, TEMPORARY_PREFIX};
use crate::package::Sha256;

/// The name of the directory that a layer consists of.
const TREE: &str = "tree";
const MANIFEST: &str = "layer.json";
/// Held while drafts are made or swept.
const LOCK: &str = "lock";

/// Why a layer could not be used or made.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// A file could not be used.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The user asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// A layer that something lies on is not there any more, or not as it was left.
    #[error("the step layer {key} in {} is {problem}", directory.display())]
    Unusable {
        /// Its key.
        key: Sha256,
        /// Where it should be.
        directory: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

impl LayerError {
    /// What the user can do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unusable { .. } => Some("build the image again".to_owned()),
            Self::Path(error) if error.is_no_space() => {
                Some("free some space there (oic cache gc), or choose another place with --work-dir".to_owned())
            }
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
    /// What it says of itself.
    pub manifest: Manifest,
    directory: PathBuf,
}

impl Layer {
    /// Its content.
    pub fn tree(&self) -> PathBuf {
        self.directory.join(TREE)
    }

    /// The directory with everything that belongs to it.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// When a build last used it.
    pub fn last_used(&self) -> SystemTime {
        let manifest = self.directory.join(MANIFEST).symlink_metadata();
        manifest
            .and_then(|metadata| metadata.modified())
            .unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// Notes that it is used now.
    fn note_use(&self) {
        let manifest = fs::File::open(self.directory.join(MANIFEST));
        // Only the order of later removals depends on it.
        if let Err(error) = manifest.and_then(|file| file.set_modified(SystemTime::now())) {
            tracing::debug!(%error, "the use of a step layer was not noted");
        }
    }
}

/// The layers of one provider.
#[derive(Debug, Clone)]
pub struct LayerStore {
    directory: PathBuf,
}

impl LayerStore {
    /// Those in `directory`, which need not exist.
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Waits until nobody else makes the layer `key`, and keeps others from doing so.
    ///
    /// # Errors
    /// As [`FileLock::exclusive_unless`].
    pub fn lock(&self, key: Sha256, cancel: &Cancel, waiting: impl FnOnce()) -> Result<FileLock, LayerError> {
        self.make()?;
        let path = self.directory.join(format!("{key}.lock"));
        Ok(FileLock::exclusive_unless(&path, cancel, waiting)?)
    }

    /// The layer `key`, if it is there.
    ///
    /// # Errors
    /// [`LayerError::Unusable`] if an entry of it is not as it was left, or if it cannot be looked at.
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

    /// The layer `key`, which must be there.
    ///
    /// # Errors
    /// [`LayerError::Unusable`] if it is missing, or an entry of it is not as it was left.
    pub fn check(&self, key: Sha256) -> Result<Layer, LayerError> {
        let directory = self.directory.join(key.to_string());
        let unusable = |problem: String| LayerError::Unusable {
            key,
            directory: directory.clone(),
            problem,
        };
        let manifest = match Manifest::read(&directory.join(MANIFEST)) {
            Ok(manifest) if manifest.facts.key == key => manifest,
            Ok(_) => return Err(unusable("another one under this name".to_owned())),
            Err(ManifestError::Path(error)) if error.source.kind() == io::ErrorKind::NotFound => {
                return Err(unusable(ABSENT.to_owned()));
            }
            Err(ManifestError::Path(error)) => return Err(error.into()),
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

    /// All layers, by key, without a look at their content. What cannot be read is left out.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn list(&self) -> Result<Vec<Layer>, PathError> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(PathError::on("list", &self.directory)(error)),
        };
        let mut layers = Vec::new();
        for entry in entries {
            let directory = entry.map_err(PathError::on("list", &self.directory))?.path();
            if let Ok(manifest) = Manifest::read(&directory.join(MANIFEST)) {
                layers.push(Layer { manifest, directory });
            }
        }
        layers.sort_by_key(|layer| layer.manifest.facts.key.0);
        Ok(layers)
    }

    /// A place for a new layer.
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

    /// The directory is for its owner alone: layers hold password hashes under readable names.
    fn make(&self) -> Result<(), PathError> {
        use std::os::unix::fs::DirBuilderExt as _;
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory);
        made.map_err(PathError::on("create", &self.directory))
    }
}

const ABSENT: &str = "missing";

#[cfg(test)]
mod tests;
