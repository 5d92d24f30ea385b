//! The archive of an OCI image layout: the files of the layout in a tar archive.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write};
use std::path::Path;

use serde_json::{Value, json};
use sha2::Digest as _;
use tar::{EntryType, Header};

use crate::cancel::Cancel;
use crate::durable::{AtomicFile, PathError};
use crate::image::error::ImageError;
use crate::package::Sha256;
use crate::work::Work;

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
/// Each header and each file begins at a multiple of this, in bytes.
const BLOCK_BYTES: u64 = 512;
/// The size of the archive is a multiple of this, in bytes.
const RECORD_BYTES: u64 = 20 * BLOCK_BYTES;

/// A file of the layout that is named by its digest.
#[derive(Debug, Clone)]
pub(super) struct Blob {
    /// Its type.
    pub(super) media_type: String,
    /// Its digest.
    pub(super) digest: Sha256,
    /// Its size in bytes.
    pub(super) size_bytes: u64,
    /// Its contents, if they are a text.
    pub(super) text: Option<String>,
}

impl Blob {
    /// Makes the blob of a text.
    pub(super) fn of_text(media_type: &str, text: String) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: Sha256::of(&text),
            size_bytes: text.len() as u64,
            text: Some(text),
        }
    }

    /// Returns what others say of it ("OCI Content Descriptors").
    fn descriptor(&self) -> Value {
        json!({
            "mediaType": self.media_type,
            "digest": format!("sha256:{}", self.digest),
            "size": self.size_bytes,
        })
    }

    fn path(&self) -> String {
        format!("blobs/sha256/{}", self.digest)
    }
}

/// Writes the archive of an image called `reference` with its configuration and its layers, each with its bytes, to a
/// file that will become `target`, and syncs it. Returns it with its digest.
///
/// # Errors
/// If reading or writing fails, or the user asked to stop.
pub(super) fn write(
    target: &Path,
    reference: &str,
    (config, layers): (Blob, Vec<(Blob, File)>),
    work: Work<'_>,
) -> Result<(AtomicFile, Sha256), ImageError> {
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": config.descriptor(),
        "layers": layers.iter().map(|(layer, _)| layer.descriptor()).collect::<Vec<_>>(),
    });
    let manifest = Blob::of_text(MANIFEST_TYPE, manifest.to_string());
    let mut descriptor = manifest.descriptor();
    descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": reference});
    let index = json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [descriptor]});
    let mut file = AtomicFile::create(target)?;
    let mut archive = Archive {
        file: file.file(),
        hasher: sha2::Sha256::new(),
        size_bytes: 0,
    };
    let fill = || -> io::Result<()> {
        archive.text("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#)?;
        archive.text("index.json", &index.to_string())?;
        archive.directory("blobs/")?;
        archive.directory("blobs/sha256/")?;
        for blob in [&config, &manifest] {
            archive.text(&blob.path(), blob.text.as_deref().unwrap_or_default())?;
        }
        let mut written = Vec::new();
        for (layer, mut bytes) in layers {
            // Two empty layers are one file.
            if !written.contains(&layer.digest) {
                bytes.seek(SeekFrom::Start(0))?;
                archive.entry(
                    (EntryType::Regular, 0o644),
                    &layer.path(),
                    (layer.size_bytes, &mut bytes),
                    work.cancel,
                )?;
                written.push(layer.digest);
            }
        }
        archive.end()
    };
    fill().map_err(PathError::on("write", target))?;
    work.cancel.check()?;
    let digest = Sha256(archive.hasher.finalize().into());
    file.file().sync_all().map_err(PathError::on("sync", target))?;
    Ok((file, digest))
}

/// An archive that is hashed while it is written.
struct Archive<'a> {
    file: &'a mut File,
    hasher: sha2::Sha256,
    size_bytes: u64,
}

impl Archive<'_> {
    fn text(&mut self, name: &str, text: &str) -> io::Result<()> {
        let contents = (text.len() as u64, &mut text.as_bytes() as &mut dyn Read);
        self.entry((EntryType::Regular, 0o644), name, contents, &Cancel::default())
    }

    fn directory(&mut self, name: &str) -> io::Result<()> {
        let nothing = (0, &mut io::empty() as &mut dyn Read);
        self.entry((EntryType::Directory, 0o755), name, nothing, &Cancel::default())
    }

    fn entry(
        &mut self,
        (kind, mode): (EntryType, u32),
        name: &str,
        (size_bytes, contents): (u64, &mut dyn Read),
        cancel: &Cancel,
    ) -> io::Result<()> {
        let mut header = Header::new_ustar();
        header.set_path(name)?;
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size_bytes);
        header.set_cksum();
        self.put(header.as_bytes())?;
        let (mut buffer, mut left) = (vec![0; 1 << 20], size_bytes);
        while left > 0 {
            cancel.check().map_err(io::Error::other)?;
            let part = buffer.len().min(left as usize);
            let part = &mut buffer[..part];
            contents.read_exact(part)?;
            self.put(part)?;
            left -= part.len() as u64;
        }
        self.pad(BLOCK_BYTES)
    }

    fn end(&mut self) -> io::Result<()> {
        self.put(&[0; 2 * BLOCK_BYTES as usize])?;
        self.pad(RECORD_BYTES)
    }

    /// Appends zeros up to the next multiple of `unit_bytes`.
    fn pad(&mut self, unit_bytes: u64) -> io::Result<()> {
        let zeros = self.size_bytes.next_multiple_of(unit_bytes) - self.size_bytes;
        self.put(&vec![0; zeros as usize])
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.size_bytes += bytes.len() as u64;
        Ok(())
    }
}
