//! Zip files, as far as they bring packages along: the central directory, and members that are stored or deflated
//! (APPNOTE.TXT of PKWARE, 4.3 and 4.4). Not encrypted, not in several parts, no zip64.
//!
//! Invariant: nothing the file says is trusted. Each place is checked against the length of the file, and a member gives
//! as many bytes as its entry announces, with the announced CRC-32, or an error.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use flate2::bufread::DeflateDecoder;

use super::ArchiveError;

/// The end record without its comment.
const END_BYTES: usize = 22;
/// A comment has 16 bits for its length.
const COMMENT_BYTES_MAX: usize = 0xffff;
const END_MAGIC: &[u8; 4] = b"PK\x05\x06";
const ENTRY_MAGIC: &[u8; 4] = b"PK\x01\x02";
const ENTRY_BYTES: usize = 46;
const LOCAL_MAGIC: &[u8; 4] = b"PK\x03\x04";
const LOCAL_BYTES: u64 = 30;
/// Upper limit of the central directory, in bytes: 65535 entries with long names have less.
const DIRECTORY_BYTES_MAX: u32 = 32 << 20;
/// Bit of the flags: the member is encrypted.
const ENCRYPTED: u16 = 1;
const STORED: u16 = 0;
const DEFLATED: u16 = 8;
/// The upper byte of "version made by" for Unix, whose modes stand in the external attributes.
const UNIX: u16 = 3;
const FILE_TYPE: u32 = 0o17_0000;
const REGULAR: u32 = 0o10_0000;

/// A member, as the central directory describes it.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Its name.
    pub(super) name: Vec<u8>,
    /// Whether it is a regular file.
    pub(super) is_file: bool,
    /// Its length in bytes, unpacked.
    pub(super) size_bytes: u32,
    packed_bytes: u32,
    crc: u32,
    method: u16,
    flags: u16,
    offset: u32,
}

/// Reads little-endian fields one after the other.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn short(&mut self) -> Option<u16> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_le_bytes(*first))
    }

    fn long(&mut self) -> Option<u32> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*first))
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.0 = self.0.get(bytes..)?;
        Some(())
    }

    fn bytes(&mut self, count: u16) -> Option<Vec<u8>> {
        let (first, rest) = self.0.split_at_checked(usize::from(count))?;
        let first = first.to_vec();
        self.skip(usize::from(count))?;
        debug_assert_eq!(self.0, rest);
        Some(first)
    }
}

/// Lists the members of the zip file `file`; `shown` names it in messages.
///
/// # Errors
/// [`ArchiveError::Read`] if it cannot be read, [`ArchiveError::Malformed`] if it is no zip file of this kind.
pub(super) fn entries(file: &File, shown: &Path) -> Result<Vec<Entry>, ArchiveError> {
    let bad = |problem: &str| ArchiveError::malformed(shown, problem);
    let length = file.metadata().map_err(ArchiveError::read(shown))?.len();
    let tail_bytes = length.min((END_BYTES + COMMENT_BYTES_MAX) as u64);
    let tail = read_at(file, length - tail_bytes, tail_bytes as usize).map_err(ArchiveError::read(shown))?;
    let (count, size, offset) = end(&tail).ok_or_else(|| bad("it is not a zip file, or is cut short"))?;
    if count == u16::MAX || size == u32::MAX || offset == u32::MAX {
        return Err(bad("it is a zip64 file, which is not read"));
    }
    let is_inside = u64::from(offset) + u64::from(size) <= length;
    if !is_inside || size > DIRECTORY_BYTES_MAX {
        return Err(bad("its directory is out of bounds"));
    }
    let directory = read_at(file, offset.into(), size as usize).map_err(ArchiveError::read(shown))?;
    let mut fields = Fields(&directory);
    let entries = (0..count).map(|_| entry(&mut fields).ok_or_else(|| bad("its directory is damaged")));
    entries.collect()
}

/// Finds the end record: the number of members, and length and offset of the directory, in bytes.
fn end(tail: &[u8]) -> Option<(u16, u32, u32)> {
    let last = tail.len().checked_sub(END_BYTES)?;
    let found = (0..=last).rev().find_map(|at| {
        let record = tail.get(at..)?;
        let comment = Fields(record.get(END_BYTES - 2..)?).short()?;
        let is_whole = record.len() == END_BYTES + usize::from(comment);
        (record.starts_with(END_MAGIC) && is_whole).then_some(record)
    })?;
    let mut fields = Fields(found.get(END_MAGIC.len()..)?);
    let (disk, first_disk, here, count) = (fields.short()?, fields.short()?, fields.short()?, fields.short()?);
    (disk == 0 && first_disk == 0 && here == count).then_some((count, fields.long()?, fields.long()?))
}

/// Reads an entry of the central directory.
fn entry(fields: &mut Fields<'_>) -> Option<Entry> {
    if !fields.0.starts_with(ENTRY_MAGIC) || fields.0.len() < ENTRY_BYTES {
        return None;
    }
    fields.skip(ENTRY_MAGIC.len())?;
    let made_by = fields.short()?;
    fields.skip(2)?;
    let (flags, method) = (fields.short()?, fields.short()?);
    fields.skip(4)?;
    let (crc, packed_bytes, size_bytes) = (fields.long()?, fields.long()?, fields.long()?);
    let (name, extra, comment) = (fields.short()?, fields.short()?, fields.short()?);
    fields.skip(4)?;
    let (attributes, offset) = (fields.long()?, fields.long()?);
    let name = fields.bytes(name)?;
    fields.skip(usize::from(extra))?;
    fields.skip(usize::from(comment))?;
    let kind = (attributes >> 16) & FILE_TYPE;
    let is_special = made_by >> 8 == UNIX && kind != 0 && kind != REGULAR;
    Some(Entry {
        is_file: !is_special && !name.ends_with(b"/"),
        name,
        size_bytes,
        packed_bytes,
        crc,
        method,
        flags,
        offset,
    })
}

/// Reads the content of `entry`; the caller has bounded its size.
///
/// # Errors
/// [`ArchiveError::Refused`] if it is encrypted, packed by another method, or not what the directory announces.
pub(super) fn content(file: &File, entry: &Entry, shown: &Path) -> Result<Vec<u8>, ArchiveError> {
    let name = super::stream::name_of(&entry.name);
    let refused = |problem: &str| ArchiveError::refused(shown, &name, problem);
    if entry.flags & ENCRYPTED != 0 {
        return Err(refused("it is encrypted"));
    }
    let start = u64::from(entry.offset);
    let header = read_at(file, start, LOCAL_BYTES as usize).map_err(ArchiveError::read(shown))?;
    let lengths = || {
        let mut fields = Fields(header.get(26..)?);
        Some(u64::from(fields.short()?) + u64::from(fields.short()?))
    };
    let lengths = lengths().filter(|_| header.starts_with(LOCAL_MAGIC));
    let lengths = lengths.ok_or_else(|| refused("there is no member where the directory says"))?;
    let packed = Window {
        file,
        position: start + LOCAL_BYTES + lengths,
        left: entry.packed_bytes.into(),
    };
    let limit = u64::from(entry.size_bytes) + 1;
    let mut bytes = Vec::new();
    let read = match entry.method {
        STORED => packed.take(limit).read_to_end(&mut bytes),
        DEFLATED => DeflateDecoder::new(BufReader::new(packed))
            .take(limit)
            .read_to_end(&mut bytes),
        _ => return Err(refused("it is packed by a method other than deflate")),
    };
    read.map_err(|error| refused(&format!("it cannot be unpacked: {error}")))?;
    if bytes.len() as u64 != u64::from(entry.size_bytes) || crc32fast::hash(&bytes) != entry.crc {
        return Err(refused(
            "it is damaged: its length or checksum is not what the directory says",
        ));
    }
    Ok(bytes)
}

/// A range of a file.
struct Window<'a> {
    file: &'a File,
    position: u64,
    left: u64,
}

impl Read for Window<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self
            .file
            .read_at(buffer.get_mut(..length).unwrap_or_default(), self.position)?;
        self.position = self.position.saturating_add(read as u64);
        self.left = self.left.saturating_sub(read as u64);
        Ok(read)
    }
}

/// Reads `length` bytes at `offset`, or as many as there are.
fn read_at(file: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let window = Window {
        file,
        position: offset,
        left: length as u64,
    };
    window.take(length as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}
