//! What firmware starts from a medium: the El Torito catalog, and the table of partitions of a medium that is a disk.
//!
//! The places that GRUB's images for BIOS want to know are those that xorriso(1) fills: `-boot-info-table`,
//! `--grub2-boot-info`, `--grub2-mbr`.

use std::io;
use std::path::PathBuf;

use uuid::Uuid;

use super::BLOCK_BYTES;
use crate::image::code::CODE_BYTES;
use crate::image::content::Source;
use crate::image::gpt::{self, Slot};
use crate::image::plan::SECTOR_BYTES;
use crate::model::PartitionType;

/// Sectors of a disk in a block.
const BLOCK_SECTORS: u64 = BLOCK_BYTES / SECTOR_BYTES;
/// Where the table about the medium lies in an image for BIOS, and where what follows it begins.
const INFO: usize = 8;
const INFO_END: usize = 64;
/// Where the first sector of the rest of GRUB's core image lies, and which one of its sectors that is.
const REST: usize = 2548;
const REST_SECTOR: u64 = 5;
/// The same in GRUB's code for the first sector of a disk: what it loads lies behind the code for a CD.
const CORE: usize = 0x1b0;
const CORE_SECTOR: u64 = 4;
/// The second entry of the table in the first sector.
const SECOND_ENTRY: usize = 446 + 16;
/// Sectors of 512 bytes that a BIOS loads at first.
const LOADED_SECTORS: u16 = 4;
/// Platforms of the catalog.
const BIOS: u8 = 0;
const EFI: u8 = 0xef;
/// The mark of an entry that can be started.
const BOOTABLE: u8 = 0x88;

/// What firmware starts.
#[derive(Debug, Clone, Default)]
pub struct Boot {
    /// By a BIOS.
    pub bios: Option<Bios>,
    /// By UEFI: the files of the EFI system partition, by their path.
    pub esp: Vec<(PathBuf, Source)>,
}

/// GRUB for a BIOS.
#[derive(Debug, Clone)]
pub struct Bios {
    /// The path of its core image on the medium.
    pub path: PathBuf,
    /// The core image, for a CD.
    pub core: Vec<u8>,
    /// The code for the first sector of a medium that is a disk (`boot_hybrid.img`), if there is some.
    pub hybrid: Option<Vec<u8>>,
}

/// The catalog of what can be started.
#[derive(Debug, Clone, Copy)]
pub(super) struct Catalog {
    /// The block of the image for BIOS.
    pub(super) bios: Option<u32>,
    /// First block and number of blocks of the EFI system partition.
    pub(super) esp: Option<(u32, u32)>,
}

impl Catalog {
    /// Makes the catalog: entries of 32 bytes (El Torito 2.1 to 2.4).
    pub(super) fn bytes(&self) -> Vec<u8> {
        let platform = if self.bios.is_some() { BIOS } else { EFI };
        let mut bytes = vec![1, platform];
        bytes.resize(30, 0);
        bytes.extend([0x55, 0xaa]);
        let words = bytes.chunks_exact(2).map(|word| u16::from_le_bytes([word[0], word[1]]));
        let sum = words.fold(0_u16, u16::wrapping_add);
        bytes[28..30].copy_from_slice(&sum.wrapping_neg().to_le_bytes());
        let efi = self.esp.map(|(block, blocks)| {
            let sectors = u64::from(blocks) * BLOCK_SECTORS;
            // 0 stands for more than the field can say.
            entry(u16::try_from(sectors).unwrap_or_default(), block)
        });
        match (self.bios, efi) {
            (Some(block), efi) => {
                bytes.extend(entry(LOADED_SECTORS, block));
                if let Some(efi) = efi {
                    let mut header = vec![0x91, EFI, 1, 0];
                    header.resize(32, 0);
                    bytes.extend(header);
                    bytes.extend(efi);
                }
            }
            (None, efi) => bytes.extend(efi.unwrap_or_default()),
        }
        bytes
    }
}

/// Makes an entry: `sectors` sectors of 512 bytes from `block` on, without emulation of a disk.
fn entry(sectors: u16, block: u32) -> Vec<u8> {
    let mut entry = vec![BOOTABLE, 0, 0, 0, 0, 0];
    entry.extend(sectors.to_le_bytes());
    entry.extend(block.to_le_bytes());
    entry.resize(32, 0);
    entry
}

/// Returns the image `core` for BIOS with what it wants to know, as it lies at `block`.
pub(super) fn with_places(core: &[u8], block: u32) -> Vec<u8> {
    let mut bytes = core.to_owned();
    let rest = u64::from(block) * BLOCK_SECTORS + REST_SECTOR;
    if let Some(place) = bytes.get_mut(REST..REST + 8) {
        place.copy_from_slice(&rest.to_le_bytes());
    }
    let length = u32::try_from(core.len()).unwrap_or(u32::MAX);
    // The checksum is that of the image as it lies there.
    let words = bytes.get(INFO_END..).unwrap_or_default().chunks(4);
    let sum = words.fold(0_u32, |sum, word| {
        let mut bytes = [0; 4];
        bytes.iter_mut().zip(word).for_each(|(byte, value)| *byte = *value);
        sum.wrapping_add(u32::from_le_bytes(bytes))
    });
    let numbers = [super::FIRST_DESCRIPTOR, block, length, sum].map(u32::to_le_bytes);
    if let Some(info) = bytes.get_mut(INFO..INFO_END) {
        info.fill(0);
        info.iter_mut()
            .zip(numbers.concat())
            .for_each(|(byte, value)| *byte = value);
    }
    bytes
}

/// Returns the identifier of the EFI system partition of the medium `uuid`.
pub(super) fn esp_uuid(uuid: Uuid) -> Uuid {
    Uuid::from_u128(uuid.as_u128() ^ 1)
}

/// Makes the tables of a medium (size in bytes, GUID) with an EFI system partition (first block, blocks) and the code of
/// `core`, whose image lies at the block: bytes with their offset.
///
/// # Errors
/// If they cannot be made.
pub(super) fn tables(
    (size_bytes, uuid): (u64, Uuid),
    (first, blocks): (u32, u32),
    core: Option<(&Bios, u32)>,
) -> io::Result<Vec<(u64, Vec<u8>)>> {
    let first_sector = u64::from(first) * BLOCK_SECTORS;
    let esp = (blocks > 0).then(|| Slot {
        number: 1,
        uuid: esp_uuid(uuid),
        type_uuid: PartitionType::Esp.guid(),
        attributes: 0,
        sectors: (first_sector, first_sector + u64::from(blocks) * BLOCK_SECTORS - 1),
        name: "EFI".into(),
    });
    let mut tables = gpt::tables_of((size_bytes, SECTOR_BYTES), uuid, esp.as_slice())?;
    let start = tables.first_mut().filter(|(offset_bytes, _)| *offset_bytes == 0);
    if let (Some((_, start)), Some((bios, block))) = (start, core)
        && let Some(code) = bios.hybrid.as_ref().and_then(|hybrid| hybrid.get(..CODE_BYTES))
    {
        start.iter_mut().zip(code).for_each(|(byte, code)| *byte = *code);
        let place = u64::from(block) * BLOCK_SECTORS + CORE_SECTOR;
        let put = |start: &mut Vec<u8>, at: usize, bytes: &[u8]| {
            start
                .iter_mut()
                .skip(at)
                .zip(bytes)
                .for_each(|(byte, value)| *byte = *value);
        };
        put(start, CORE, &place.to_le_bytes());
        // Some BIOSes start no disk without an active entry. That of the GPT must not be active (UEFI 2.10, table 5.4).
        let mut active = [0; 16];
        active[0] = 0x80;
        active[12] = 1;
        put(start, SECOND_ENTRY, &active);
    }
    Ok(tables)
}
