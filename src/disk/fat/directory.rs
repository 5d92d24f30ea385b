//! Directories: entries of 32 bytes, each with a short name, before it those of its long name.

use jiff::civil::DateTime;
use zerocopy::FromBytes;

use super::super::DiskError;
use super::name::{self, Long};
use super::{ENTRY_BYTES, Fat, Root};
use crate::date;
use crate::image::fat::disk::{LongEntry, ShortEntry};

const DIRECTORY: &str = "a directory of FAT";
/// The largest directory in bytes: 65,536 entries.
const BYTES_MAX: u64 = (1 << 16) * ENTRY_BYTES;

const ATTRIBUTE_READ_ONLY: u8 = 0x01;
const ATTRIBUTE_LABEL: u8 = 0x08;
const ATTRIBUTE_DIRECTORY: u8 = 0x10;
/// The attributes that mark an entry of a long name, of those in the mask.
const ATTRIBUTES_LONG: u8 = 0x0f;
const ATTRIBUTES_MASK: u8 = 0x3f;
const FREE: u8 = 0xe5;

/// A file or directory, or the root.
#[derive(Debug, Clone)]
pub(super) struct File {
    /// Whether it is a directory.
    pub(super) is_directory: bool,
    /// Whether it is marked read-only.
    pub(super) is_read_only: bool,
    /// The first cluster; 0 for none.
    pub(super) first: u64,
    /// The length of a file; 0 for a directory.
    pub(super) size_bytes: u64,
    /// The time of its modification, in seconds since 1970.
    pub(super) modified: i64,
}

impl File {
    fn of(entry: &ShortEntry) -> Self {
        let is_directory = entry.attributes & ATTRIBUTE_DIRECTORY != 0;
        let cluster = u32::from(entry.first_cluster_high.get()) << 16 | u32::from(entry.first_cluster_low.get());
        Self {
            is_directory,
            is_read_only: entry.attributes & ATTRIBUTE_READ_ONLY != 0,
            first: cluster.into(),
            size_bytes: if is_directory { 0 } else { entry.size_bytes.get().into() },
            modified: seconds(entry.modified_date.get(), entry.modified_time.get()).unwrap_or_default(),
        }
    }
}

/// Returns the seconds since 1970 of a date and a time; `None` if there is no such day.
fn seconds(date: u16, time: u16) -> Option<i64> {
    let (year, month, day) = (1980 + (date >> 9), (date >> 5) & 0xf, date & 0x1f);
    let (hour, minute, second) = (time >> 11, (time >> 5) & 0x3f, (time & 0x1f) * 2);
    let civil = DateTime::new(
        year as i16,
        month as i8,
        day as i8,
        hour as i8,
        minute as i8,
        second as i8,
        0,
    );
    date::seconds(civil.ok()?)
}

/// A function that gets short entries, each with its long name, its offset in the file system and the offset of its end in
/// the directory, and returns whether it wants more.
type Visit<'a> = &'a mut dyn FnMut(&ShortEntry, Option<String>, u64, u64) -> bool;

/// An entry with its name.
#[derive(Debug)]
pub(super) struct Found {
    /// The name, without `/` and NUL.
    pub(super) name: String,
    /// The offset of the short entry in the file system, in bytes.
    pub(super) place: u64,
    /// What it names.
    pub(super) file: File,
    /// The offset of the end of the entry in the directory, in bytes.
    pub(super) end: u64,
}

impl Fat {
    /// Returns the root directory.
    pub(super) fn root_file(&self) -> File {
        File {
            is_directory: true,
            is_read_only: false,
            first: 0,
            size_bytes: 0,
            modified: 0,
        }
    }

    /// Reads the file whose short entry is at `place`; `None` if no entry can be there, or it is free.
    pub(super) fn file_at(&self, place: u64) -> Result<Option<File>, DiskError> {
        if place.saturating_add(ENTRY_BYTES) > self.area.size_bytes() {
            return Ok(None);
        }
        let entry: ShortEntry = self.area.record(DIRECTORY, place)?;
        Ok(names_something(&entry).then(|| File::of(&entry)))
    }

    /// Returns the ranges of a directory: offsets and lengths in bytes.
    fn directory_ranges(&self, directory: &File) -> Result<Vec<(u64, u64)>, DiskError> {
        match (directory.first, self.root) {
            // The root, also where the entry `..` names it.
            (0, Root::Range(offset, length)) => Ok(vec![(offset, length)]),
            (0, Root::Cluster(first)) => self.ranges(first, BYTES_MAX),
            (first, _) => self.ranges(first, BYTES_MAX),
        }
    }

    /// Returns the size of a directory, in bytes.
    pub(super) fn directory_bytes(&self, directory: &File) -> Result<u64, DiskError> {
        Ok(self.directory_ranges(directory)?.iter().map(|(_, length)| length).sum())
    }

    /// Calls `visit` for each short entry of `directory` that is in use, with its long name, until it returns `false`.
    fn entries(&self, directory: &File, visit: Visit<'_>) -> Result<(), DiskError> {
        let mut long = Long::default();
        let mut end = 0;
        for (offset, length) in self.directory_ranges(directory)? {
            let bytes = self.area.bytes(DIRECTORY, offset, length as usize)?;
            for (place, slot) in (offset..)
                .step_by(ENTRY_BYTES as usize)
                .zip(bytes.chunks_exact(ENTRY_BYTES as usize))
            {
                end += ENTRY_BYTES;
                let (Ok(entry), Ok(part)) = (ShortEntry::read_from_bytes(slot), LongEntry::read_from_bytes(slot))
                else {
                    continue;
                };
                match entry.name[0] {
                    0 => return Ok(()),
                    FREE => long = Long::default(),
                    _ if entry.attributes & ATTRIBUTES_MASK == ATTRIBUTES_LONG => long.add(&part),
                    _ => {
                        let name = long.take(&entry.name);
                        if !visit(&entry, name, place, end) {
                            return Ok(());
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Calls `visit` for what `directory` names, without `.` and `..`, behind the entry that ends at `after`, until it
    /// returns `false`.
    pub(super) fn names(
        &self,
        directory: &File,
        after: u64,
        visit: &mut dyn FnMut(Found) -> bool,
    ) -> Result<(), DiskError> {
        self.entries(directory, &mut |entry, long, place, end| {
            if end <= after || !names_something(entry) || entry.name[0] == b'.' {
                return true;
            }
            let is_sound =
                |name: &String| !name.is_empty() && !name.contains(['/', '\0']) && name != "." && name != "..";
            let name = long
                .filter(is_sound)
                .unwrap_or_else(|| name::short(&entry.name, entry.cases));
            if !is_sound(&name) {
                return true;
            }
            visit(Found {
                name,
                place,
                file: File::of(entry),
                end,
            })
        })
    }

    /// Returns the label in the root directory.
    pub(super) fn root_label(&self) -> Result<Option<String>, DiskError> {
        let mut label = None;
        self.entries(&self.root_file(), &mut |entry, _, _, _| {
            if entry.attributes & (ATTRIBUTE_LABEL | ATTRIBUTE_DIRECTORY) == ATTRIBUTE_LABEL {
                label = Some(name::label(&entry.name));
            }
            label.is_none()
        })?;
        Ok(label)
    }
}

/// Returns whether an entry names a file or a directory.
fn names_something(entry: &ShortEntry) -> bool {
    let is_long = entry.attributes & ATTRIBUTES_MASK == ATTRIBUTES_LONG;
    !matches!(entry.name[0], 0 | FREE) && !is_long && entry.attributes & ATTRIBUTE_LABEL == 0
}
