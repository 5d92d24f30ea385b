//! What is inside a disk image: its partitions, file systems, boot programs, system and packages.
//!
//! The keys are those of the tool that oic replaces, where it has them (`docs/compatibility.md`); what it does not have is
//! named in the same way. Reading needs neither root nor a mount; what is damaged is a note, and the rest is still told.

mod boot_config;
mod boots;
mod efi;
mod privileges;
mod sizes;
mod system;
mod table;

use std::path::Path;

use serde::Serialize;

use crate::cancel::Cancel;
use crate::disk::DiskError;
use crate::disk::image::Image;
use crate::disk::medium::{Medium as _, RawFile};
use crate::package::Sha256;

pub use crate::installed::Package;
pub use boot_config::{BootConfig, BootEntry, KernelReference, UuidReference};
pub use boots::Kernel;
pub use efi::{EfiBinary, Pair};
pub use privileges::{Capable, SetId, SharedSecret};
pub use sizes::{Size, Sizes};
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
    /// The bytes of the bill.
    #[serde(skip)]
    pub sbom_content: Option<Vec<u8>>,
}

/// What is told besides the rest, and how.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// The digest of the file, which reads all of it.
    pub hashes: bool,
    /// The sizes by package and directory.
    pub sizes: bool,
    /// The number of threads.
    pub threads: usize,
}

/// Looks at the image at `path`, and tells what is `wanted`.
///
/// # Errors
/// If the file is no disk image that oic reads.
pub fn inspect(path: &Path, wanted: Wanted, cancel: &Cancel) -> Result<Report, DiskError> {
    let image = Image::open(path)?;
    let mut notes = Vec::new();
    let mut partition_table = TableReport::of(&image, &mut notes);
    let (system, layer) = SystemReport::of(&image, wanted, &mut notes);
    partition_table.add_boot_configs(&image, layer.as_deref());
    let verity = Verity::of(&partition_table);
    let (sbom, sbom_content) = match &layer {
        Some(layer) => Sbom::of(&**layer, &mut notes),
        None => Default::default(),
    };
    Ok(Report {
        file: path.to_string_lossy().into_owned(),
        format: image.format.word(),
        sha256: if wanted.hashes { digest(path, cancel)? } else { None },
        size_bytes: image.disk.size_bytes(),
        partition_table,
        verity,
        sbom,
        system,
        notes,
        sbom_content,
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

/// Returns the SHA-256 of what the bill of materials `content` says, without its own name and date; empty if it is no JSON.
pub fn canonical_digest(content: &[u8]) -> String {
    system::canonical_digest(content)
}

/// Returns the SHA-256 of `bytes` as text.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::of(bytes).to_string()
}
