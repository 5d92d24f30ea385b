//! A container image: an archive of an OCI image layout, whose layers are those of the build.
//!
//! The base and each step are a layer of their own, so images of one provider have layers in common, and a registry keeps
//! these once. The archive depends on the layers, the configuration and the compression alone (OCI Image Format
//! Specification 1.1: "Image Layout", "Image Manifest", "Image Configuration", "Image Layer Filesystem Changeset").

mod config;
mod layout;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::archive;
use super::artifacts::{self, Packing};
use super::error::ImageError;
use crate::durable::{AtomicFile, PathError};
use crate::model::{Compression, Container};
use crate::overlay::layer::Layer;
use crate::package::{Arch, Sha256};
use crate::work::Work;

use layout::Blob;

/// The version of the archive; it counts up when the same inputs would become other bytes.
const VERSION: u32 = 1;

/// The inputs of an image.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The layers, the topmost first.
    pub layers: &'a [Arc<dyn Layer>],
    /// What is run in it, and its labels.
    pub container: &'a Container,
    /// Its architecture.
    pub arch: Arch,
    /// The name under which programs find it in the archive.
    pub reference: &'a str,
    /// The time of its making, in seconds since 1970, UTC.
    pub epoch_seconds: u64,
    /// The compression of its layers with the level; `None` leaves them as they are.
    pub compression: Option<(Compression, u32)>,
}

impl Inputs<'_> {
    /// Returns a digest over everything that decides about the bytes of the archive; `content` is one over the files.
    pub fn identity(&self, content: &str) -> Sha256 {
        Sha256::of(format!(
            "{VERSION} {} {content} {} {:?} {} {:?} {} {:?}",
            env!("CARGO_PKG_VERSION"),
            self.layers.len(),
            self.container,
            self.arch,
            self.reference,
            self.epoch_seconds,
            self.compression,
        ))
    }
}

/// A layer as the archive has it.
struct Packed {
    /// Its blob.
    blob: Blob,
    /// The digest of the tar archive in the blob.
    unpacked: Sha256,
    /// The file with the blob's bytes; it goes when this is dropped.
    file: AtomicFile,
}

/// Writes the archive to a file that will become `target`, and syncs it; returns it with its digest. Files for the layers
/// lie beside it meanwhile.
///
/// # Errors
/// [`ImageError`]; nothing stays.
pub fn write(target: &Path, inputs: Inputs<'_>, work: Work<'_>) -> Result<(AtomicFile, Sha256), ImageError> {
    let layers = inputs.layers.iter().rev();
    let mut layers: Vec<Packed> = layers
        .map(|layer| pack(layer, target, inputs.compression, work))
        .collect::<Result<_, _>>()?;
    let unpacked: Vec<_> = layers.iter().map(|layer| layer.unpacked).collect();
    let config = Blob::of_text(
        "application/vnd.oci.image.config.v1+json",
        config::text(&inputs, &unpacked),
    );
    let blobs: Vec<_> = layers.iter().map(|layer| layer.blob.clone()).collect();
    let mut files = Vec::new();
    for layer in &mut layers {
        let file = layer.file.file().try_clone();
        files.push(file.map_err(PathError::on("open", layer.file.temporary_path()))?);
    }
    layout::write(
        target,
        inputs.reference,
        (config, blobs.into_iter().zip(files).collect()),
        work,
    )
}

/// Writes `layer` as a compressed tar archive to a file beside `target`.
fn pack(
    layer: &Arc<dyn Layer>,
    target: &Path,
    compression: Option<(Compression, u32)>,
    work: Work<'_>,
) -> Result<Packed, ImageError> {
    let mut plain = AtomicFile::create(target)?;
    let path: PathBuf = plain.temporary_path().to_owned();
    let size_bytes = archive::write_changes(plain.file(), &path, layer, work)?;
    let copy = File::open(&path).map_err(PathError::on("open", &path))?;
    let unpacked = Sha256::of_reader(&copy).map_err(PathError::on("read", &path))?.0;
    let (file, digest) = match compression {
        Some((method, level)) => {
            let packing = Packing {
                source: (plain.file(), &path, size_bytes),
                method,
                level,
            };
            artifacts::pack(packing, target, work)?
        }
        None => (plain, unpacked),
    };
    let size_bytes = file_size(file.temporary_path())?;
    let suffix = match compression {
        Some((Compression::Gzip, _)) => "+gzip",
        Some((Compression::Zstd, _)) => "+zstd",
        _ => "",
    };
    Ok(Packed {
        blob: Blob {
            media_type: format!("application/vnd.oci.image.layer.v1.tar{suffix}"),
            digest,
            size_bytes,
            text: None,
        },
        unpacked,
        file,
    })
}

fn file_size(path: &Path) -> Result<u64, PathError> {
    let metadata = std::fs::metadata(path).map_err(PathError::on("look at", path))?;
    Ok(metadata.len())
}

#[cfg(test)]
mod tests;
