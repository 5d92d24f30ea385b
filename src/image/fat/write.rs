//! Allocates, writes contents and directories, then the tables and boot sectors.

use std::io::{self, Read as _};
use std::path::PathBuf;

use zerocopy::FromZeros as _;
use zerocopy::little_endian::{U16, U32};

use super::disk::{BootSector16, BootSector32, Extended, Fat32, InfoSector, Parameters, SECTOR_END, ShortEntry};
use super::fit::slots;
use super::geometry::ENTRY_BYTES;
use super::tree::{Directory, Entry, Node};
use super::{Geometry, Tree, name};
use crate::cancel::Cancel;
use crate::date;
use crate::durable::PathError;
use crate::image::content::Source;
use crate::image::file_system::FileSystemError;
use crate::image::region::Region;

const ATTRIBUTE_VOLUME: u8 = 0x08;
const ATTRIBUTE_DIRECTORY: u8 = 0x10;
const ATTRIBUTE_ARCHIVE: u8 = 0x20;
const END_OF_CHAIN: u32 = 0x0fff_ffff;
/// The sector of FAT32's copy of its boot sector; FSInfo's copy follows.
const BACKUP_SECTOR: u64 = 6;

/// The parameters of a FAT file system.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    /// The division of the partition.
    pub(super) geometry: Geometry,
    /// Volume id.
    pub(super) volume_id: u32,
    /// Volume label, from [`name::volume_label`].
    pub(super) label: Option<[u8; 11]>,
    /// Time of every entry, in seconds since 1970, UTC.
    pub(super) epoch_seconds: u64,
}

/// Writes a file system with `tree` onto `region`.
///
/// # Errors
/// [`FileSystemError`]; the region then holds a part of it. `Full` says no size.
pub(super) fn write(region: Region<'_>, spec: &Spec, tree: &Tree, cancel: &Cancel) -> Result<(), FileSystemError> {
    let mut writer = Writer {
        region,
        spec,
        cancel,
        table: vec![0x0fff_fff8, END_OF_CHAIN],
    };
    let slots = slots(&tree.root) + u64::from(spec.label.is_some());
    let root = if spec.geometry.is_fat32 {
        writer.allocate(slots.max(1) * ENTRY_BYTES)?
    } else if slots > u64::from(spec.geometry.root_entries) {
        return Err(writer.full());
    } else {
        0
    };
    let mut start = Vec::new();
    if let Some(label) = &spec.label {
        start.extend_from_slice(&writer.entry(label, ATTRIBUTE_VOLUME, 0, 0));
    }
    writer.directory(&tree.root, root, start, &mut PathBuf::from("/"))?;
    writer.finish(root)
}

struct Writer<'a> {
    region: Region<'a>,
    spec: &'a Spec,
    cancel: &'a Cancel,
    /// The used part of the allocation table.
    table: Vec<u32>,
}

impl Writer<'_> {
    /// Makes the error that there is no place left.
    fn full(&self) -> FileSystemError {
        FileSystemError::Full {
            size_bytes: self.region.size_bytes(),
            needed_bytes: None,
        }
    }

    /// Takes the clusters for `size_bytes`, all in a row, and returns the first one.
    fn allocate(&mut self, size_bytes: u64) -> Result<u32, FileSystemError> {
        let count = size_bytes.div_ceil(self.spec.geometry.cluster_bytes());
        let first = self.table.len() as u64;
        let end = first + count;
        if end > u64::from(self.spec.geometry.clusters) + 2 {
            return Err(self.full());
        }
        // `end` fits: it is at most the number of clusters.
        self.table.extend((first + 1..end).map(|next| next as u32));
        self.table.push(END_OF_CHAIN);
        Ok(first as u32)
    }

    fn put(&self, offset_bytes: u64, bytes: &[u8]) -> Result<(), FileSystemError> {
        Ok(self.region.put(offset_bytes, bytes)?)
    }

    /// Writes `children` into the directory at cluster `own` behind the entries of `start`, then their contents.
    fn directory(
        &mut self,
        children: &Directory,
        own: u32,
        mut start: Vec<u8>,
        path: &mut PathBuf,
    ) -> Result<(), FileSystemError> {
        let short_names = name::short_names(children.values().map(|entry| entry.name.as_str()));
        let mut placed: Vec<(&Entry, u32)> = Vec::new();
        for (entry, short) in children.values().zip(&short_names) {
            let (attribute, size_bytes, first) = match &entry.node {
                Node::File(source) => {
                    let size_bytes = source.size_bytes();
                    let first = if size_bytes == 0 { 0 } else { self.allocate(size_bytes)? };
                    (ATTRIBUTE_ARCHIVE, u32::try_from(size_bytes).unwrap_or(u32::MAX), first)
                }
                Node::Directory(inner) => {
                    let first = self.allocate((slots(inner) + 2) * ENTRY_BYTES)?;
                    (ATTRIBUTE_DIRECTORY, 0, first)
                }
            };
            if name::as_short(&entry.name).is_none() {
                start.extend(name::long_entries(&entry.name, short).as_flattened());
            }
            start.extend_from_slice(&self.entry(short, attribute, first, size_bytes));
            placed.push((entry, first));
        }
        self.put(self.spec.geometry.cluster_offset_bytes(own), &start)?;
        for (entry, first) in placed {
            path.push(&entry.name);
            match &entry.node {
                Node::File(source) if first != 0 => self.contents(source, first, path)?,
                Node::File(_) => {}
                Node::Directory(inner) => {
                    let dots = self.dots(first, own);
                    self.directory(inner, first, dots, path)?;
                }
            }
            path.pop();
        }
        Ok(())
    }

    /// Makes the entries `.` and `..`; the root as parent is always written as 0.
    fn dots(&self, own: u32, parent: u32) -> Vec<u8> {
        let parent = if self.spec.geometry.is_fat32 && parent == 2 {
            0
        } else {
            parent
        };
        let dot = self.entry(b".          ", ATTRIBUTE_DIRECTORY, own, 0);
        let dot_dot = self.entry(b"..         ", ATTRIBUTE_DIRECTORY, parent, 0);
        [dot, dot_dot].concat()
    }

    fn contents(&self, source: &Source, first: u32, path: &std::path::Path) -> Result<(), FileSystemError> {
        let mut reader = source.reader();
        let mut offset_bytes = self.spec.geometry.cluster_offset_bytes(first);
        let mut left = source.size_bytes();
        let mut buffer = vec![0; 1 << 20];
        while left > 0 {
            self.cancel.check()?;
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            match reader.read_exact(&mut buffer[..wanted]) {
                Ok(()) => self.put(offset_bytes, &buffer[..wanted])?,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(FileSystemError::Changed(path.to_owned()));
                }
                Err(error) => return Err(PathError::on("read", path)(error).into()),
            }
            offset_bytes += wanted as u64;
            left -= wanted as u64;
        }
        Ok(())
    }

    fn entry(&self, short: &name::Short, attributes: u8, first: u32, size_bytes: u32) -> [u8; 32] {
        let (date, time) = dos_time(self.spec.epoch_seconds);
        let (date, time) = (U16::new(date), U16::new(time));
        zerocopy::transmute!(ShortEntry {
            name: *short,
            attributes,
            cases: 0,
            created_tenths: 0,
            created_time: time,
            created_date: date,
            accessed_date: date,
            first_cluster_high: U16::new((first >> 16) as u16),
            modified_time: time,
            modified_date: date,
            first_cluster_low: U16::new(first as u16),
            size_bytes: U32::new(size_bytes),
        })
    }

    /// Writes both tables and the sectors at the front.
    fn finish(&self, root: u32) -> Result<(), FileSystemError> {
        let table: Vec<u8> = if self.spec.geometry.is_fat32 {
            self.table.iter().flat_map(|entry| entry.to_le_bytes()).collect()
        } else {
            // Sixteen low bits: end-of-chain and the media entry come out right as well.
            self.table
                .iter()
                .flat_map(|entry| (*entry as u16).to_le_bytes())
                .collect()
        };
        self.put(self.spec.geometry.table_offset_bytes(0), &table)?;
        self.put(self.spec.geometry.table_offset_bytes(1), &table)?;
        let boot = self.boot_sector(root);
        self.put(0, &boot)?;
        if self.spec.geometry.is_fat32 {
            let (info, sector_bytes) = (self.info_sector(), self.spec.geometry.sector_bytes);
            self.put(sector_bytes, &info)?;
            self.put(BACKUP_SECTOR * sector_bytes, &boot)?;
            self.put((BACKUP_SECTOR + 1) * sector_bytes, &info)?;
        }
        Ok(())
    }

    fn parameters(&self) -> Parameters {
        let g = &self.spec.geometry;
        let total_sectors_16 = u16::try_from(g.total_sectors).ok().filter(|_| !g.is_fat32);
        let (code, table_sectors_16) = match g.is_fat32 {
            true => (0x58, 0),
            false => (0x3c, g.table_sectors as u16),
        };
        Parameters {
            jump: [0xeb, code, 0x90],
            oem_name: *b"MSWIN4.1",
            sector_bytes: U16::new(g.sector_bytes as u16),
            cluster_sectors: g.cluster_sectors as u8,
            reserved_sectors: U16::new(g.reserved_sectors as u16),
            tables: 2,
            root_entries: U16::new(g.root_entries as u16),
            total_sectors_16: U16::new(total_sectors_16.unwrap_or(0)),
            media: 0xf8,
            table_sectors_16: U16::new(table_sectors_16),
            track_sectors: U16::new(63),
            heads: U16::new(255),
            hidden_sectors: U32::new(u32::try_from(self.region.offset_bytes() / g.sector_bytes).unwrap_or(0)),
            total_sectors_32: U32::new(total_sectors_16.map_or(g.total_sectors, |_| 0)),
        }
    }

    fn extended(&self, kind: [u8; 8]) -> Extended {
        Extended {
            drive: 0x80,
            unused: 0,
            signature: 0x29,
            volume_id: U32::new(self.spec.volume_id),
            label: self.spec.label.unwrap_or(*b"NO NAME    "),
            kind,
        }
    }

    fn boot_sector(&self, root: u32) -> [u8; 512] {
        let g = &self.spec.geometry;
        if !g.is_fat32 {
            return zerocopy::transmute!(BootSector16 {
                parameters: self.parameters(),
                extended: self.extended(*b"FAT16   "),
                unused: [0; 448],
                end: SECTOR_END,
            });
        }
        zerocopy::transmute!(BootSector32 {
            parameters: self.parameters(),
            fat32: Fat32 {
                table_sectors: U32::new(g.table_sectors),
                root_cluster: U32::new(root),
                info_sector: U16::new(1),
                backup_sector: U16::new(BACKUP_SECTOR as u16),
                ..Fat32::new_zeroed()
            },
            extended: self.extended(*b"FAT32   "),
            unused: [0; 420],
            end: SECTOR_END,
        })
    }

    fn info_sector(&self) -> [u8; 512] {
        let used = self.table.len() as u32;
        let free = (self.spec.geometry.clusters + 2).saturating_sub(used);
        zerocopy::transmute!(InfoSector {
            lead: *b"RRaA",
            signature: *b"rrAa",
            free_clusters: U32::new(free),
            last_used: U32::new(used.saturating_sub(1)),
            end: SECTOR_END,
            ..InfoSector::new_zeroed()
        })
    }
}

/// Returns the date and time words of FAT (UTC, resolution 2 s), clamped to 1980 to 2107.
fn dos_time(epoch_seconds: u64) -> (u16, u16) {
    let seconds = epoch_seconds.clamp(315_532_800, 4_354_819_198);
    let at = date::civil(seconds as i64);
    // Each part is in its range after the clamp, so the words hold them.
    let date = ((at.year() - 1980) as u16) << 9 | (at.month() as u16) << 5 | at.day() as u16;
    let time = (at.hour() as u16) << 11 | (at.minute() as u16) << 5 | (at.second() as u16 / 2);
    (date, time)
}

#[cfg(test)]
mod tests {
    use super::dos_time;

    /// `date -u -d @N` says 2000-02-29 12:34:56, 2024-12-31 23:59:58, 2107-12-31 23:59:58.
    #[test]
    fn known_dates() {
        assert_eq!(dos_time(951_827_696), (20 << 9 | 2 << 5 | 29, 12 << 11 | 34 << 5 | 28));
        assert_eq!(
            dos_time(1_735_689_598),
            (44 << 9 | 12 << 5 | 31, 23 << 11 | 59 << 5 | 29)
        );
        assert_eq!(dos_time(u64::MAX), (127 << 9 | 12 << 5 | 31, 23 << 11 | 59 << 5 | 29));
        assert_eq!(dos_time(0), (1 << 5 | 1, 0));
    }
}
