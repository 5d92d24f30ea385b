//! `layer.json`: what a layer says of itself, with a checksum over it.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::scan::Scan;
use crate::durable::{self, PathError};
use crate::package::Sha256;

const FORMAT: &str = "oic-layer";
const VERSION: u32 = 1;
/// The digests of 60,000 packages have 4 MB.
const SIZE_LIMIT_BYTES: u64 = 16 << 20;

/// What whoever made a layer knows of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// Digest of everything that went in.
    pub key: Sha256,
    /// The step, such as `packages`.
    pub step: String,
    /// The key of the layer, or of the base, that it was made upon.
    pub parent: Sha256,
    /// The key below the whole of a step that was done in several layers; the parent, if in one.
    pub ground: Sha256,
    /// Digests of the package files that this step has installed above `ground`.
    pub packages: Vec<Sha256>,
    /// What the user should know, each time.
    pub warnings: Vec<String>,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// What its maker knew.
    pub facts: Facts,
    /// How its entries were left.
    pub scan: Scan,
    /// Digest of all content and metadata, independent of where it lies.
    pub content: Sha256,
}

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It cannot be read.
    #[error(transparent)]
    Path(#[from] PathError),
    /// It is not what a manifest looks like.
    #[error("its manifest is malformed: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It is of another kind or version, or was changed.
    #[error("its manifest {0}")]
    Other(&'static str),
}

/// The file: the manifest as text in a string, so that the checksum is over exactly what is parsed.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    format: String,
    version: u32,
    manifest: Box<serde_json::value::RawValue>,
    checksum: Sha256,
}

impl Manifest {
    /// Reads the file `path`.
    ///
    /// # Errors
    /// [`ManifestError`]; nothing of a file that is not whole is used.
    pub fn read(path: &Path) -> Result<Self, ManifestError> {
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(PathError::on("open", path))?;
        let mut limited = file.take(SIZE_LIMIT_BYTES + 1);
        limited.read_to_end(&mut bytes).map_err(PathError::on("read", path))?;
        if bytes.len() as u64 > SIZE_LIMIT_BYTES {
            return Err(ManifestError::Other("is too large"));
        }
        let envelope: Envelope = serde_json::from_slice(&bytes)?;
        if envelope.format != FORMAT {
            return Err(ManifestError::Other("is none"));
        }
        if envelope.version != VERSION {
            return Err(ManifestError::Other("has a version that this program does not know"));
        }
        if Sha256::of(envelope.manifest.get()) != envelope.checksum {
            return Err(ManifestError::Other("was changed"));
        }
        Ok(serde_json::from_str(envelope.manifest.get())?)
    }

    /// Writes the file `path`, whole or not at all.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), PathError> {
        let failed = |error: serde_json::Error| PathError::on("write", path)(error.into());
        let manifest = serde_json::value::to_raw_value(self).map_err(failed)?;
        let envelope = Envelope {
            format: FORMAT.to_owned(),
            version: VERSION,
            checksum: Sha256::of(manifest.get()),
            manifest,
        };
        durable::write_file(path, serde_json::to_vec(&envelope).map_err(failed)?)
    }
}
