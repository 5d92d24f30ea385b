//! `layer.json`: the facts about a layer, with a checksum over them.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::scan::Scan;
use crate::durable::{self, PathError};
use crate::package::{Checksum, Sha256};

const FORMAT: &str = "oic-layer";
const VERSION: u32 = 2;
/// The largest manifest: the digests of 60,000 packages have 4 MB.
const SIZE_LIMIT_BYTES: u64 = 16 << 20;

/// Facts about a layer that its maker knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// Digest of all inputs.
    pub key: Sha256,
    /// The step, such as `packages`.
    pub step: String,
    /// The key of the layer, or of the base, directly below.
    pub parent: Sha256,
    /// The key below the whole of a step that was done in several layers; the parent, if in one.
    pub ground: Sha256,
    /// Digests of the package files that this step has installed above `ground`.
    pub packages: Vec<Checksum>,
    /// Warnings for the user, shown at each use.
    pub warnings: Vec<String>,
    /// Private keys and identities that this step has drawn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Secret>,
}

/// A file of a layer that each machine should have in its own form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secret {
    /// Its path in the image.
    pub path: String,
    /// What it is, in words.
    pub kind: String,
    /// The packages that have probably made it; none if a command of the template has.
    pub packages: Vec<String>,
}

impl std::fmt::Display for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { path, kind, packages } = self;
        let maker = match packages.as_slice() {
            [] => String::new(),
            packages => format!(" (package {})", packages.join(" or ")),
        };
        write!(
            f,
            "{path}{maker} is {kind} that the build has drawn, and all copies of the image share it: remove it with a \
             command and let each machine draw its own, or name it in systemConfig.allowSecrets"
        )
    }
}

/// The content of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The facts that its maker knew.
    pub facts: Facts,
    /// The state of its entries when it was made.
    pub scan: Scan,
    /// Digest of all metadata, and of the checksums of contents, independent of where the layer lies.
    pub content: Sha256,
}

/// A reason why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file cannot be read.
    #[error(transparent)]
    Path(#[from] PathError),
    /// It does not parse as a manifest.
    #[error("its manifest is malformed: {0}")]
    Malformed(#[from] serde_json::Error),
    /// An earlier version of this program wrote it.
    #[error("its manifest was written by an earlier version")]
    Older,
    /// It is of another kind or version, or was changed.
    #[error("its manifest {0}")]
    Other(&'static str),
}

/// The file: the manifest as text in a string, so that the checksum covers exactly the text that is parsed.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    format: String,
    version: u32,
    manifest: Box<serde_json::value::RawValue>,
    /// SHA-256 of format, version and manifest; as text, since hex has two ways to write a digit.
    checksum: String,
}

impl Manifest {
    /// Reads the file `path`.
    ///
    /// # Errors
    /// [`ManifestError`]; nothing of an incomplete file is used.
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
        // The checksum of the first version covered the manifest only.
        if envelope.version == 1 && Sha256::of(envelope.manifest.get()).to_string() == envelope.checksum {
            return Err(ManifestError::Older);
        }
        if envelope.version != VERSION {
            return Err(ManifestError::Other("has a version that this program does not know"));
        }
        if checksum(envelope.manifest.get()) != envelope.checksum {
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
            checksum: checksum(manifest.get()),
            manifest,
        };
        durable::write_file(path, serde_json::to_vec(&envelope).map_err(failed)?)
    }
}

fn checksum(manifest: &str) -> String {
    Sha256::of(format!("{FORMAT} {VERSION} {manifest}")).to_string()
}
