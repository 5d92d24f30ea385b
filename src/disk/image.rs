//! A disk image: its table and what each partition holds.

use std::path::Path;
use std::sync::Arc;

use super::DiskError;
use super::area::Area;
use super::container::{self, Format};
use super::medium::{Medium, RawFile};
use super::probe::Contents;
use super::table::{Partition, Table};

/// A disk image. A file with one file system and no table is a disk with one partition.
#[derive(Debug)]
pub struct Image {
    /// The format of its file.
    pub format: Format,
    /// The whole disk.
    pub disk: Area,
    /// Its table; `None` if there is none.
    pub table: Option<Table>,
    /// Its partitions, in the order of their numbers.
    pub volumes: Vec<Volume>,
}

/// A partition, or a whole disk without a table.
#[derive(Debug)]
pub struct Volume {
    /// Number of the partition, 0 for the whole disk.
    pub number: u32,
    /// Its entry in the table.
    pub partition: Option<Partition>,
    /// What it holds, or why that cannot be read.
    pub contents: Result<Contents, DiskError>,
}

impl Image {
    /// Opens the disk image at `path`.
    ///
    /// # Errors
    /// If the file cannot be read, or its table is damaged. A partition that is damaged is no error yet.
    pub fn open(path: &Path) -> Result<Self, DiskError> {
        Self::of(Arc::new(RawFile::open(path)?))
    }

    /// Looks at the disk in the file `medium`, whatever its format.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn of(medium: Arc<dyn Medium>) -> Result<Self, DiskError> {
        let (format, medium) = container::open(medium)?;
        let disk = Area::whole(medium);
        // What begins like a file system is one, whatever stands where a table would be.
        let whole = Contents::of(&disk);
        let is_whole = match &whole {
            Ok(contents) => !contents.kind.is_empty(),
            Err(_) => true,
        };
        let table = Table::read(&disk)?;
        let volumes = match &table {
            Some(table) => table
                .partitions
                .iter()
                .map(|partition| volume(&disk, table, partition))
                .collect(),
            None if is_whole => vec![Volume {
                number: 0,
                partition: None,
                contents: whole,
            }],
            None => Vec::new(),
        };
        Ok(Self {
            format,
            disk,
            table,
            volumes,
        })
    }

    /// Returns whether the file at `path` looks like a disk image: it has a partition table or a file system.
    pub fn is_at(path: &Path) -> bool {
        Self::open(path).is_ok_and(|image| !image.volumes.is_empty())
    }

    /// Returns the partition that `name` means: its number, or else its name or the label or UUID of its file system.
    pub fn volume(&self, name: &str) -> Option<&Volume> {
        let number = name.parse::<u32>().ok();
        let numbered = self.volumes.iter().find(|volume| Some(volume.number) == number);
        numbered.or_else(|| self.volumes.iter().find(|volume| volume.is_named(name)))
    }
}

fn volume(disk: &Area, table: &Table, partition: &Partition) -> Volume {
    Volume {
        number: partition.number,
        partition: Some(partition.clone()),
        contents: table.area(disk, partition).and_then(|area| Contents::of(&area)),
    }
}

impl Volume {
    fn is_named(&self, name: &str) -> bool {
        let partition = self.partition.as_ref();
        let in_table = partition.is_some_and(|partition| partition.name() == name || partition.part_uuid() == name);
        let contents = self.contents.as_ref();
        in_table || contents.is_ok_and(|contents| contents.label == name || contents.uuid == name)
    }

    /// Describes it for people: its number, name and contents.
    pub fn description(&self) -> String {
        let name = self
            .partition
            .as_ref()
            .map(Partition::name)
            .filter(|name| !name.is_empty());
        let kind = match &self.contents {
            Ok(contents) if contents.kind.is_empty() => "unknown contents",
            Ok(contents) => contents.kind,
            Err(_) => "damaged",
        };
        match name {
            Some(name) => format!("{} ({name}, {kind})", self.number),
            None => format!("{} ({kind})", self.number),
        }
    }
}
