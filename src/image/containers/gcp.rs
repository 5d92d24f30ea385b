//! What Google Compute Engine imports: a gzip-compressed tar archive with one file, `disk.raw`, in the old GNU format with
//! a map of its holes (Google Cloud, "Manually import boot disks": `tar --format=oldgnu -Sczf image.tar.gz disk.raw`; GNU
//! tar, "Storing Sparse Files" and "Basic Tar Format"). The disk is a whole number of GiB.

use tar::{EntryType, GnuExtSparseHeader, GnuSparseHeader, Header};

use super::disk::{Disk, SECTOR_BYTES};
use super::layout::Layout;

/// The size of a disk is a multiple of this, in bytes.
pub const UNIT_BYTES: u64 = 1 << 30;
/// Holes that are shorter than this are stored, in bytes: an entry of the map costs memory of each reader.
const HOLE_BYTES: u64 = 64 << 10;
/// An archive ends with two blocks of zeros, and its length is a multiple of this ("blocking factor" 20), in bytes.
const RECORD_BYTES: u64 = 20 * SECTOR_BYTES;

/// Makes a tar archive of `disk`, which is still to be compressed.
pub fn layout(disk: &Disk<'_>) -> Layout {
    let parts = parts(disk);
    let stored: u64 = parts.iter().map(|(start, end)| end - start).sum();
    let mut layout = Layout::default();
    append_head(&mut layout, disk.size_bytes, stored, &parts);
    for (start, end) in parts {
        let begin = layout.size_bytes();
        for range in disk.data_in(start..end) {
            layout.zeros_to(begin + range.start - start);
            layout.raw(range);
        }
        layout.zeros_to(begin + end - start);
    }
    layout.zeros(2 * SECTOR_BYTES);
    layout.align(RECORD_BYTES);
    layout
}

/// Returns start and end (bytes) of the parts of the disk that are stored. The last one ends where the disk ends, so that
/// readers know its size.
fn parts(disk: &Disk<'_>) -> Vec<(u64, u64)> {
    let mut parts: Vec<(u64, u64)> = Vec::new();
    for range in disk.data_in(0..disk.size_bytes) {
        let start = range.start / SECTOR_BYTES * SECTOR_BYTES;
        let end = range.end.next_multiple_of(SECTOR_BYTES);
        match parts.last_mut() {
            Some((_, last)) if start < *last + HOLE_BYTES => *last = end,
            _ => parts.push((start, end)),
        }
    }
    if parts.last().is_none_or(|(_, end)| *end < disk.size_bytes) {
        parts.push((disk.size_bytes, disk.size_bytes));
    }
    parts
}

/// Appends the header of the file, and the blocks in which its map goes on.
fn append_head(layout: &mut Layout, size_bytes: u64, stored: u64, parts: &[(u64, u64)]) {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::GNUSparse);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(stored);
    let mut left = parts;
    if let Some(gnu) = header.as_gnu_mut() {
        gnu.name[..8].copy_from_slice(b"disk.raw");
        left = fill(&mut gnu.sparse, left);
        gnu.isextended = [u8::from(!left.is_empty())];
        gnu.realsize = number(size_bytes);
    }
    header.set_cksum();
    layout.bytes(header.as_bytes());
    while !left.is_empty() {
        let mut extended = GnuExtSparseHeader::new();
        left = fill(&mut extended.sparse, left);
        extended.isextended = [u8::from(!left.is_empty())];
        layout.bytes(extended.as_bytes());
    }
}

/// Fills `entries` with the first of `parts` and returns the others.
fn fill<'a>(entries: &mut [GnuSparseHeader], parts: &'a [(u64, u64)]) -> &'a [(u64, u64)] {
    let (first, left) = parts.split_at(parts.len().min(entries.len()));
    for (entry, (start, end)) in entries.iter_mut().zip(first) {
        entry.offset = number(*start);
        entry.numbytes = number(end - start);
    }
    left
}

/// Returns a field of 12 bytes: octal digits, or from 8 GiB on a binary number whose first bit is set.
fn number(value: u64) -> [u8; 12] {
    let mut field = [0; 12];
    match value >> 33 {
        0 => field[..11].copy_from_slice(format!("{value:011o}").as_bytes()),
        _ => {
            field[0] = 0x80;
            field[4..].copy_from_slice(&value.to_be_bytes());
        }
    }
    field
}
