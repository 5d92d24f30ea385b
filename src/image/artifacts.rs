//! The files delivered besides or instead of the raw image: other formats, and compressed files. All of them come from
//! one ordered pass over the raw image, and beside them lies `SHA256SUMS`.
//!
//! A record keeps which chunks a compressed file consists of; the next build takes those that did not change from there.

mod base_form;
mod beside;
mod compressor;
mod identity;
mod index;
mod joined;
mod output;
mod pass;
mod product;
mod sums;

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::containers::contents::Contents;
use super::containers::{Layout, format};
use super::digest::{self, DigestTree};
use super::error::ImageError;
use crate::durable::{self, AtomicFile, Owner, PathError};
use crate::model::{Artifact, ArtifactFormat, Compression};
use crate::package::Sha256;
use crate::work::Work;

use base_form::{BaseForm, RawDisk};
use compressor::Compressor;
use index::{Entry, Key, Record};
use output::{Output, Written};
use product::{Form, Product};

pub use beside::{Beside, Body, from_source};
pub use sums::{SUMS_NAME, forget_missing, write_sums};

/// A file that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Its path.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its digest; none of a file that has all zeros of the disk, unless it was asked for.
    pub sha256: Option<Sha256>,
}

/// What to make.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// The finished raw image.
    pub raw: &'a Path,
    /// The directory for the files.
    pub directory: &'a Path,
    /// The digests of the raw image, if they are known: then what did not change is not even read.
    pub tree: Option<&'a DigestTree>,
    /// The start of all names, `{image}-{version}`.
    pub stem: &'a str,
    /// The artifacts of the template.
    pub artifacts: &'a [Artifact],
    /// Files that are delivered as they are, such as the kernel of an initrd.
    pub beside: &'a [Beside<'a>],
    /// The record of what was delivered before, and will be.
    pub record: &'a Path,
    /// The identifier of the disk; those of the artifacts are derived from it.
    pub uuid: Uuid,
    /// Whether the digests of files that have all zeros of the disk are asked for: they cost more than the files.
    pub with_all_digests: bool,
}

/// Returns the file name of an artifact of an image called `stem` (`{image}-{version}`): the stem, a dot and the end of
/// its format, then `.gz`, `.xz`, `.zstd` or `.bz2` if it is compressed. An initrd is `.img` with gzip, and `.cpio` if it
/// is not compressed. A container image has its compression before its end, `.gz.oci.tar`, and so has a unified kernel
/// image, unless it is gzip.
pub fn file_name(stem: &str, artifact: &Artifact) -> String {
    let suffix = match artifact.compression {
        // Initrds are compressed, as their names never say.
        Some(Compression::Gzip) if matches!(artifact.format, ArtifactFormat::Img | ArtifactFormat::Uki) => "",
        None if artifact.format == ArtifactFormat::Img => return format!("{stem}.cpio"),
        None => "",
        Some(Compression::Gzip) => ".gz",
        Some(Compression::Xz) => ".xz",
        Some(Compression::Zstd) => ".zstd",
        Some(Compression::Bzip2) => ".bz2",
    };
    match artifact.format {
        // Its layers are compressed, or the initrd in it, not the file.
        ArtifactFormat::Oci | ArtifactFormat::Uki => format!("{stem}{suffix}.{}", artifact.format.suffix()),
        format => format!("{stem}.{}{suffix}", format.suffix()),
    }
}

/// Says whether the plain raw image is one of the artifacts: if it is listed, or if the list is empty. Otherwise it is
/// only an intermediate file.
pub fn keeps_raw(artifacts: &[Artifact]) -> bool {
    artifacts.is_empty()
        || artifacts
            .iter()
            .any(|a| a.format == ArtifactFormat::Raw && a.compression.is_none())
}

/// Returns the paths of what the build that wrote `record` has delivered, with the record itself.
pub fn delivered(record: &Path) -> Vec<PathBuf> {
    let directory = record.parent().unwrap_or(Path::new("/"));
    let files = Record::read(record).map(|record| record.files).unwrap_or_default();
    let names = files.iter().map(|file| file.name.as_str());
    let mut paths: Vec<_> = names.chain([SUMS_NAME]).map(|name| directory.join(name)).collect();
    paths.push(record.to_owned());
    paths
}

/// Gives the files that the build that wrote `record` has delivered to `owner`, and records their new times of change.
///
/// # Errors
/// If a file cannot be given, or the record cannot be written.
pub fn give(record: &Path, owner: Owner) -> Result<(), PathError> {
    let directory = record.parent().unwrap_or(Path::new("/"));
    let mut content = Record::read(record).unwrap_or_default();
    for entry in &mut content.files {
        entry.give(directory, owner)?;
    }
    content.write(record)
}

/// Returns the files that the build that wrote `record` has delivered and that have other bytes now, although no process
/// has written to them.
///
/// # Errors
/// If a file cannot be read, or the user asked to stop.
pub fn damaged(record: &Path, work: Work<'_>) -> Result<Vec<PathBuf>, ImageError> {
    let directory = record.parent().unwrap_or(Path::new("/"));
    let mut damaged = Vec::new();
    for entry in Record::read(record).unwrap_or_default().files {
        let path = directory.join(&entry.name);
        let known = entry.sha256.filter(|_| entry.open(directory).is_some());
        if let Some(known) = known
            && digest::sha256(&path, work)? != known
        {
            damaged.push(path);
        }
    }
    Ok(damaged)
}

/// Makes all artifacts of `order` with the threads of `work`. The plain raw image itself is left alone. What was delivered
/// before and is not wanted any more is removed; [`write_sums`] must follow.
///
/// # Errors
/// [`ImageError`]; what was delivered before is then as it was.
pub fn make(order: Order<'_>, work: Work<'_>) -> Result<Vec<Made>, ImageError> {
    let directory = order.directory;
    let earlier = Record::read(order.record).unwrap_or_default();
    let wanted = wanted(order)?;
    let kept: Vec<_> = wanted
        .iter()
        .map(|file| earlier.unchanged(file.key(), directory))
        .collect();
    let missing: Vec<_> = wanted.iter().zip(&kept).filter(|(_, kept)| kept.is_none()).collect();
    let disk = RawDisk::open(order)?;
    let forms = missing.iter().map(|(file, _)| BaseForm::new(file, &disk, work));
    let mut forms = forms.collect::<Result<Vec<_>, _>>()?;
    let products = missing.iter().zip(&mut forms);
    let products = products.map(|((file, _), form)| form.product(file, directory, &earlier, work.threads));
    let written = write(products.collect::<Result<_, _>>()?, work)?;
    let beside = beside::write(order, &earlier, work)?;
    // From here on, nothing needs space for data any more. The list of digests never lies beside other files than its own.
    write_sums(directory, [])?;
    let mut written = written.into_iter();
    let mut entries = Vec::new();
    for (file, kept) in wanted.iter().zip(kept) {
        let entry = match kept {
            Some(entry) => Some(entry),
            None => written.next().map(|written| deliver(written, file)).transpose()?,
        };
        entries.extend(entry);
    }
    for file in beside {
        entries.push(file.deliver(work)?);
    }
    let record = Record { files: entries };
    remove_others(directory, &earlier, &record)?;
    record.write(order.record)?;
    let made = record.files.iter().map(|entry| Made {
        path: directory.join(&entry.name),
        size_bytes: entry.size_bytes(),
        sha256: entry.sha256,
    });
    Ok(made.collect())
}

/// Writes and syncs `products`, all in one pass. They do not have their names then.
fn write(products: Vec<Product<'_>>, work: Work<'_>) -> Result<Vec<(Written, PathBuf)>, ImageError> {
    pass::run(&products, work)?;
    let files = products.into_iter().map(|product| {
        let (mut written, path) = product.finish()?;
        durable::write_back(written.file.file(), work.cancel)?;
        let synced = written.file.file().sync_all();
        synced.map_err(PathError::on("sync", &path))?;
        Ok((written, path))
    });
    files.collect()
}

/// A file to compress to one stream.
#[derive(Debug, Clone, Copy)]
pub struct Packing<'a> {
    /// The file, its path for messages, and its size in bytes.
    pub source: (&'a File, &'a Path, u64),
    /// The method: not bzip2, which has no such streams.
    pub method: Compression,
    /// Its level.
    pub level: u32,
}

/// Compresses a file to one that will become `target`; returns it with its digest. The number of threads of `work` does
/// not change the bytes.
///
/// # Errors
/// If that fails, or the user asked to stop.
pub fn pack(packing: Packing<'_>, target: &Path, work: Work<'_>) -> Result<(AtomicFile, Sha256), ImageError> {
    let (source, path, size_bytes) = packing.source;
    let compressor = Compressor::new(packing.method, packing.level);
    let mut layout = Layout::default();
    layout.raw(0..size_bytes);
    let source = product::Source {
        layout: &layout,
        contents: Contents::new(&layout, source),
        tree: None,
        path,
    };
    let output = Output::new(AtomicFile::create(target)?, target, true)?;
    let form = Form::Joined(&compressor, work.threads);
    let products = [Product::new(source, form, (output, target.to_owned()))?];
    pass::run(&products, work)?;
    let [product] = products;
    let (written, _) = product.finish()?;
    let digest = written.sha256.ok_or_else(|| io::Error::other("it has no digest"));
    Ok((written.file, digest.map_err(PathError::on("hash", target))?))
}

/// A file to make.
struct Wanted {
    name: String,
    /// The name that it has when it is decompressed.
    base_name: String,
    format: ArtifactFormat,
    compressor: Option<Compressor>,
    /// Whether its digest is computed.
    is_hashed: bool,
    /// The digest of all that decides about its bytes and its digest but the disk's contents.
    method: Sha256,
    /// The digest of the disk's contents, if it is known.
    content: Option<Sha256>,
}

impl Wanted {
    fn new(artifact: &Artifact, name: String, order: Order<'_>) -> Result<Self, ImageError> {
        let compression = match artifact.format {
            ArtifactFormat::Gcp => Some(Compression::Gzip),
            _ => artifact.compression,
        };
        let compressor = compression.map(|method| {
            let level = artifact.level.unwrap_or(method.default_level());
            match artifact.format {
                ArtifactFormat::Img => Compressor::for_kernel(method, level),
                _ => Compressor::new(method, level),
            }
        });
        let whole = compressor.as_ref().map(Compressor::fingerprint);
        let blocks = format::pack(artifact.format).map(compressor::fingerprint_of_blocks);
        let libraries = [whole.transpose(), blocks.transpose()].into_iter();
        let libraries: io::Result<Vec<_>> = libraries.collect();
        let libraries = libraries.map_err(PathError::on("compress a part of", &name))?;
        let has_all_zeros = matches!(artifact.format, ArtifactFormat::Vhd | ArtifactFormat::Azure);
        let is_hashed = order.with_all_digests || !has_all_zeros || compressor.is_some();
        let version = env!("CARGO_PKG_VERSION");
        let content = |tree: &DigestTree| Sha256::of(format!("{} {}", tree.digest(), order.uuid));
        Ok(Self {
            method: Sha256::of(format!("{version} {artifact:?} {libraries:?} {is_hashed}")),
            is_hashed,
            content: order.tree.map(content),
            format: artifact.format,
            base_name: format!("{}.{}", order.stem, artifact.format.suffix()),
            name,
            compressor,
        })
    }

    fn key(&self) -> Key<'_> {
        Key {
            name: &self.name,
            method: self.method,
            content: self.content,
        }
    }
}

/// Gives a written file its name, and describes it.
fn deliver((written, path): (Written, PathBuf), file: &Wanted) -> Result<Entry, PathError> {
    let delivered = written.file.commit()?;
    let entry = Entry::new(file.key(), &delivered, written.sha256, written.chunks);
    entry.map_err(PathError::on("look at", path))
}

/// Removes the files of the `earlier` record that are not in `record`.
fn remove_others(directory: &Path, earlier: &Record, record: &Record) -> Result<(), PathError> {
    let is_left = |old: &&Entry| record.files.iter().all(|new| new.name != old.name);
    for entry in earlier.files.iter().filter(is_left) {
        let path = directory.join(&entry.name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(PathError::on("remove", &path)(error)),
            _ => (),
        }
    }
    Ok(())
}

/// Lists the files of `order`, each name once.
fn wanted(order: Order<'_>) -> Result<Vec<Wanted>, ImageError> {
    let mut wanted: Vec<Wanted> = Vec::new();
    for artifact in order.artifacts {
        let name = file_name(order.stem, artifact);
        let is_raw = artifact.format == ArtifactFormat::Raw && artifact.compression.is_none();
        // These are not made of the disk.
        let is_other = is_raw || matches!(artifact.format, ArtifactFormat::Oci | ArtifactFormat::Uki);
        if !is_other && wanted.iter().all(|file| file.name != name) {
            wanted.push(Wanted::new(artifact, name, order)?);
        }
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests;
