//! Allocates, writes contents and directories, then the tables and boot sectors.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::geometry::{ENTRY_BYTES, SECTOR_BYTES};
use super::tree::{Directory, Entry, Node};
use super::{FatError, Geometry, Tree, name};
use crate::cancel::Cancel;
use crate::durable::PathError;
use crate::image::canvas::Canvas;
use crate::image::content::Source;

const ATTRIBUTE_VOLUME: u8 = 0x08;
const ATTRIBUTE_DIRECTORY: u8 = 0x10;
const ATTRIBUTE_ARCHIVE: u8 = 0x20;
const END_OF_CHAIN: u32 = 0x0fff_ffff;
/// Where FAT32 keeps the copy of its boot sector and FSInfo.
const BACKUP_SECTOR: u64 = 6;

/// What a FAT file system is made like.
#[derive(Debug, Clone)]
pub struct Spec {
    /// How it divides its partition.
    pub geometry: Geometry,
    /// Where the partition starts in the file.
    pub offset_bytes: u64,
    /// Volume id.
    pub volume_id: u32,
    /// Volume label, from [`name::volume_label`].
    pub label: Option<[u8; 11]>,
    /// Time of every entry, in seconds since 1970, UTC.
    pub epoch_seconds: u64,
}

/// Writes a file system with `tree` onto `canvas`.
///
/// # Errors
/// [`FatError`]; the canvas then holds a part of it.
pub fn write(canvas: &Canvas<'_>, spec: &Spec, tree: &Tree, cancel: &Cancel) -> Result<(), FatError> {
    let mut writer = Writer {
        canvas,
        spec,
        cancel,
        table: vec![0x0fff_fff8, END_OF_CHAIN],
    };
    let slots = directory_slots(&tree.root) + u64::from(spec.label.is_some());
    let root = if spec.geometry.is_fat32 {
        writer.allocate(slots.max(1) * ENTRY_BYTES, Path::new("/"))?
    } else if slots > u64::from(spec.geometry.root_entries) {
        let (needed_bytes, path) = (slots * ENTRY_BYTES, PathBuf::from("/"));
        return Err(FatError::Full { needed_bytes, path });
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

/// Directory entries that the children take.
fn directory_slots(directory: &Directory) -> u64 {
    directory.values().map(|entry| name::slots(&entry.name)).sum()
}

struct Writer<'a> {
    canvas: &'a Canvas<'a>,
    spec: &'a Spec,
    cancel: &'a Cancel,
    /// The used part of the allocation table.
    table: Vec<u32>,
}

impl Writer<'_> {
    /// Takes the clusters for `size_bytes`, all in a row; gives the first one.
    fn allocate(&mut self, size_bytes: u64, path: &Path) -> Result<u32, FatError> {
        let count = size_bytes.div_ceil(self.spec.geometry.cluster_bytes());
        let first = self.table.len() as u64;
        let end = first + count;
        if end > u64::from(self.spec.geometry.clusters) + 2 {
            return Err(FatError::Full {
                needed_bytes: size_bytes,
                path: path.to_owned(),
            });
        }
        // `end` fits: it is at most the number of clusters.
        self.table.extend((first + 1..end).map(|next| next as u32));
        self.table.push(END_OF_CHAIN);
        Ok(first as u32)
    }

    fn put(&self, offset_bytes: u64, bytes: &[u8]) -> Result<(), FatError> {
        Ok(self.canvas.put(self.spec.offset_bytes + offset_bytes, bytes)?)
    }

    /// Writes `children` into the directory at `own` behind the entries of `start`, then what is in them.
    fn directory(
        &mut self,
        children: &Directory,
        own: u32,
        mut start: Vec<u8>,
        path: &mut PathBuf,
    ) -> Result<(), FatError> {
        let short_names = name::short_names(children.values().map(|entry| entry.name.as_str()));
        let mut placed: Vec<(&Entry, u32)> = Vec::new();
        for (entry, short) in children.values().zip(&short_names) {
            path.push(&entry.name);
            let (attribute, size_bytes, first) = match &entry.node {
                Node::File(source) => {
                    let size_bytes = source.size_bytes();
                    let first = if size_bytes == 0 {
                        0
                    } else {
                        self.allocate(size_bytes, path)?
                    };
                    (ATTRIBUTE_ARCHIVE, u32::try_from(size_bytes).unwrap_or(u32::MAX), first)
                }
                Node::Directory(inner) => {
                    let first = self.allocate((directory_slots(inner) + 2) * ENTRY_BYTES, path)?;
                    (ATTRIBUTE_DIRECTORY, 0, first)
                }
            };
            path.pop();
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

    /// The entries `.` and `..`; the root as parent is written as 0, whatever its cluster.
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

    fn contents(&self, source: &Source, first: u32, path: &Path) -> Result<(), FatError> {
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
                    return Err(FatError::Changed(path.to_owned()));
                }
                Err(error) => return Err(PathError::on("read", path)(error).into()),
            }
            offset_bytes += wanted as u64;
            left -= wanted as u64;
        }
        Ok(())
    }

    fn entry(&self, short: &name::Short, attribute: u8, first: u32, size_bytes: u32) -> [u8; 32] {
        let (date, time) = dos_time(self.spec.epoch_seconds);
        let [low_0, low_1, high_0, high_1] = first.to_le_bytes();
        let mut entry = [0; 32];
        let mut put = |offset: usize, bytes: &[u8]| entry[offset..offset + bytes.len()].copy_from_slice(bytes);
        put(0, short);
        put(11, &[attribute]);
        put(14, &time.to_le_bytes());
        put(16, &date.to_le_bytes());
        put(18, &date.to_le_bytes());
        put(20, &[high_0, high_1]);
        put(22, &time.to_le_bytes());
        put(24, &date.to_le_bytes());
        put(26, &[low_0, low_1]);
        put(28, &size_bytes.to_le_bytes());
        entry
    }

    /// Writes both tables and the sectors at the front.
    fn finish(&self, root: u32) -> Result<(), FatError> {
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
            let info = self.info_sector();
            self.put(SECTOR_BYTES, &info)?;
            self.put(BACKUP_SECTOR * SECTOR_BYTES, &boot)?;
            self.put((BACKUP_SECTOR + 1) * SECTOR_BYTES, &info)?;
        }
        Ok(())
    }

    fn boot_sector(&self, root: u32) -> [u8; 512] {
        let g = &self.spec.geometry;
        let mut sector = [0; 512];
        let mut put = |offset: usize, bytes: &[u8]| sector[offset..offset + bytes.len()].copy_from_slice(bytes);
        let hidden_sectors = u32::try_from(self.spec.offset_bytes / SECTOR_BYTES).unwrap_or(0);
        let small_total = u16::try_from(g.total_sectors).ok().filter(|_| !g.is_fat32);
        put(0, &[0xeb, if g.is_fat32 { 0x58 } else { 0x3c }, 0x90]);
        put(3, b"MSWIN4.1");
        put(11, &(SECTOR_BYTES as u16).to_le_bytes());
        put(13, &[g.cluster_sectors as u8]);
        put(14, &(g.reserved_sectors as u16).to_le_bytes());
        put(16, &[2]);
        put(17, &(g.root_entries as u16).to_le_bytes());
        put(19, &small_total.unwrap_or(0).to_le_bytes());
        put(21, &[0xf8]);
        put(24, &63_u16.to_le_bytes());
        put(26, &255_u16.to_le_bytes());
        put(28, &hidden_sectors.to_le_bytes());
        put(
            32,
            &if small_total.is_some() { 0 } else { g.total_sectors }.to_le_bytes(),
        );
        let extended = if g.is_fat32 {
            put(36, &g.table_sectors.to_le_bytes());
            put(44, &root.to_le_bytes());
            put(48, &1_u16.to_le_bytes());
            put(50, &(BACKUP_SECTOR as u16).to_le_bytes());
            64
        } else {
            put(22, &(g.table_sectors as u16).to_le_bytes());
            36
        };
        put(extended, &[0x80, 0, 0x29]);
        put(extended + 3, &self.spec.volume_id.to_le_bytes());
        put(extended + 7, self.spec.label.as_ref().unwrap_or(b"NO NAME    "));
        put(extended + 18, if g.is_fat32 { b"FAT32   " } else { b"FAT16   " });
        put(510, &[0x55, 0xaa]);
        sector
    }

    fn info_sector(&self) -> [u8; 512] {
        let used = self.table.len() as u32;
        let free = (self.spec.geometry.clusters + 2).saturating_sub(used);
        let mut sector = [0; 512];
        let mut put = |offset: usize, bytes: &[u8]| sector[offset..offset + bytes.len()].copy_from_slice(bytes);
        put(0, b"RRaA");
        put(484, b"rrAa");
        put(488, &free.to_le_bytes());
        put(492, &used.saturating_sub(1).to_le_bytes());
        put(510, &[0x55, 0xaa]);
        sector
    }
}

/// Date and time words of FAT (UTC, resolution 2 s), clamped to 1980 to 2107.
fn dos_time(epoch_seconds: u64) -> (u16, u16) {
    let seconds = epoch_seconds.clamp(315_532_800, 4_354_819_198);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (mut year, mut day) = (1970, days);
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    while day >= 365 + u64::from(is_leap(year)) {
        day -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if day < length {
            break;
        }
        day -= length;
        month += 1;
    }
    // Each part is in its range after the clamp, so the words hold them.
    let date = ((year - 1980) << 9 | month << 5 | (day + 1)) as u16;
    let time = (((second / 3600) << 11) | ((second / 60 % 60) << 5) | (second % 60 / 2)) as u16;
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
