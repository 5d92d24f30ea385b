//! A medium with an ISO 9660 file system, which starts on BIOS and UEFI, from a CD and from a disk.
//!
//! ECMA-119 (third edition, 2017) with the names, owners, permissions, times and links of the Rock Ridge extensions (SUSP
//! 1.12, RRIP 1.12). The firmware finds what it starts by the El Torito catalog ("El Torito" Bootable CD-ROM Format
//! Specification 1.0; UEFI specification 2.10, 13.3.2.1) or, on a disk, by the table of partitions in the first 32 KiB,
//! which ISO 9660 leaves free.
//!
//! The order on the medium: tables of partitions, descriptors, catalog, path tables, directories, the EFI system
//! partition, the files in the order of their paths, padding with the backup of the table.

mod boot;
mod directory;
mod identifier;
mod number;
mod rock_ridge;
mod time;
mod tree;
mod volume;

use std::fs::File;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::ImageError;
use super::canvas::{Canvas, Known};
use super::content::Source;
use super::digest;
use super::fat;
use super::file_system::{FileSystem as _, FileSystemError, Files, Volume};
use super::region::Region;
use super::tree::Tree as ImageTree;
use crate::durable::{AtomicFile, PathError};
use crate::package::Sha256;
use crate::parallel;
use crate::progress::Unit;
use crate::work::Work;

use directory::{Places, Records};
use tree::Tree;

pub use boot::{Bios, Boot};
pub use time::modified;
pub use tree::{Entry, Medium};

/// Bytes of a block.
const BLOCK_BYTES: u64 = 2048;
/// The block of the first descriptor; what lies before is not of ISO 9660 (ECMA-119, 6.2.1).
const FIRST_DESCRIPTOR: u32 = 16;
/// The blocks of the catalog and of what follows it.
const CATALOG: u32 = FIRST_DESCRIPTOR + 3;
const FIRST_TABLE: u32 = CATALOG + 1;
/// Zeros behind all files: drives read ahead, and the backup of the table of partitions lies in its last blocks.
const PADDING_BLOCKS: u32 = 150;
/// The most bytes of one extent: whole blocks below 4 GiB.
const EXTENT_MAX_BYTES: u64 = (1 << 32) - BLOCK_BYTES;
/// Bytes that are read and written at once.
const BUFFER_BYTES: usize = 1 << 20;

/// What a medium is made of.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// Its files.
    pub medium: &'a Medium,
    /// What firmware starts.
    pub boot: &'a Boot,
    /// Its label: at most 32 capital letters, digits and `_`.
    pub label: &'a str,
    /// Identifies its table of partitions.
    pub uuid: Uuid,
    /// The time of all files, in seconds since 1970.
    pub epoch_seconds: u64,
}

/// A medium, laid out. Places are blocks.
struct Layout {
    tree: Tree,
    records: Records,
    places: Places,
    /// The path tables: that of little-endian numbers, then the other one.
    tables: [u32; 2],
    /// The EFI system partition: first block and number of blocks.
    esp: (u32, u32),
    /// All blocks.
    blocks: u32,
}

/// Writes the medium that will become `target`, and syncs it; returns it with its digest.
///
/// # Errors
/// [`ImageError`]; for one, if ISO 9660 cannot hold a file.
pub fn write(target: &Path, inputs: Inputs<'_>, work: Work<'_>) -> Result<(AtomicFile, Sha256), ImageError> {
    let layout = Layout::new(inputs).map_err(ImageError::Archive)?;
    let mut atomic = AtomicFile::create(target)?;
    let file: File = atomic.file().try_clone().map_err(PathError::on("open", target))?;
    let size_bytes = u64::from(layout.blocks) * BLOCK_BYTES;
    file.set_len(size_bytes)
        .map_err(PathError::on("set the size of", target))?;
    let canvas = Canvas::new(&file, target, None);
    layout.fill(inputs, &canvas, work).map_err(ImageError::Archive)?;
    file.sync_all().map_err(PathError::on("sync", target))?;
    let digest = digest::sha256(atomic.temporary_path(), work)?;
    Ok((atomic, digest))
}

impl Layout {
    /// Gives everything its place.
    fn new(inputs: Inputs<'_>) -> Result<Self, FileSystemError> {
        let mut medium = inputs.medium.clone();
        if let Some(bios) = &inputs.boot.bios {
            medium.add(&bios.path, Entry::file(Source::Bytes(bios.core.clone())));
        }
        let tree = Tree::new(&medium)?;
        let mut end = Blocks(FIRST_TABLE);
        let table_bytes = directory::path_table_bytes(&tree);
        let tables = [end.take(table_bytes)?, end.take(table_bytes)?];
        let draft = directory::records(&tree, &Places::unknown(&tree), inputs.epoch_seconds);
        let mut places = Places::unknown(&tree);
        for (place, bytes) in places.directories.iter_mut().zip(&draft.directories) {
            let length = bytes.len() as u64;
            let size = u32::try_from(length).map_err(|_| too_large())?;
            *place = (end.take(length)?, size);
        }
        places.continuation = end.take(draft.continuation.len() as u64)?;
        let esp_bytes = match inputs.boot.esp.is_empty() {
            true => 0,
            false => fat::least_bytes(fat::Kind::Fat16, &inputs.boot.esp)?,
        };
        let esp = (end.take(esp_bytes)?, (esp_bytes / BLOCK_BYTES) as u32);
        for (place, content) in places.contents.iter_mut().zip(&tree.contents) {
            *place = end.take(content.source.size_bytes())?;
        }
        end.take(u64::from(PADDING_BLOCKS) * BLOCK_BYTES)?;
        let records = directory::records(&tree, &places, inputs.epoch_seconds);
        Ok(Self {
            tree,
            records,
            places,
            tables,
            esp,
            blocks: end.0,
        })
    }

    /// Puts everything in its place.
    fn fill(&self, inputs: Inputs<'_>, canvas: &Canvas<'_>, work: Work<'_>) -> Result<(), FileSystemError> {
        let put = |block: u32, bytes: &[u8]| canvas.put(u64::from(block) * BLOCK_BYTES, bytes);
        let bios = inputs
            .boot
            .bios
            .as_ref()
            .and_then(|bios| Some((bios, self.tree.find(&bios.path)?)));
        let core = bios.and_then(|(bios, content)| Some((bios, content, *self.places.contents.get(content)?)));
        let catalog = boot::Catalog {
            bios: core.map(|(.., block)| block),
            esp: (self.esp.1 > 0).then_some(self.esp),
        };
        for (offset_bytes, bytes) in self.tables_of_partitions(inputs, core.map(|(bios, _, block)| (bios, block)))? {
            canvas.put(offset_bytes, &bytes)?;
        }
        put(FIRST_DESCRIPTOR, &volume::primary(inputs, self))?;
        // What cannot be started has no catalog.
        let is_bootable = catalog.bios.is_some() || catalog.esp.is_some();
        if is_bootable {
            put(FIRST_DESCRIPTOR + 1, &volume::boot_record(CATALOG))?;
            put(CATALOG, &catalog.bytes())?;
        }
        put(FIRST_DESCRIPTOR + 1 + u32::from(is_bootable), &volume::terminator())?;
        let [little, big] = directory::path_tables(&self.tree, &self.places);
        put(self.tables[0], &little)?;
        put(self.tables[1], &big)?;
        for ((block, _), bytes) in self.places.directories.iter().zip(&self.records.directories) {
            put(*block, bytes)?;
        }
        put(self.places.continuation, &self.records.continuation)?;
        self.fill_esp(inputs, canvas, work)?;
        if let Some((bios, _, block)) = core {
            put(block, &boot::with_places(&bios.core, block))?;
        }
        self.fill_contents(core.map(|(_, content, _)| content), canvas, work)
    }

    /// Makes the tables of partitions: bytes with their offset.
    fn tables_of_partitions(
        &self,
        inputs: Inputs<'_>,
        core: Option<(&Bios, u32)>,
    ) -> Result<Vec<(u64, Vec<u8>)>, FileSystemError> {
        let size_bytes = u64::from(self.blocks) * BLOCK_BYTES;
        let tables = boot::tables((size_bytes, inputs.uuid), self.esp, core);
        Ok(tables.map_err(PathError::on("make the partition table of", "the medium"))?)
    }

    fn fill_esp(&self, inputs: Inputs<'_>, canvas: &Canvas<'_>, work: Work<'_>) -> Result<(), FileSystemError> {
        if self.esp.1 == 0 {
            return Ok(());
        }
        let (start, size) = (u64::from(self.esp.0), u64::from(self.esp.1));
        let region = Region::new(canvas, start * BLOCK_BYTES, size * BLOCK_BYTES);
        let volume = Volume {
            uuid: boot::esp_uuid(inputs.uuid),
            hash_seed: inputs.uuid,
            label: None,
            compression: None,
            epoch_seconds: inputs.epoch_seconds,
        };
        let files = Files {
            tree: &ImageTree::empty(),
            added: &inputs.boot.esp,
        };
        fat::Kind::Fat16.write(region, &volume, files, work)
    }

    /// Writes the contents of all files but that of `written`, on several threads.
    fn fill_contents(
        &self,
        written: Option<usize>,
        canvas: &Canvas<'_>,
        work: Work<'_>,
    ) -> Result<(), FileSystemError> {
        let contents: Vec<_> = self
            .tree
            .contents
            .iter()
            .zip(&self.places.contents)
            .enumerate()
            .collect();
        let total = self
            .tree
            .contents
            .iter()
            .map(|content| content.source.size_bytes())
            .sum();
        let task = work.start("Write medium", Unit::Bytes, Some(total));
        let fill = |(index, (content, block)): &(usize, (&tree::Content, &u32))| {
            let size_bytes = content.source.size_bytes();
            if Some(*index) != written {
                let region = Region::new(canvas, u64::from(**block) * BLOCK_BYTES, size_bytes);
                copy(content, region, work)?;
            }
            task.advance(size_bytes);
            Ok(())
        };
        parallel::try_map(work.threads.clamp(1, 64), &contents, fill).map(drop)
    }
}

/// Copies the bytes of `content` to `region`, which has its size.
fn copy(content: &tree::Content, region: Region<'_>, work: Work<'_>) -> Result<(), FileSystemError> {
    let size_bytes = content.source.size_bytes();
    if let Some(digest) = content.digest {
        let known = Known {
            digest,
            offset_bytes: 0,
            length_bytes: size_bytes,
        };
        if region.has(0, known) {
            return Ok(());
        }
    }
    let mut reader = content.source.reader();
    let mut buffer = vec![0; BUFFER_BYTES.min(usize::try_from(size_bytes).unwrap_or(BUFFER_BYTES))];
    let mut done = 0;
    while done < size_bytes {
        work.cancel.check()?;
        let length = (size_bytes - done).min(buffer.len() as u64) as usize;
        let part = buffer.get_mut(..length).unwrap_or_default();
        match reader.read_exact(part) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Err(FileSystemError::Changed(content.path.clone()));
            }
            read => read.map_err(PathError::on("read", &content.path))?,
        }
        region.put(done, part)?;
        done += length as u64;
    }
    Ok(())
}

/// The first block that is free.
struct Blocks(u32);

impl Blocks {
    /// Takes the blocks for `bytes`, and returns the first one.
    fn take(&mut self, bytes: u64) -> Result<u32, FileSystemError> {
        let first = self.0;
        let blocks = u32::try_from(bytes.div_ceil(BLOCK_BYTES)).map_err(|_| too_large())?;
        self.0 = first.checked_add(blocks).ok_or_else(too_large)?;
        Ok(first)
    }
}

fn too_large() -> FileSystemError {
    FileSystemError::Unstorable {
        path: PathBuf::from("/"),
        reason: "a medium has less than 8 TiB".into(),
    }
}

#[cfg(test)]
mod tests;
