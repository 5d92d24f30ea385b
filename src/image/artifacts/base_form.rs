//! The bytes of a file to make, before they are compressed.

use std::fs::File;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::index::Record;
use super::output::{Output, Written};
use super::product::{Form, Product, Source};
use super::{Order, Wanted, pass};
use crate::durable::{AtomicFile, PathError};
use crate::image::containers::contents::Contents;
use crate::image::containers::format::{Container, container};
use crate::image::containers::packed::Packer;
use crate::image::containers::{Disk, Layout, ova};
use crate::image::digest::{self, DigestTree};
use crate::image::error::ImageError;
use crate::model::ArtifactFormat;
use crate::work::Work;

/// The raw image, open.
pub(super) struct RawDisk<'a> {
    order: Order<'a>,
    file: File,
    size_bytes: u64,
    /// Start and end (bytes) of each range that may hold data.
    ranges: Vec<(u64, u64)>,
}

impl<'a> RawDisk<'a> {
    /// Opens the raw image of `order`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn open(order: Order<'a>) -> Result<Self, PathError> {
        let file = File::open(order.raw).map_err(PathError::on("open", order.raw))?;
        let metadata = file.metadata().map_err(PathError::on("read", order.raw))?;
        let ranges = match order.tree {
            Some(tree) => tree.data_ranges(),
            None => {
                let ranges = digest::data_ranges(&file, metadata.len());
                ranges.map_err(PathError::on("read", order.raw))?
            }
        };
        Ok(Self {
            order,
            file,
            size_bytes: metadata.len(),
            ranges,
        })
    }

    /// Returns the disk as the file `name` holds it.
    fn disk(&self, name: &str) -> Disk<'_> {
        Disk {
            size_bytes: self.size_bytes,
            ranges: &self.ranges,
            uuid: Uuid::new_v5(&self.order.uuid, name.as_bytes()),
        }
    }
}

/// The bytes of a file to make: pieces of the raw image or of an intermediate file, or blocks for a packer.
pub(super) struct BaseForm<'a> {
    layout: Layout,
    packer: Option<Box<dyn Packer>>,
    source: File,
    source_path: PathBuf,
    /// The digests of the raw image, if it is the source and they are known.
    tree: Option<&'a DigestTree>,
    /// Removes the intermediate file.
    _intermediate: Option<AtomicFile>,
}

impl<'a> BaseForm<'a> {
    /// Makes the form of the file `wanted` of the raw image `raw`. What has to be compressed twice, or be measured first,
    /// is written to an intermediate file.
    ///
    /// # Errors
    /// If that fails, or the user asked to stop.
    pub(super) fn new(wanted: &Wanted, raw: &RawDisk<'a>, work: Work<'_>) -> Result<Self, ImageError> {
        let form = Self::of_raw(wanted, raw)?;
        let is_ova = wanted.format == ArtifactFormat::Ova;
        if form.packer.is_none() || !(is_ova || wanted.compressor.is_some()) {
            return Ok(form);
        }
        let mut written = form.write(&raw.order.directory.join(&wanted.name), work)?;
        let file = written.file.file().try_clone();
        let source_path = written.file.temporary_path().to_owned();
        let source = file.map_err(PathError::on("open", &source_path))?;
        let size_bytes = source.metadata().map_err(PathError::on("read", &source_path))?.len();
        let mut layout = Layout::default();
        match written.sha256.filter(|_| is_ova) {
            Some(sha256) => {
                layout = ova::layout(&ova::Machine {
                    name: raw.order.stem,
                    disk_bytes: raw.size_bytes,
                    vmdk: (size_bytes, sha256),
                });
            }
            None => layout.raw(0..size_bytes),
        }
        Ok(Self {
            layout,
            packer: None,
            source,
            source_path,
            tree: None,
            _intermediate: Some(written.file),
        })
    }

    fn of_raw(wanted: &Wanted, raw: &RawDisk<'a>) -> Result<Self, PathError> {
        let name = match wanted.format {
            ArtifactFormat::Ova => &ova::disk_name(raw.order.stem),
            _ => &wanted.base_name,
        };
        let disk = raw.disk(&wanted.base_name);
        let (layout, packer) = match container(wanted.format, &disk, name) {
            Container::Laid(layout) => (layout, None),
            Container::Packed(packer) => {
                let mut layout = Layout::default();
                layout.raw(0..raw.size_bytes);
                (layout, Some(packer))
            }
        };
        Ok(Self {
            layout,
            packer,
            source: raw.file.try_clone().map_err(PathError::on("open", raw.order.raw))?,
            source_path: raw.order.raw.to_owned(),
            tree: raw.order.tree,
            _intermediate: None,
        })
    }

    /// Writes the blocks of the packer to a file of its own beside `path`, which never gets that name.
    fn write(mut self, path: &Path, work: Work<'_>) -> Result<Written, ImageError> {
        let packer = self.packer.take();
        let form = packer.map_or(Form::Plain, |packer| Form::Packed(packer, None));
        let product = self.product_of((form, true), path)?;
        let products = [product];
        pass::run(&products, work)?;
        let [product] = products;
        Ok(product.finish()?.0)
    }

    /// Makes the product `wanted` in `directory`, which takes unchanged chunks from the file of the `earlier` record.
    ///
    /// # Errors
    /// If its file cannot be created.
    pub(super) fn product<'b>(
        &'b mut self,
        wanted: &'b Wanted,
        directory: &Path,
        earlier: &Record,
        threads: usize,
    ) -> Result<Product<'b>, PathError> {
        let earlier = || earlier.source(wanted.key(), directory);
        let is_initrd = wanted.format == ArtifactFormat::Img;
        let form = match (&wanted.compressor, self.packer.take()) {
            (None, None) => Form::Plain,
            (None, Some(packer)) => Form::Packed(packer, earlier()),
            (Some(compressor), _) if is_initrd => Form::Joined(compressor, threads),
            (Some(compressor), _) => Form::Compressed(compressor, earlier()),
        };
        self.product_of((form, wanted.is_hashed), &directory.join(&wanted.name))
    }

    fn product_of<'b>(&'b self, (form, is_hashed): (Form<'b>, bool), path: &Path) -> Result<Product<'b>, PathError> {
        let source = Source {
            layout: &self.layout,
            contents: Contents::new(&self.layout, &self.source),
            tree: self.tree,
            path: &self.source_path,
        };
        let output = Output::new(AtomicFile::create(path)?, path, is_hashed)?;
        Product::new(source, form, (output, path.to_owned()))
    }
}
