//! What is inside a disk image: its partitions, file systems, boot programs, system and packages.
//!
//! The keys are those of the tool that oic replaces, where it has them (`docs/compatibility.md`); what it does not have is
//! named in the same way. Reading needs neither root nor a mount; what is damaged is a note, and the rest is still told.

mod efi;
mod packages;
mod system;
mod table;

use std::path::Path;

use serde::Serialize;

use crate::cancel::Cancel;
use crate::disk::DiskError;
use crate::disk::image::Image;
use crate::disk::medium::{Medium as _, RawFile};
use crate::package::Sha256;

pub use efi::EfiBinary;
pub use packages::Package;
pub use system::{Mount, Os, Sbom, SystemReport, Verity};
pub use table::{FileSystemReport, PartitionReport, TableReport};

/// Bytes of the file that are read at once for its digest.
const PIECE_BYTES: usize = 1 << 20;

/// Everything that is told about an image.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The path of its file.
    pub file: String,
    /// Its format: `raw`, `qcow2`, …
    pub format: &'static str,
    /// The SHA-256 of its file, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The size of the disk in bytes.
    pub size_bytes: u64,
    /// Its partitions. A disk with one file system and no table has one, with number 0.
    pub partition_table: TableReport,
    /// Integrity of the root, by dm-verity.
    pub verity: Verity,
    /// A software bill of materials in the image.
    pub sbom: Sbom,
    /// The system in it; `null` if no partition holds one.
    pub system: Option<SystemReport>,
    /// What could not be read.
    pub notes: Vec<String>,
}

/// Looks at the image at `path`; computes the digest of its file if `hashes`.
///
/// # Errors
/// If the file is no disk image that oic reads.
pub fn inspect(path: &Path, hashes: bool, cancel: &Cancel) -> Result<Report, DiskError> {
    let image = Image::open(path)?;
    let mut notes = Vec::new();
    let partition_table = TableReport::of(&image, &mut notes);
    let (system, layer) = SystemReport::of(&image, &mut notes);
    let verity = Verity::of(&partition_table);
    Ok(Report {
        file: path.to_string_lossy().into_owned(),
        format: image.format.word(),
        sha256: if hashes { digest(path, cancel)? } else { None },
        size_bytes: image.disk.size_bytes(),
        partition_table,
        verity,
        sbom: layer.map(|layer| Sbom::of(&*layer, &mut notes)).unwrap_or_default(),
        system,
        notes,
    })
}

/// Computes the digest of the file at `path`; `None` if the work is stopped.
fn digest(path: &Path, cancel: &Cancel) -> Result<Option<String>, DiskError> {
    use sha2::Digest as _;
    let file = RawFile::open(path)?;
    let mut hasher = sha2::Sha256::new();
    let (mut buffer, mut offset) = (vec![0; PIECE_BYTES], 0);
    while offset < file.size_bytes() {
        if cancel.check().is_err() {
            return Ok(None);
        }
        let count = (file.size_bytes() - offset).min(PIECE_BYTES as u64) as usize;
        file.read_at(offset, &mut buffer[..count])?;
        hasher.update(&buffer[..count]);
        offset += count as u64;
    }
    Ok(Some(hex::encode(hasher.finalize())))
}

/// Returns the SHA-256 of `bytes` as text.
fn sha256(bytes: &[u8]) -> String {
    Sha256::of(bytes).to_string()
}
