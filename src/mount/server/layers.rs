//! Which layers a server is to open, in a form that crosses a process boundary.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::fetch::Proxies;
use crate::overlay::layer::Layer;
use crate::package::ResolvedPackage;

/// The layers of a mount.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct LayerRequest {
    /// The base.
    pub snapshot: Option<SnapshotRequest>,
    /// The package pool.
    pub pool: Option<PoolRequest>,
}

/// A snapshot to unpack lazily.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SnapshotRequest {
    /// `chrootenv.tar.gz`.
    #[serde(with = "path_bytes")]
    pub tarball: PathBuf,
    /// Its index.
    #[serde(with = "path_bytes")]
    pub index: PathBuf,
    /// The directory of the backing store.
    #[serde(with = "path_bytes")]
    pub backing_dir: PathBuf,
    /// Unpack ahead of use, in the background.
    pub prefetch: Prefetch,
    /// Record, when the mount ends, in which order content was first used.
    pub record_order: bool,
}

/// What to unpack before somebody reads it. Files that are read one after the other are always
/// led by a few members.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Prefetch {
    /// Nothing more.
    #[default]
    Sequential,
    /// What an earlier mount recorded, in its order.
    Recorded,
    /// That, and then everything else.
    All,
}

/// A package pool.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PoolRequest {
    /// `pkgCache`'s parent, as configured.
    #[serde(with = "path_bytes")]
    pub cache_dir: PathBuf,
    /// Whose packages.
    pub provider_id: String,
    /// What it lists.
    pub packages: Vec<PoolPackage>,
    /// Base URL by repository id.
    pub base_urls: BTreeMap<String, String>,
    /// Use the cache only.
    pub offline: bool,
    /// Proxies for what is fetched.
    #[serde(default)]
    pub proxies: Proxies,
}

/// A package with its stanza, which a lockfile leaves out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PoolPackage {
    /// The package.
    pub package: ResolvedPackage,
    /// Its [`ResolvedPackage::stanza`].
    pub stanza: String,
}

impl From<ResolvedPackage> for PoolPackage {
    fn from(mut package: ResolvedPackage) -> Self {
        let stanza = std::mem::take(&mut package.stanza);
        Self { package, stanza }
    }
}

impl From<PoolPackage> for ResolvedPackage {
    fn from(PoolPackage { mut package, stanza }: PoolPackage) -> Self {
        package.stanza = stanza;
        package
    }
}

/// Layers, opened in the server.
pub struct OpenedLayers {
    /// Name (a directory name) and layer, the topmost first.
    pub layers: Vec<(String, Arc<dyn Layer>)>,
    /// What the layers have done so far, for reports.
    pub stats: Box<dyn Fn() -> serde_json::Value + Send + Sync>,
    /// Called once, when the mount is gone.
    pub finish: Box<dyn FnOnce() + Send>,
}

impl fmt::Debug for OpenedLayers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenedLayers")
            .field("layers", &self.layers)
            .finish_non_exhaustive()
    }
}

/// Why layers could not be opened, as it crosses the process boundary.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct OpenFailure {
    /// The cause.
    pub message: String,
    /// The next step, if there is one.
    pub hint: Option<String>,
}

/// Paths in JSON: text if they are UTF-8, else their bytes as numbers. For `#[serde(with)]`.
pub mod path_bytes {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// Writes a path.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        match path.to_str() {
            Some(text) => text.serialize(serializer),
            None => path.as_os_str().as_bytes().serialize(serializer),
        }
    }

    /// Reads a path.
    ///
    /// # Errors
    /// If it is neither text nor a list of bytes.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Text(String),
            Bytes(Vec<u8>),
        }
        Ok(match Form::deserialize(deserializer)? {
            Form::Text(text) => text.into(),
            Form::Bytes(bytes) => OsString::from_vec(bytes).into(),
        })
    }
}

/// [`path_bytes`] for a path that may be absent.
pub mod optional_path_bytes {
    use std::path::PathBuf;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Wrapped(#[serde(with = "super::path_bytes")] PathBuf);

    /// Writes a path or null.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
        path.clone().map(Wrapped).serialize(serializer)
    }

    /// Reads a path or null.
    ///
    /// # Errors
    /// As [`super::path_bytes::deserialize`].
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
        Ok(Option::<Wrapped>::deserialize(deserializer)?.map(|Wrapped(path)| path))
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    #[test]
    fn a_request_crosses_unchanged() {
        let request = SnapshotRequest {
            tarball: OsStr::from_bytes(b"/a\xff b").into(),
            index: "/ü".into(),
            backing_dir: "/c".into(),
            prefetch: Prefetch::All,
            record_order: true,
        };
        let text = serde_json::to_string(&request).unwrap();
        let back: SnapshotRequest = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (
                back.tarball,
                back.index,
                back.backing_dir,
                back.prefetch,
                back.record_order
            ),
            (request.tarball, request.index, request.backing_dir, Prefetch::All, true)
        );
    }
}
