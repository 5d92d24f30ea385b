//! The image on its way to the disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::InstallError;
use crate::durable::PathError;
use crate::progress::Unit;
use crate::work::Work;

/// Bytes that are read and written at once.
const BUFFER_BYTES: usize = 1 << 20;
/// Bytes of a sector.
const SECTOR_BYTES: u64 = 512;

/// Unpacks the `image` (path, and size in bytes when it is unpacked) to `device`, and gives its last partition the rest
/// of it. What is zero is only written where the device has something else.
///
/// # Errors
/// [`InstallError`].
pub(super) fn image((image, size_bytes): (&Path, u64), device: &Path, work: Work<'_>) -> Result<(), InstallError> {
    let on = |action| PathError::on(action, device);
    let packed = File::open(image).map_err(PathError::on("open", image))?;
    let mut unpacked = zstd::Decoder::new(packed).map_err(PathError::on("unpack", image))?;
    // Of a block device, this fails if somebody else uses it (open(2)).
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .custom_flags(libc::O_EXCL | libc::O_CLOEXEC);
    let mut disk = options.open(device).map_err(on("open"))?;
    let room_bytes = disk.seek(SeekFrom::End(0)).map_err(on("find the end of"))?;
    if room_bytes < size_bytes {
        let small = io::Error::other(format!("it has {room_bytes} bytes, and the image {size_bytes}"));
        return Err(on("write")(small).into());
    }
    let task = work.start("Write disk", Unit::Bytes, Some(size_bytes));
    let (mut new, mut old) = (vec![0; BUFFER_BYTES], vec![0; BUFFER_BYTES]);
    let mut done = 0;
    loop {
        work.cancel.check()?;
        let length = fill(&mut unpacked, &mut new).map_err(PathError::on("unpack", image))?;
        if length == 0 {
            break;
        }
        let end = done + length as u64;
        if end > size_bytes {
            let found_bytes = end;
            return Err(InstallError::Image {
                size_bytes,
                found_bytes,
            });
        }
        let (new, old) = (
            new.get(..length).unwrap_or_default(),
            old.get_mut(..length).unwrap_or_default(),
        );
        let is_there = match new.iter().all(|byte| *byte == 0) {
            true => {
                disk.read_exact_at(old, done).map_err(on("read"))?;
                old == new
            }
            false => false,
        };
        if !is_there {
            disk.write_all_at(new, done).map_err(on("write"))?;
        }
        done = end;
        task.advance(length as u64);
    }
    if done != size_bytes {
        let found_bytes = done;
        return Err(InstallError::Image {
            size_bytes,
            found_bytes,
        });
    }
    grow(&mut disk, room_bytes).map_err(on("write the partition table of"))?;
    disk.sync_all().map_err(on("sync"))?;
    Ok(())
}

/// Fills `buffer` from `source`, and returns how many bytes there were.
fn fill(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match source.read(rest)? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

/// Moves the backup of a GPT to the end of the disk, and gives the last partition what is free behind it, but for
/// whole MiB. An MBR stays as it is.
fn grow(disk: &mut File, room_bytes: u64) -> io::Result<()> {
    let Ok(mut table) = gptman::GPT::read_from(disk, SECTOR_BYTES) else {
        return Ok(());
    };
    if (table.header.backup_lba + 1) * SECTOR_BYTES >= room_bytes {
        return Ok(());
    }
    let before = table.header.backup_lba;
    let failed = |error: gptman::Error| io::Error::other(error.to_string());
    table.header.update_from(disk, SECTOR_BYTES).map_err(failed)?;
    let end = table.header.last_usable_lba;
    let used = table.iter().filter(|(_, entry)| entry.is_used());
    let last = used.max_by_key(|(_, entry)| entry.ending_lba).map(|(number, _)| number);
    if let Some(last) = last {
        let mib = (1 << 20) / SECTOR_BYTES;
        let end = (end + 1) / mib * mib - 1;
        let entry = &mut table[last];
        entry.ending_lba = entry.ending_lba.max(end);
    }
    // The old backup is no table any more.
    disk.write_all_at(&[0; SECTOR_BYTES as usize], before * SECTOR_BYTES)?;
    table.write_into(disk).map_err(failed)?;
    gptman::GPT::write_protective_mbr_into(disk, SECTOR_BYTES).map_err(failed)
}
