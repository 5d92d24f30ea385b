//! The GUID partition table (UEFI specification 2.10, section 5.3): two copies, each with checksums.

use uuid::Uuid;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, Unaligned};

use super::super::DiskError;
use super::super::area::Area;
use super::{Kind, Partition, PartitionKind, Table, mbr};

const HEADER: &str = "the header of the GPT";
const ENTRIES: &str = "the entries of the GPT";
const SIGNATURE: [u8; 8] = *b"EFI PART";
/// The most entries that are read; tables have 128.
const ENTRIES_MAX: u32 = 1024;
/// The largest entry that is read, in bytes; the specification has 128.
const ENTRY_BYTES_MAX: u32 = 4096;
/// Checksums are not compared under a fuzzer, which cannot compute them.
const IS_CHECKED: bool = !cfg!(fuzzing);

/// "GPT Header".
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    signature: [u8; 8],
    revision: U32,
    header_bytes: U32,
    checksum: U32,
    reserved: U32,
    own_lba: U64,
    other_lba: U64,
    first_lba: U64,
    last_lba: U64,
    disk: [u8; 16],
    entries_lba: U64,
    entries: U32,
    entry_bytes: U32,
    entries_checksum: U32,
}

/// "GPT Partition Entry".
#[derive(Debug, FromBytes, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct Entry {
    type_uuid: [u8; 16],
    uuid: [u8; 16],
    first_lba: U64,
    last_lba: U64,
    attributes: U64,
    name: [U16; 36],
}

const _: () = assert!(size_of::<Header>() == 92 && size_of::<Entry>() == 128);

/// Reads the table of a disk with sectors of `sector_bytes`; `None` if it has none. The copy at the end is read if the
/// one at the start is damaged; a note says so.
pub(super) fn read(disk: &Area, sector_bytes: u64) -> Result<Option<Table>, DiskError> {
    let last = disk.size_bytes() / sector_bytes;
    let Some(last) = last.checked_sub(1).filter(|last| *last >= 2) else {
        return Ok(None);
    };
    let first = copy(disk, sector_bytes, 1);
    // The copy at the end lies where the first one says, or in the last sector.
    let other = match &first {
        Ok(Some((header, _))) => header.other_lba.get(),
        _ => last,
    };
    let second = match other == 1 {
        true => Ok(None),
        false => copy(disk, sector_bytes, other),
    };
    let mut notes = Vec::new();
    let found = match (first, second) {
        (Ok(Some(first)), second) => {
            match second {
                Ok(Some(second)) if agree(&first, &second) => {}
                Ok(Some(_)) => notes.push("the two copies of the GPT differ; the first one counts".to_owned()),
                Ok(None) => notes.push("the second copy of the GPT is missing".to_owned()),
                Err(error) => notes.push(format!("the second copy of the GPT is damaged: {error}")),
            }
            first
        }
        (Ok(None), Ok(Some(second))) => {
            notes.push("the first copy of the GPT is missing; the second one counts".to_owned());
            second
        }
        (Err(error), Ok(Some(second))) => {
            notes.push(format!(
                "the first copy of the GPT is damaged: {error}; the second one counts"
            ));
            second
        }
        // A copy at the end alone that is damaged is what an earlier use of the disk left.
        (Ok(None), _) => return Ok(None),
        (Err(error), _) => return Err(error),
    };
    let (header, partitions) = found;
    Ok(Some(Table {
        kind: Kind::Gpt {
            disk: Uuid::from_bytes_le(header.disk),
            first_lba: header.first_lba.get(),
            last_lba: header.last_lba.get(),
            is_protected: mbr::protects(disk),
        },
        sector_bytes,
        partitions,
        notes,
    }))
}

/// A header and its partitions.
type Found = (Header, Vec<Partition>);

fn agree(first: &Found, second: &Found) -> bool {
    first.1 == second.1 && first.0.disk == second.0.disk
}

/// Reads the copy whose header is at `lba`; `None` if there is no such header.
fn copy(disk: &Area, sector_bytes: u64, lba: u64) -> Result<Option<Found>, DiskError> {
    let Some(offset) = lba.checked_mul(sector_bytes) else {
        return Ok(None);
    };
    let header: Header = match disk.record(HEADER, offset) {
        Ok(header) => header,
        Err(DiskError::Damaged { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    if header.signature != SIGNATURE {
        return Ok(None);
    }
    let damaged = |problem: &str| Err(disk.damaged(HEADER, offset, problem));
    let header_bytes = u64::from(header.header_bytes.get());
    if !(size_of::<Header>() as u64..=sector_bytes).contains(&header_bytes) {
        return damaged("its length is impossible");
    }
    let mut bytes = disk.bytes(HEADER, offset, header_bytes as usize)?;
    bytes.iter_mut().skip(16).take(4).for_each(|byte| *byte = 0);
    if IS_CHECKED && crc32fast::hash(&bytes) != header.checksum.get() {
        return damaged("its checksum is wrong");
    }
    if header.own_lba.get() != lba {
        return damaged("it belongs to another sector");
    }
    let (entries, entry_bytes) = (header.entries.get(), header.entry_bytes.get());
    if entries > ENTRIES_MAX || !(128..=ENTRY_BYTES_MAX).contains(&entry_bytes) {
        return damaged("it has more or larger entries than oic reads");
    }
    let Some(place) = header.entries_lba.get().checked_mul(sector_bytes) else {
        return damaged("its entries lie behind the end");
    };
    let bytes = disk.bytes(ENTRIES, place, (entries * entry_bytes) as usize)?;
    if IS_CHECKED && crc32fast::hash(&bytes) != header.entries_checksum.get() {
        return Err(disk.damaged(ENTRIES, place, "their checksum is wrong"));
    }
    let mut partitions = Vec::new();
    for (number, bytes) in (1..).zip(bytes.chunks_exact(entry_bytes as usize)) {
        let Ok((entry, _)) = Entry::read_from_prefix(bytes) else {
            continue;
        };
        if entry.type_uuid == [0; 16] {
            continue;
        }
        if entry.last_lba < entry.first_lba || entry.last_lba == u64::MAX {
            let at = place + u64::from(number - 1) * u64::from(entry_bytes);
            let problem = format!("partition {number} ends before it begins");
            return Err(disk.damaged(ENTRIES, at, problem));
        }
        partitions.push(partition(number, &entry));
    }
    Ok(Some((header, partitions)))
}

fn partition(number: u32, entry: &Entry) -> Partition {
    let units = entry.name.iter().map(|unit| unit.get()).take_while(|unit| *unit != 0);
    let name = char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER));
    Partition {
        number,
        kind: PartitionKind::Gpt {
            type_uuid: Uuid::from_bytes_le(entry.type_uuid),
            uuid: Uuid::from_bytes_le(entry.uuid),
            name: name.collect(),
            attributes: entry.attributes.get(),
        },
        first_lba: entry.first_lba.get(),
        last_lba: entry.last_lba.get(),
    }
}
