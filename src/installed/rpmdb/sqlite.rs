//! The table `Packages` of a SQLite database, and changes that still lie in its write-ahead log ("Database File Format",
//! sqlite.org/fileformat2.html, sections 1, 2 and 4).

use std::collections::{HashMap, HashSet};

use super::{BLOB_BYTES_MAX, DatabaseError, PACKAGES_MAX, number};

const MAGIC: &[u8; 16] = b"SQLite format 3\0";
const HEADER_BYTES: usize = 100;
/// The kinds of b-tree pages of a table.
const INTERIOR: u8 = 0x05;
const LEAF: u8 = 0x0d;
/// The magic numbers of a log: its checksums are of little-endian or of big-endian words.
const LOG_MAGIC: [u32; 2] = [0x377f_0682, 0x377f_0683];
const LOG_HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
/// The table with the headers.
const TABLE: &[u8] = b"Packages";

struct Database<'a> {
    file: &'a [u8],
    page_bytes: usize,
    /// The bytes of a page that the b-tree uses.
    usable_bytes: usize,
    /// Pages that the log has newer.
    newer: HashMap<u32, &'a [u8]>,
}

/// Returns the second column of all rows of the table.
///
/// # Errors
/// [`DatabaseError`].
pub(super) fn blobs(file: &[u8], log: &[u8]) -> Result<Vec<Vec<u8>>, DatabaseError> {
    let database = Database::open(file, log)?;
    let mut root = None;
    database.rows(1, &mut |row| {
        let columns = columns(&row);
        let text = |index: usize| columns.get(index).map(|(_, bytes)| *bytes).unwrap_or_default();
        if text(0) == b"table" && text(1).eq_ignore_ascii_case(TABLE) {
            root = Some(
                text(3)
                    .iter()
                    .fold(0_u32, |number, byte| number << 8 | u32::from(*byte)),
            );
        }
        Ok(())
    })?;
    let root = root.ok_or(DatabaseError::new("the schema", 0, "has no table of packages"))?;
    let mut found = Vec::new();
    database.rows(root, &mut |row| {
        let blob = columns(&row).get(1).map(|(_, bytes)| bytes.to_vec());
        found.push(blob.ok_or(DatabaseError::new("a row", 0, "has no header"))?);
        match found.len() > PACKAGES_MAX {
            true => Err(DatabaseError::new("the table", 0, "has too many packages")),
            false => Ok(()),
        }
    })?;
    Ok(found)
}

impl<'a> Database<'a> {
    fn open(file: &'a [u8], log: &'a [u8]) -> Result<Self, DatabaseError> {
        let malformed = |reason| DatabaseError::new("the header", 0, reason);
        if file.get(..MAGIC.len()) != Some(MAGIC) {
            return Err(malformed("is not that of SQLite"));
        }
        let page_bytes = match number(file, 16, u16::from_be_bytes) {
            Some(1) => 65536,
            Some(bytes) if bytes.is_power_of_two() && bytes >= 512 => usize::from(bytes),
            _ => return Err(malformed("has an impossible size of pages")),
        };
        let reserved = usize::from(file.get(20).copied().unwrap_or_default());
        let usable_bytes = page_bytes - reserved;
        if usable_bytes < 480 {
            return Err(malformed("reserves too much of each page"));
        }
        Ok(Self {
            file,
            page_bytes,
            usable_bytes,
            newer: newer_pages(log, page_bytes),
        })
    }

    fn page(&self, number: u32) -> Result<&'a [u8], DatabaseError> {
        if let Some(page) = self.newer.get(&number) {
            return Ok(page);
        }
        let start = (number as usize).wrapping_sub(1).checked_mul(self.page_bytes);
        let page = start.and_then(|start| self.file.get(start..start.checked_add(self.page_bytes)?));
        page.ok_or(DatabaseError::new("a page", self.offset(number), "lies beyond the end"))
    }

    fn offset(&self, page: u32) -> u64 {
        u64::from(page).saturating_sub(1).saturating_mul(self.page_bytes as u64)
    }

    /// Calls `visit` with the record of each row of the table whose root is the page `root`.
    fn rows(
        &self,
        root: u32,
        visit: &mut dyn FnMut(Vec<u8>) -> Result<(), DatabaseError>,
    ) -> Result<(), DatabaseError> {
        let mut open = vec![root];
        let mut seen = HashSet::new();
        let mut left_bytes = BLOB_BYTES_MAX;
        while let Some(number) = open.pop() {
            let malformed = |reason| DatabaseError::new("a page", self.offset(number), reason);
            if !seen.insert(number) {
                return Err(malformed("is used twice"));
            }
            let page = self.page(number)?;
            let start = if number == 1 { HEADER_BYTES } else { 0 };
            let kind = page.get(start).copied();
            let header_bytes = match kind {
                Some(INTERIOR) => 12,
                Some(LEAF) => 8,
                _ => return Err(malformed("is none of a table")),
            };
            let cells = super::number(page, start + 3, u16::from_be_bytes).unwrap_or_default();
            let cell = |index: usize| super::number(page, start + header_bytes + 2 * index, u16::from_be_bytes);
            let mut below = Vec::new();
            for index in 0..usize::from(cells) {
                let at = cell(index).map(usize::from).ok_or(malformed("ends too early"))?;
                match kind {
                    Some(INTERIOR) => {
                        below.push(super::number(page, at, u32::from_be_bytes).ok_or(malformed("ends too early"))?);
                    }
                    _ => {
                        let row = self.payload(page, at, number)?;
                        left_bytes = left_bytes
                            .checked_sub(row.len() as u64)
                            .ok_or(malformed("holds too much"))?;
                        visit(row)?;
                    }
                }
            }
            if kind == Some(INTERIOR) {
                below.push(super::number(page, start + 8, u32::from_be_bytes).ok_or(malformed("ends too early"))?);
            }
            open.extend(below.into_iter().rev());
        }
        Ok(())
    }

    /// Returns the record of the cell at `at` of a leaf, put together from its page and those that it overflows to.
    fn payload(&self, page: &[u8], at: usize, number: u32) -> Result<Vec<u8>, DatabaseError> {
        let malformed = |reason| DatabaseError::new("a cell of the page", self.offset(number), reason);
        let mut rest = page.get(at..).unwrap_or_default();
        let length = varint(&mut rest).ok_or(malformed("is cut off"))?;
        varint(&mut rest).ok_or(malformed("is cut off"))?;
        if length > BLOB_BYTES_MAX {
            return Err(malformed("is too large"));
        }
        let length = length as usize;
        let usable = self.usable_bytes;
        // Section 1.6, "B-tree Pages": how much of a payload stays on its page.
        let most = usable - 35;
        let local = if length <= most {
            length
        } else {
            let least = (usable - 12) * 32 / 255 - 23;
            let wanted = least + (length - least) % (usable - 4);
            if wanted <= most { wanted } else { least }
        };
        let mut record = rest.get(..local).ok_or(malformed("is cut off"))?.to_vec();
        let mut next = match length > local {
            true => super::number(rest, local, u32::from_be_bytes).ok_or(malformed("is cut off"))?,
            false => 0,
        };
        while record.len() < length {
            // Each page adds bytes, so a circle ends too.
            let page = self.page(next)?;
            let count = (length - record.len()).min(usable - 4);
            record.extend(page.get(4..4 + count).ok_or(malformed("is cut off"))?);
            next = super::number(page, 0, u32::from_be_bytes).unwrap_or_default();
        }
        Ok(record)
    }
}

/// Returns the columns of a record, each with its type and its bytes (section 2.1).
fn columns(record: &[u8]) -> Vec<(u64, &[u8])> {
    let mut rest = record;
    let Some(header_bytes) = varint(&mut rest) else {
        return Vec::new();
    };
    let Some((header, mut body)) = usize::try_from(header_bytes)
        .ok()
        .and_then(|at| record.split_at_checked(at))
    else {
        return Vec::new();
    };
    let mut types = header.get(record.len() - rest.len()..).unwrap_or_default();
    let mut columns = Vec::new();
    while let Some(kind) = varint(&mut types) {
        let length = match kind {
            0 | 8 | 9 => 0,
            1..=4 => kind,
            5 => 6,
            6 | 7 => 8,
            10 | 11 => return Vec::new(),
            text_or_blob => (text_or_blob - 12) / 2,
        };
        let Some((value, behind)) = usize::try_from(length)
            .ok()
            .and_then(|length| body.split_at_checked(length))
        else {
            return Vec::new();
        };
        columns.push((kind, value));
        body = behind;
    }
    columns
}

/// Takes a number of variable length from the start of `bytes` (section 1.6).
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for index in 0..9 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        if index == 8 {
            return Some(number << 8 | u64::from(*byte));
        }
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    Some(number)
}

/// Returns the pages that `log` has newer: those of complete transactions whose checksums fit (section 4).
fn newer_pages(log: &[u8], page_bytes: usize) -> HashMap<u32, &[u8]> {
    let (mut newer, mut pending) = (HashMap::new(), Vec::new());
    let word = |at: usize| number(log, at, u32::from_be_bytes);
    let (Some(magic), Some(header)) = (word(0), log.get(..24)) else {
        return newer;
    };
    if !LOG_MAGIC.contains(&magic) || word(8) != u32::try_from(page_bytes).ok() {
        return newer;
    }
    let is_big_endian = magic == LOG_MAGIC[1];
    let mut sum = checksum(header, (0, 0), is_big_endian);
    if (word(24), word(28)) != (Some(sum.0), Some(sum.1)) {
        return newer;
    }
    let salts = log.get(16..24);
    let mut at = LOG_HEADER_BYTES;
    while let Some(frame) = log.get(at..at + FRAME_HEADER_BYTES + page_bytes) {
        let (header, page) = frame.split_at(FRAME_HEADER_BYTES);
        sum = checksum(header.get(..8).unwrap_or_default(), sum, is_big_endian);
        sum = checksum(page, sum, is_big_endian);
        let own = (word(at + 16), word(at + 20));
        if header.get(8..16) != salts || own != (Some(sum.0), Some(sum.1)) {
            break;
        }
        pending.push((word(at).unwrap_or_default(), page));
        if word(at + 4).is_some_and(|pages| pages != 0) {
            newer.extend(pending.drain(..));
        }
        at += FRAME_HEADER_BYTES + page_bytes;
    }
    newer
}

/// Adds `bytes` to a checksum (section 4.2).
fn checksum(bytes: &[u8], (mut first, mut second): (u32, u32), is_big_endian: bool) -> (u32, u32) {
    let of = if is_big_endian {
        u32::from_be_bytes
    } else {
        u32::from_le_bytes
    };
    for at in (0..bytes.len()).step_by(8) {
        first = first
            .wrapping_add(number(bytes, at, of).unwrap_or_default())
            .wrapping_add(second);
        second = second
            .wrapping_add(number(bytes, at + 4, of).unwrap_or_default())
            .wrapping_add(first);
    }
    (first, second)
}
