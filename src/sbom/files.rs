//! The regular files of a tree with their digests.

use std::path::Path;

use sha2::Digest as _;

use crate::installed::visit::{self, Seen};
use crate::installed::{Database, InstalledError, Owners};
use crate::overlay::layer::{FileKind, Layer};
use crate::parallel;

/// Bytes of a file that are read at once.
const PIECE_BYTES: usize = 1 << 20;

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BilledFile {
    /// Its path from the tree's root.
    pub path: String,
    /// Its SHA-1, which SPDX asks for.
    pub sha1: String,
    /// Its SHA-256.
    pub sha256: String,
    /// The index of the package that it belongs to.
    pub owner: Option<usize>,
}

/// Lists the files of `layer`, sorted by path, and reads them on `threads` threads. Bills are left out.
///
/// # Errors
/// If a directory or file cannot be read.
pub(super) fn list(layer: &dyn Layer, database: &Database, threads: usize) -> Result<Vec<BilledFile>, InstalledError> {
    let owners = Owners::read(layer, database)?;
    let listing = visit::list(layer, threads);
    if let Some((path, error)) = listing.damaged.into_iter().next() {
        return Err(InstalledError::on(&path.to_string_lossy())(error));
    }
    let is_listed = |file: &Seen| {
        file.attributes.kind == FileKind::Regular && file.path.parent() != Some(Path::new(super::DIRECTORY))
    };
    let files: Vec<Seen> = listing.files.into_iter().filter(is_listed).collect();
    parallel::try_map(threads, files, |file| {
        let path = file.path.to_string_lossy().into_owned();
        let (mut sha1, mut sha256) = (sha1_smol::Sha1::new(), sha2::Sha256::new());
        let mut buffer = vec![0; file.attributes.size_bytes.clamp(1, PIECE_BYTES as u64) as usize];
        let read = visit::read(layer, file.node, &mut buffer, &mut |piece| {
            sha1.update(piece);
            sha256.update(piece);
        });
        read.map_err(InstalledError::on(&path))?;
        Ok(BilledFile {
            owner: owners.of(&path),
            sha1: sha1.digest().to_string(),
            sha256: hex::encode(sha256.finalize()),
            path,
        })
    })
}
