//! Files of the host as sources: what an earlier part of the build has made, and packages of the cache.

use std::path::Path;
use std::sync::Arc;

use super::content::{LayerFile, Source};
use crate::durable::PathError;
use crate::overlay::directory::DirectoryLayer;
use crate::overlay::layer::{Errno, FileKind, Layer as _, LayerError};

/// A directory of the host, whose files are sources.
#[derive(Debug, Clone)]
pub struct HostDirectory {
    path: Arc<Path>,
    layer: Arc<DirectoryLayer>,
}

impl HostDirectory {
    /// Opens the directory `path`.
    ///
    /// # Errors
    /// If it is not a directory, or cannot be opened.
    pub fn open(path: &Path) -> Result<Self, PathError> {
        Ok(Self {
            path: path.into(),
            layer: Arc::new(DirectoryLayer::open(path)?),
        })
    }

    /// Returns the regular file `name` in it, which must not change until it was read.
    ///
    /// # Errors
    /// If it is missing, or not a regular file.
    pub fn file(&self, name: &str) -> Result<Source, PathError> {
        let path = self.path.join(name);
        let find = || {
            let found = self.layer.lookup(self.layer.root(), name.as_ref())?;
            let node = found.ok_or(LayerError::from(Errno::NOENT))?;
            let attributes = self.layer.attributes(node)?;
            match attributes.kind {
                FileKind::Regular => Ok((node, attributes.size_bytes)),
                _ => Err(LayerError::from(Errno::INVAL)),
            }
        };
        let (node, size_bytes) = find().map_err(|error| PathError::on("open", &path)(error.errno.into()))?;
        Ok(Source::File(LayerFile {
            layer: Arc::clone(&self.layer) as _,
            node,
            path,
            size_bytes,
        }))
    }
}
